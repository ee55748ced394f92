"""A trained model in memory -> the record that it is held to before it serves, and its adapter alone."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from expllm import cot, gate, prompt
from expllm.errors import Reject
from expllm.models import adapters, assembly, frozen
from expllm.models.architecture import ExpllmForConditionalGeneration, patch_features
from expllm.models.checkpoint import Checkpoint
from expllm.models.encoder import Encoder
from expllm.models.preprocessing import Preprocessing, to_pixels
from expllm.train_config import LINEAR_LAYERS

Features = Float16[np.ndarray, "faces tokens width"]

_PARTS = {"language model": "language_model", "encoder": "vision_tower"}
_PROJECTOR = "model.multi_modal_projector."


def record(
    folder: Path,
    model: ExpllmForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    base: Checkpoint | None,
) -> None:
    """Write gate.json, and the adapter alone where that is all that was trained, into the model's folder.

    Call it at the end of a training and before adapters are merged. The model becomes float32, and stays so.

    Args:
        model: The trained model with its adapters in place, whole and in this process.
        base: What the training began with; None where encoder and language model met for the first time.
    """
    model.float().eval()
    reading = frozen.reading(tokenizer, model.config, preprocessing)
    features = _features(model, preprocessing)
    texts = _texts(model, tokenizer, reading, features)
    folder.mkdir(parents=True, exist_ok=True)
    gate.Record(
        base=base and base.model,
        base_id=base and base.model_id,
        reading=reading,
        texts=texts,
        text_labels=tuple(map(text_label, tokenizer.batch_decode(texts, skip_special_tokens=True))),
        scores=scores(model, reading, texts, features),
        adapters=_adapters(model, reading, texts, preprocessing),
    ).write(folder)
    alone = folder / adapters.FOLDER
    shutil.rmtree(alone, ignore_errors=True)  # of an earlier training
    factors = assembly.adapter_tensors(model.model.language_model)
    layers = _layers(factors)
    if layers and layers <= set(LINEAR_LAYERS) and base is not None and _sees_as(model, base, features):
        _save_adapter(alone, factors, layers)


def scores(
    model: ExpllmForConditionalGeneration,
    reading: gate.Reading,
    texts: Sequence[Sequence[int]],
    features: Features,
) -> tuple[gate.Scores, ...]:
    """What a model scores for the frozen answers, by Transformers."""
    found = []
    for face, text in enumerate(texts):
        explain, ask_label = reading.questions[2 * face : 2 * face + 2]
        written = _logprobs(model, [*explain, *text], features[face], len(text) + 1)[:-1]
        labels = _logprobs(model, ask_label, features[face], 1)[0, list(reading.label_tokens)]
        of_text = written.gather(1, torch.tensor(text, device=written.device)[:, None])[:, 0]
        found.append(gate.Scores(labels=labels.tolist(), text=of_text.tolist()))
    return tuple(found)


def text_label(text: str) -> str | None:
    """The label that a text ends in; None where the text cannot be read."""
    read = cot.parse(text, truncated=False)
    return None if isinstance(read, Reject) else str(read.expression)


@torch.inference_mode()
def _logprobs(
    model: ExpllmForConditionalGeneration, ids: Sequence[int], features: np.ndarray, kept: int
) -> Tensor:
    """Log probabilities after each of the last `kept` tokens, kept x vocabulary."""
    output = model(
        input_ids=torch.tensor([ids], device=model.device),
        mm_encoder_outputs={"image": model.project(torch.from_numpy(features[None]))},
        logits_to_keep=kept,
        use_cache=False,
    )
    return output.logits[0].float().log_softmax(dim=-1)


@torch.inference_mode()
def _features(model: ExpllmForConditionalGeneration, preprocessing: Preprocessing) -> Features:
    """What the encoder makes of the frozen faces, in the form that crosses to an engine."""
    pixels = preprocessing.normalise(to_pixels(frozen.crops(preprocessing.size_px))).to(model.device)
    return patch_features(model.model.vision_tower, model.config, pixels).to("cpu", torch.float16).numpy()


@torch.inference_mode()
def _texts(
    model: ExpllmForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    reading: gate.Reading,
    features: Features,
) -> tuple[tuple[int, ...], ...]:
    """What the model writes of each frozen face, as it is written when serving: the likeliest token each."""
    texts = []
    for question, of_face in zip(reading.questions[::2], features, strict=True):
        tokens = model.generate(
            input_ids=torch.tensor([question], device=model.device),
            mm_encoder_outputs={"image": model.project(torch.from_numpy(of_face[None]))},
            max_new_tokens=prompt.MAX_ANSWER_TOKENS,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        texts.append(tuple(tokens[0, len(question) :].tolist()))
    return tuple(texts)


def _adapters(
    model: ExpllmForConditionalGeneration,
    reading: gate.Reading,
    texts: Sequence[Sequence[int]],
    preprocessing: Preprocessing,
) -> dict[str, gate.Adapter]:
    found = {}
    for part, name in _PARTS.items():
        layers = _lora_layers(model.model.get_submodule(name))
        if layers:
            with _switched_off(layers):
                without = scores(model, reading, texts, _features(model, preprocessing))
            found[part] = gate.Adapter(norm=_norm(layers), scores_without=without)
    return found


def _lora_layers(part: nn.Module) -> list[LoraLayer]:
    return [module for module in part.modules() if isinstance(module, LoraLayer)]


@contextmanager
def _switched_off(layers: Sequence[LoraLayer]) -> Iterator[None]:
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@torch.inference_mode()
def _norm(layers: Sequence[LoraLayer]) -> float:
    total = 0.0
    for layer in layers:
        for name in layer.lora_A:
            down, up = layer.lora_A[name].weight, layer.lora_B[name].weight * layer.scaling[name]
            # |BA|^2 by two matrices of rank x rank: the product itself is as large as the layer.
            total += float(((up.T @ up) * (down @ down.T)).sum())
    return total**0.5


def _layers(factors: Mapping[str, Tensor]) -> set[str]:
    return {name.rsplit(".", 2)[1] for name in factors}


def _sees_as(model: ExpllmForConditionalGeneration, base: Checkpoint, features: Features) -> bool:
    """Whether encoder and projector are those of the base, so that an adapter is all that differs."""
    if _lora_layers(model.model.vision_tower):
        return False
    of_base = Encoder(base).encode(frozen.crops(base.preprocessing.size_px))
    if not np.allclose(features, of_base, rtol=0.01, atol=0.01):  # another device computes a little otherwise
        return False
    ours = model.model.multi_modal_projector.state_dict()
    return all(torch.equal(ours[name].cpu(), tensor.float()) for name, tensor in _projector(base).items())


def _projector(base: Checkpoint) -> dict[str, Tensor]:
    tensors = {}
    for file in sorted(base.path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - the file is no mapping
                if name.startswith(_PROJECTOR):
                    tensors[name.removeprefix(_PROJECTOR)] = weights.get_tensor(name)
    return tensors


def _save_adapter(folder: Path, factors: Mapping[str, Tensor], layers: Iterable[str]) -> None:
    """Write the adapter under the names of the whole model's layers, as vLLM looks for them."""
    tensors = {_peft_name(name): tensor.detach().cpu().contiguous() for name, tensor in factors.items()}
    rank = max(tensor.shape[0] for name, tensor in tensors.items() if ".lora_A." in name)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / adapters.WEIGHTS)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": sorted(layers)}
    (folder / adapters.CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def _peft_name(name: str) -> str:
    """`LAYER.a` as adapter_tensors names a factor, scale included -> PEFT's name of it."""
    layer, factor = name.rsplit(".", 1)
    return f"base_model.model.model.language_model.{layer}.lora_{factor.upper()}.weight"
