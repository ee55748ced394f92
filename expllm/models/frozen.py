"""The frozen faces and questions that every trained model is asked before it serves."""

import hashlib
import json
from dataclasses import asdict
from importlib.resources import files
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from transformers import PreTrainedTokenizerFast

from expllm import prompt
from expllm.checksums import short_sha256
from expllm.facs import COLUMNS, Intensities
from expllm.gate import Reading
from expllm.models.architecture import ExpllmConfig, num_image_tokens
from expllm.models.engine import first_tokens
from expllm.models.finetuning import image_encoder
from expllm.models.preprocessing import Preprocessing

_FACES = ("01_happiness.jpg", "03_anger.jpg", "04_sadness.jpg", "08_neutral.jpg")
_BOX_PX = (96, 96, 416, 416)
"""A fixed square, not a face that was found: a detector may find it a little elsewhere on another machine."""
_SMILE = dict.fromkeys(COLUMNS, 0.0) | {"au06": 0.5, "au12": 0.8, "au12_left": 0.8, "au12_right": 0.8}
HINTS: tuple[Intensities | None, ...] = (None, _SMILE, _SMILE, None)
"""Of each face; those of the third are false."""


def crops(size_px: int) -> UInt8[np.ndarray, "faces size size 3"]:
    """The frozen faces, out of the bundled photographs."""
    return np.stack([_crop(name, size_px) for name in _FACES])


def _crop(name: str, size_px: int) -> UInt8[np.ndarray, "size size 3"]:
    data = files("expllm").joinpath("data", "demo", name).read_bytes()
    with Image.open(BytesIO(data)) as photograph:
        cut = photograph.convert("RGB").crop(_BOX_PX)
    return np.asarray(cut.resize((size_px, size_px), Image.Resampling.BILINEAR))


def prompts() -> list[str]:
    """Both questions about each face in turn: prompt.explain, prompt.ask_label."""
    return [ask(hints) for hints in HINTS for ask in (prompt.explain, prompt.ask_label)]


def reading(
    tokenizer: PreTrainedTokenizerFast, config: ExpllmConfig, preprocessing: Preprocessing
) -> Reading:
    """How the frozen faces and questions reach a model by this code and these files."""
    encode = image_encoder(tokenizer, num_image_tokens(config))
    return Reading(
        prompt_id=prompt.prompt_id(hints=True),
        preprocessing=short_sha256(json.dumps(asdict(preprocessing))),
        faces=hashlib.sha256(crops(preprocessing.size_px).tobytes()).hexdigest(),
        questions=tuple(tuple(encode(text)) for text in prompts()),
        label_tokens=tuple(first_tokens(tokenizer).values()),
    )
