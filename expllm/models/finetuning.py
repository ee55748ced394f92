"""Faces with truth and measured movements into what an Explainer learns from: prompts and answers."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int64
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from expllm import sft
from expllm.action_units import to_intensities
from expllm.expressions import EXPRESSIONS
from expllm.models.architecture import num_image_tokens
from expllm.models.augmentation import augment, draw_moves, draw_shown, mirrored, without_face
from expllm.models.collation import parts
from expllm.models.dataset import STORED_PX, FaceSet
from expllm.models.explainer import Explainer
from expllm.models.preprocessing import Preprocessing
from expllm.models.tower import FaceTower

NO_FACE_RATE = 0.04
"""Share of the examples whose picture shows no face."""


@dataclass(frozen=True)
class ExplainTask:
    """Faces with truth and measured movements as conversations for the Explainer."""

    faces: FaceSet
    model: Explainer
    tokenizer: PreTrainedTokenizerFast
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    tokens_at_once: int = 1100
    """Most tokens, padding included, that go through the model at once."""
    packing: bool = False
    """Whether examples that go through the model together stand in one row, not one below the other."""
    adapter_rate: float = 5e-4
    projector_rate: float = 2e-3

    @property
    def num_examples(self) -> int:
        """How many faces there are."""
        return len(self.faces)

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
        mirror = rng.random(len(indices)) < 0.5
        moves = draw_moves(mirror, STORED_PX, rng)
        faceless = rng.random(len(indices)) < NO_FACE_RATE
        pixels = augment(self.faces.crops[indices], moves, rng)
        pixels[faceless] = without_face(pixels[faceless], rng)
        pixels = self.preprocessing.normalise(pixels)
        shown = draw_shown(len(indices), rng) if isinstance(self.model.tower, FaceTower) else None
        tokenised = self._examples(indices, mirror, faceless, random.Random(int(rng.integers(2**63))))
        of_faces = {"pixel_values": pixels} | ({} if shown is None else {"shown": shown})
        yield from parts(tokenised, of_faces, self.tokens_at_once, packing=self.packing)

    def _examples(
        self,
        indices: Int64[np.ndarray, " batch"],
        mirror: Bool[np.ndarray, " batch"],
        faceless: Bool[np.ndarray, " batch"],
        rng: random.Random,
    ) -> list[tuple[list[int], list[int], list[float]]]:
        true = mirrored(self.faces.action_units[indices], mirror)
        measured = mirrored(self.faces.measured[indices], mirror)
        encode = image_encoder(self.tokenizer, num_image_tokens(self.model.config))
        examples = [
            sft.refusal(_hints(m), rng)
            if is_faceless
            else sft.examples(to_intensities(t), _hints(m), EXPRESSIONS[self.faces.expressions[index]], rng)[
                0
            ]
            for t, m, index, is_faceless in zip(true, measured, indices, faceless, strict=True)
        ]
        return [(*sft.tokenise(example, encode), sft.weights(example, encode)) for example in examples]


def _hints(measured: Float32[np.ndarray, " units"]) -> dict[str, float | None] | None:
    return None if np.isnan(measured).all() else to_intensities(measured)


def image_encoder(tokenizer: PreTrainedTokenizerFast, num_tokens: int) -> Callable[[str], list[int]]:
    """Text to token ids, with the image's placeholder repeated for each of its tokens."""
    image_id = tokenizer.image_token_id

    def encode(text: str) -> list[int]:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        return [token for i in ids for token in ([i] * num_tokens if i == image_id else [i])]

    return encode
