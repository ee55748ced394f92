"""Trains projector and language model to explain faces: crops and movements in, chains of thought out."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from expllm import cot, sft
from expllm.action_units import to_intensities
from expllm.errors import Reject, RunError
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import Intensities
from expllm.mirroring import mirrored_text
from expllm.models.architecture import ExpllmForConditionalGeneration, num_image_tokens, patch_features
from expllm.models.augmentation import augment, draw_moves, draw_shown, mirrored, without_face
from expllm.models.preprocessing import Preprocessing
from expllm.models.tower import FaceTower

NO_FACE_RATE = 0.04
"""Share of the examples whose picture shows no face."""
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def lora_config(rank: int = 16, layers: tuple[str, ...] = LINEAR_LAYERS) -> LoraConfig:
    """Low-rank adapters on these layers of the language model."""
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(layers))


class Explainer(nn.Module):
    """An ExpLLM model whose projector and language-model adapters are trained; its encoder is frozen."""

    def __init__(self, model: ExpllmForConditionalGeneration, adapters: LoraConfig) -> None:
        super().__init__()
        self.config = model.config
        self.tower = model.model.vision_tower.requires_grad_(False).eval()
        self.projector = model.model.multi_modal_projector.float()
        self.language_model = get_peft_model(model.model.language_model, adapters)
        self.lm_head = model.lm_head.requires_grad_(False)

    def train(self, mode: bool = True) -> "Explainer":
        """Switch to training; the encoder stays as it is used."""
        super().train(mode)
        self.tower.eval()
        return self

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        targets: Tensor,
        weights: Tensor,
        shown: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The mean over the examples of the weighted mean loss of their answer's tokens.

        Sequences are padded on the right: attention is causal, so nothing looks at the padding.

        Args:
            weights: how much each target counts among those of its example.
            shown: which branches of the FaceTower are shown, if it is one.
        """
        hidden = self._hidden(pixel_values, input_ids, shown)
        return self._loss(hidden[:, :-1], targets[:, 1:], weights[:, 1:])

    def next_token_logits(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        """What follows prompts of equal length."""
        return self.lm_head(self._hidden(pixel_values, input_ids)[:, -1])

    def _hidden(self, pixel_values: Tensor, input_ids: Tensor, shown: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            features = patch_features(self.tower, self.config, pixel_values, shown)
        embedded = self.language_model.get_input_embeddings()(input_ids)
        projected = self.projector(features).to(embedded.dtype)
        is_image = (input_ids == self.config.image_token_index).unsqueeze(-1)
        embedded = embedded.masked_scatter(is_image, projected)
        return self.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state

    def _loss(self, hidden: Tensor, targets: Tensor, weights: Tensor) -> dict[str, Tensor]:
        # The vocabulary is most of the cost of a token: the head runs at the answer's places alone.
        is_answer = targets != sft.IGNORED
        weights = weights * is_answer
        weights = (weights / weights.sum(dim=1, keepdim=True) / len(targets))[is_answer]
        logits = self.lm_head(hidden[is_answer]).float()
        losses = functional.cross_entropy(logits, targets[is_answer], reduction="none")
        right = (logits.detach().argmax(dim=1) == targets[is_answer]).float()
        return {"loss": (losses * weights).sum(), "tokens_right": (right * weights).sum()}


class Faces(Protocol):
    """A few faces and what is known of each; all have one entry a face. FaceSet is one such."""

    crops: UInt8[np.ndarray, "faces size size 3"]
    """With the margin of Cut.wide."""
    action_units: Float32[np.ndarray, "faces units"]
    """True intensities 0..1 in the order of facs.COLUMNS, NaN where unknown."""
    measured: Float32[np.ndarray, "faces units"]
    """As labelling measures them, NaN where it gives nothing."""
    expressions: Int64[np.ndarray, " faces"]
    """Places in EXPRESSIONS."""

    @property
    def texts(self) -> Sequence[str | None]:
        """The chain of thought that each face is explained by, if one was written."""
        ...


class FaceSource(Protocol):
    """Where a training's faces come from: what lies at their places is read when they are taken."""

    @property
    def num_examples(self) -> int | None:
        """How many there are; None where they come in an order of their own (see training.Task)."""
        ...

    def take(self, indices: Int64[np.ndarray, " some"]) -> Faces:
        """The faces at these places."""
        ...


@dataclass(frozen=True)
class ExplainTask:
    """Faces with truth, measured movements and texts as conversations for the Explainer."""

    faces: FaceSource
    model: Explainer
    tokenizer: PreTrainedTokenizerFast
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    tokens_at_once: int = 1100
    """Most tokens, padding included, that go through the model at once."""
    adapter_rate: float = 5e-4
    projector_rate: float = 2e-3
    label_only_rate: float = 0.25
    """Share of the questions that ask for the label alone; of faces that nothing explains, all do."""
    label_first: bool = False
    """Whether all chains have the label before them, as in the published code."""

    @property
    def num_examples(self) -> int | None:
        """How many faces there are; None where they come as a stream."""
        return self.faces.num_examples

    def parameter_groups(self) -> list[tuple[list[str], float]]:
        """The projector learns faster: it starts from nothing."""
        names = [name for name, p in self.model.named_parameters() if p.requires_grad]
        projector = [name for name in names if name.startswith("projector.")]
        return [
            (projector, self.projector_rate),
            ([n for n in names if n not in projector], self.adapter_rate),
        ]

    def batches(
        self, indices: Int64[np.ndarray, " batch"], rng: np.random.Generator
    ) -> Iterator[tuple[dict[str, Tensor], float]]:
        """One new example of each face; those of like length go through the model together."""
        faces, size_px = self.faces.take(indices), self.preprocessing.size_px
        mirror = rng.random(len(indices)) < 0.5
        moves = draw_moves(mirror, faces.crops.shape[1], rng, size_px)
        faceless = rng.random(len(indices)) < NO_FACE_RATE
        pixels = augment(faces.crops, moves, rng, size_px)
        pixels[faceless] = without_face(pixels[faceless], rng)
        pixels = self.preprocessing.normalise(pixels)
        shown = draw_shown(len(indices), rng) if isinstance(self.model.tower, FaceTower) else None
        tokenised = self._examples(faces, mirror, faceless, random.Random(int(rng.integers(2**63))))
        for places in group_by_length([len(ids) for ids, _, _ in tokenised], self.tokens_at_once):
            ids, targets, weights = zip(*(tokenised[place] for place in places), strict=True)
            batch = {
                "pixel_values": pixels[places],
                "input_ids": _pad(ids, 0),
                "targets": _pad(targets, sft.IGNORED),
                "weights": _pad(weights, 0.0),
            }
            if shown is not None:
                batch["shown"] = shown[places]
            yield batch, len(places) / len(indices)

    def _examples(
        self,
        faces: Faces,
        mirror: Bool[np.ndarray, " batch"],
        faceless: Bool[np.ndarray, " batch"],
        rng: random.Random,
    ) -> list[tuple[list[int], list[int], list[float]]]:
        true, measured = mirrored(faces.action_units, mirror), mirrored(faces.measured, mirror)
        expressions = [EXPRESSIONS[place] for place in faces.expressions]
        chains = [_chain(text, m) for text, m in zip(faces.texts, mirror, strict=True)]
        encode = image_encoder(self.tokenizer, num_image_tokens(self.model.config))
        examples = [
            sft.refusal(_known(m), rng)
            if is_faceless
            else self._example(_known(t), _known(m), expression, chain, rng)
            for t, m, expression, chain, is_faceless in zip(
                true, measured, expressions, chains, faceless, strict=True
            )
        ]
        return [(*sft.tokenise(example, encode), sft.weights(example, encode)) for example in examples]

    def _example(
        self,
        true: Intensities | None,
        measured: Intensities | None,
        expression: Expression,
        chain: cot.ChainOfThought | None,
        rng: random.Random,
    ) -> sft.Example:
        rates = {"label_only_rate": self.label_only_rate, "label_first": self.label_first}
        (example,) = sft.examples(true, measured, expression, rng, chain=chain, **rates)
        return example


def _known(units: Float32[np.ndarray, " units"]) -> Intensities | None:
    return None if np.isnan(units).all() else to_intensities(units)


def _chain(text: str | None, is_mirrored: bool) -> cot.ChainOfThought | None:
    """The chain of thought of a text that the grammar reads, as it is of the mirrored face if asked."""
    if text is None:
        return None
    chain = cot.parse(mirrored_text(text) if is_mirrored else text, truncated=False)
    if isinstance(chain, Reject):
        raise RunError(f"a text to be learnt cannot be read ({chain}): prepare the examples again")
    return chain


def image_encoder(tokenizer: PreTrainedTokenizerFast, num_tokens: int) -> Callable[[str], list[int]]:
    """Text to token ids, with the image's placeholder repeated for each of its tokens."""
    image_id = tokenizer.image_token_id

    def encode(text: str) -> list[int]:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        return [token for i in ids for token in ([i] * num_tokens if i == image_id else [i])]

    return encode


def group_by_length(lengths: list[int], tokens_at_once: int) -> list[list[int]]:
    """Divide places into groups of like length whose padded size stays within a number of tokens."""
    groups: list[list[int]] = [[]]
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        group = groups[-1]
        if group and lengths[group[0]] * (len(group) + 1) > tokens_at_once:
            groups.append([place])
        else:
            group.append(place)
    return groups


def _pad(rows: tuple[list[int], ...] | tuple[list[float], ...], value: float) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
