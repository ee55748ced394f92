"""TOML file and key=value -> the frozen configuration of one job."""

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from expllm.errors import CallerError

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a decoder's block, in the Llama and Qwen families."""


class Config(BaseModel):
    """What every job's configuration has in common: it never changes, and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, path: Path | None = None, overrides: Sequence[str] = ()) -> Self:
        """Read a TOML file, if one is named, and then each `key=value`; later ones win.

        Raises:
            CallerError: the file cannot be read, a key is unknown, or a value does not fit.
        """
        values = {} if path is None else _read_toml(path)
        for override in overrides:
            key, equals, text = override.partition("=")
            if not equals:
                raise CallerError(f"--set {override}: write key=value")
            values[key.strip()] = _value(text.strip())
        return cls.of(values)

    @classmethod
    def of(cls, values: dict[str, object]) -> Self:
        """Check values and say in one line what is wrong with the first that does not fit."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise CallerError(_one_line(cls, error)) from error


class MachinesConfig(Config):
    """A model, and what runs its encoder and an engine."""

    model: str = "expllm-135m"
    """The bundled model's name, or a checkpoint folder."""
    encoder_gpus: float = Field(0, ge=0)
    """GPUs an encoder takes; may be a fraction."""
    engine_workers: int = Field(1, ge=1)
    """vLLM engines; of those that Serve runs, the first starts at once and the others as requests come."""
    engine_gpus: int = Field(0, ge=0)
    """GPUs an engine takes; more than one for a model that is split over several."""
    engine_kwargs: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """vLLM engine arguments that replace the project's own, by vLLM's names."""
    decode_timeout_s: float = Field(20, gt=0)

    @property
    def encoder_device(self) -> Literal["cpu", "cuda"]:
        """Where encoders compute, as torch calls it."""
        return "cuda" if self.encoder_gpus else "cpu"

    @property
    def engine_overrides(self) -> dict[str, bool | int | float | str]:
        """What changes in the project's vLLM arguments: on GPUs an engine compiles and fills their memory."""
        gpu: dict[str, bool | int | float | str] = {
            "enforce_eager": False,
            "gpu_memory_utilization": 0.85,
            "tensor_parallel_size": self.engine_gpus,
            "max_num_seqs": 256,
        }
        return {**(gpu if self.engine_gpus else {}), **self.engine_kwargs}


class EngineConfig(MachinesConfig):
    """The model and what runs it: the same for jobs and for the service."""

    adapters: int = Field(0, ge=0)
    """Adapters that an engine of Serve's holds at once: above 0, a promoted model that differs from its base
    in the language model's adapter alone is taken in without starting anything anew."""
    adapter_rank: int = Field(16, ge=1)
    """The highest rank of these adapters."""
    hints: bool = True
    """Whether the prompt tells the model which movements were measured on the face."""


class Prices(Config):
    """What machines and requests cost, in any one currency; all that is not given costs nothing."""

    cpu_hour: float = Field(default=0, ge=0)
    """One CPU that a worker takes, for an hour."""
    gpu_hour: float = Field(default=0, ge=0)
    get_1000: float = Field(default=0, ge=0)
    """A thousand S3 requests that read an object."""
    put_1000: float = Field(default=0, ge=0)
    list_1000: float = Field(default=0, ge=0)


class LabelConfig(EngineConfig):
    """How `expllm label` labels: the model, the detector, the engine and its limits."""

    detector: Literal["mediapipe"] = "mediapipe"
    engine: Literal["vllm", "serve"] = "vllm"
    """Engines inside the job, or the Serve deployment that jobs and HTTP clients share."""
    limit: int | None = Field(None, ge=1)
    """Most photographs to take, the first by URI; for a first look."""
    max_reject_rate: float = Field(0.9, ge=0, le=1)
    """The run fails above this share of rejected rows; what it has labelled stays."""
    shard_size: int | None = Field(None, ge=1)
    """About how many photographs are committed together; by default it grows with the input."""
    face_workers: int = Field(1, ge=1)
    """Processes that read photographs and find faces; one a core is a good number on a cluster."""
    encoder_workers: int = Field(1, ge=1)
    prices: Prices = Field(default_factory=Prices)
    """What the run's cost is counted by."""
    max_cost: float | None = Field(None, ge=0)
    """The run stops before it costs more, by `prices`; what it has labelled stays."""

    @model_validator(mode="after")
    def _cost_has_prices(self) -> Self:
        if self.max_cost is not None and self.prices == Prices():
            raise ValueError("needs prices: write [prices] with cpu_hour or gpu_hour")
        return self


class PlanConfig(LabelConfig):
    """How `expllm plan` finds out what labelling would take: `LabelConfig` as the run would have it."""

    canary: int = Field(100, ge=1)
    """Photographs that are labelled, drawn by chance."""
    seed: int = 0

    def labelling(self) -> LabelConfig:
        """How the canary is labelled: as the run would, whatever it costs."""
        kept = self.model_dump(exclude={"canary", "seed", "limit", "max_cost"})
        return LabelConfig.model_validate(kept)


class ServiceConfig(EngineConfig):
    """How `expllm serve` answers."""

    reader_replicas: int = Field(1, ge=1)
    """Processes that read photographs and encode faces."""
    api_keys_file: Path | None = None
    """Keys that clients may use, one a line; beside those of EXPLLM_API_KEYS."""


class EvaluateConfig(EngineConfig):
    """How `expllm evaluate` judges a model; `hints` says of which texts the first figures are."""

    limit: int | None = Field(None, ge=1)
    """Most faces to ask about, drawn by `seed`."""
    pairs: int = Field(200, ge=0)
    """Pairs of rendered pictures that differ in one movement."""
    pairs_seed: int = Field(900_000, ge=0)
    """The first person of the pairs; those in training have lower numbers."""
    changed_chains: int = Field(200, ge=0)
    """Most faces whose Key Observations are changed, to see whether the label follows."""
    bootstrap_rounds: int = Field(1000, ge=1)
    """Resamples that each interval is of."""
    seed: int = Field(0, ge=0)
    endpoint_form: bool = True
    """Whether an endpoint's model is told the form of answers; one trained on it need not be."""


class GateConfig(MachinesConfig):
    """How `expllm gate` and `expllm promote` try a checkpoint in vLLM."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """The engine's numbers while it is tried; in bfloat16 only labels and first tokens have to agree."""


class Price(Config):
    """What a model's tokens cost, in any one currency, for a million of them."""

    prompt: float = Field(ge=0)
    answer: float = Field(ge=0)


class BuildCotConfig(MachinesConfig):
    """How `expllm build-cot` writes chains of thought: what measures, who writes, and what it may cost."""

    teacher: Literal["writer", "endpoint", "vllm"] = "writer"
    """The deterministic writer, an OpenAI-compatible endpoint, or a chat model in vLLM on this cluster."""
    label_steered: bool = False
    """Tell the teacher the label after a failed round, and force the last text to it, as published texts."""
    teacher_model: str | None = None
    """The endpoint's name of the model, or the folder of a chat model for vLLM."""
    teacher_url: str | None = None
    """Where the endpoint's `/chat/completions` lies below: https://host/v1."""
    teacher_key: str = "OPENAI_API_KEY"
    """The environment variable that holds the endpoint's key; without it none is sent."""
    teacher_parameters: dict[str, bool | int | float | str] = {"temperature": 0.0, "max_tokens": 400}
    """What is sent with each call, by the interface's names."""
    timeout_s: float = Field(60, gt=0)
    """Longest time for one answer of the endpoint."""
    retries: int = Field(5, ge=0)
    """Further tries of a call that the endpoint could not answer for the moment."""
    calls_at_once: int = Field(8, ge=1)
    """Faces that a teaching process asks about at a time."""
    prices: dict[str, Price] = Field(default_factory=dict)
    """Model -> what its tokens cost."""
    max_cost: float | None = Field(None, ge=0)
    """Most that the calls for OUTPUT may cost, over all runs; none is made that could pass it."""
    cache: str | None = None
    """Folder or s3:// prefix of the answers that were paid for; OUTPUT/calls by default."""
    limit: int | None = Field(None, ge=1)
    """Most faces to take, the first of the data set."""
    face_workers: int = Field(1, ge=1)
    """Processes that read photographs and find faces."""
    encoder_workers: int = Field(1, ge=1)
    teaching_workers: int = Field(1, ge=1)
    """Processes that have texts written."""


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


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise CallerError(f"{path}: cannot be read ({error.strerror}); check --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallerError(f"{path}: is not TOML: {error}") from error


def _value(text: str) -> object:
    """Read a value as TOML does; what is none, such as a bare word or a path, is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _one_line(config: type[Config], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key} is not given: name it in the file, or as --set {key}=..."
    if first["type"] != "extra_forbidden":
        return f"{key}: {first['msg']}, not {first['input']!r}"
    known = list(config.model_fields)
    nearest = get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"the keys are {', '.join(known)}"
    return f"there is no key {key!r}; {hint}"
