"""Faces with truth and measured movements into what an Explainer learns from: prompts and answers."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from expllm import cot, sft
from expllm.action_units import to_intensities
from expllm.errors import Reject, RunError
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import Intensities
from expllm.mirroring import mirrored_text
from expllm.models.architecture import num_image_tokens
from expllm.models.augmentation import augment, draw_moves, draw_shown, mirrored, without_face
from expllm.models.collation import parts
from expllm.models.explainer import Explainer
from expllm.models.preprocessing import Preprocessing
from expllm.models.tower import FaceTower

NO_FACE_RATE = 0.04
"""Share of the examples whose picture shows no face."""


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
    packing: bool = False
    """Whether examples that go through the model together stand in one row, not one below the other."""
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
        of_faces = {"pixel_values": pixels} | ({} if shown is None else {"shown": shown})
        yield from parts(tokenised, of_faces, self.tokens_at_once, packing=self.packing)

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
