"""How a training is configured."""

from typing import Literal

from pydantic import Field

from expllm.config import Config

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a decoder's block, in the Llama and Qwen families."""

Colour = tuple[float, float, float]
"""One number each for red, green and blue."""


class TrainConfig(Config):
    """How `expllm train` fine-tunes a model: on `data`, or on `faces` that were prepared before."""

    data: tuple[str, ...] = ()
    """What to train on: outputs of build-cot, and data sets of labelled faces; they complete one another."""
    faces: str | None = None
    """Instead of `data`: a folder of rendered faces, as `python -m jobs.train_default prepare` makes it."""
    examples: str | None = None
    """Folder or s3:// prefix where the faces of `data` are prepared, once; OUTPUT/examples by default."""
    label_only_rate: float = Field(0.25, ge=0, le=1)
    """Share of the questions that ask for the label alone; the others ask for a chain of thought."""
    label_first: bool = False
    """Write the label before the chain, as the published code does."""
    face_workers: int = Field(1, ge=1)
    """Processes that find, cut out and measure the faces of `data`."""
    encoder_gpus: float = Field(0, ge=0)
    """GPUs that each of them takes for measuring; may be a fraction."""
    decode_timeout_s: float = Field(20, gt=0)

    output: str
    """Folder that all workers share, or s3://bucket/prefix, for checkpoints, curves and the trained model."""

    model: str = "expllm-135m"
    """What to start from: the bundled model's name, or a checkpoint folder."""
    encoder: str | None = None
    """Instead of `model`: folder of a vision tower (DINOv2, CLIP, SigLIP); its projector is a new one."""
    language_model: str | None = None
    """Folder of the decoder that goes with `encoder`; of the Llama or Qwen family."""
    image_px: int | None = Field(None, ge=1)
    """Width and height of the crops that `encoder` reads, if not its own; DINOv2 alone can change it."""
    crop: Literal["aligned", "square"] = "aligned"
    """How faces are cut out for `encoder`: turned upright by eyes and mouth, or a square about the box."""
    pixel_mean: Colour | None = None
    """What is taken from pixels 0..1 for `encoder`; by default what its folder says, else ImageNet's."""
    pixel_std: Colour | None = None
    """What they are divided by after that."""

    language_layers: tuple[str, ...] = LINEAR_LAYERS
    """The language model's layers that get adapters, by the last part of their names."""
    language_rank: int = Field(16, ge=1)
    encoder_layers: tuple[str, ...] = ()
    """The encoder's; with none it stays as it is."""
    encoder_rank: int = Field(8, ge=1)
    adapter_scale: float = Field(2.0, gt=0)
    """What an adapter's product is multiplied by: LoRA's alpha over its rank."""
    adapter_dropout: float = Field(0.0, ge=0, lt=1)

    steps: int = Field(500, ge=1)
    epochs: float | None = Field(None, gt=0)
    """Passes over the faces, instead of `steps`."""
    batch_size: int = Field(16, ge=1)
    """Faces a step, over all workers; a multiple of `workers`."""
    adapter_rate: float = Field(5e-4, gt=0)
    """Highest learning rate of the adapters."""
    projector_rate: float = Field(5e-4, ge=0)
    """0 leaves the projector as it is: the adapter alone can then be taken in by a service that runs."""
    warmup_rate: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the rates rise; from there they fall to nothing along half a cosine."""
    weight_decay: float = Field(0.02, ge=0)
    """Of matrices; biases and norms have none."""
    adam_betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = Field(1.0, gt=0)
    """Longest gradient; longer ones are shortened to it."""
    tokens_at_once: int = Field(1100, ge=1)
    """Most tokens that a worker puts through the model at once; a step has as many turns as it takes."""
    packing: bool = False
    """Put the examples of a turn into one row, instead of padding each to the longest."""
    seed: int = 0

    workers: int = Field(2, ge=1)
    use_gpu: bool = False
    """One GPU a worker; else one CPU."""
    sharding: Literal["none", "fsdp2"] = "none"
    """Whether workers divide the model's weights among them, for one that does not fit a GPU."""
    save_every_s: float = Field(300, gt=0)
    samples: int = Field(4, ge=0)
    """Faces that are explained at each checkpoint: held-out ones of `faces`, the first of `data`."""
    max_failures: int = Field(3, ge=0)
    """Times the workers may be lost and started again from the newest checkpoint."""

    def steps_over(self, num_faces: int) -> int:
        """How many steps a training on so many faces has."""
        if self.epochs is None:
            return self.steps
        return max(1, round(self.epochs * num_faces / self.batch_size))
