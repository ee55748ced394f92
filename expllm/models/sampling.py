"""A model in training and held-out faces -> what it would write of them, to be read by people."""

from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerFast

from expllm import prompt
from expllm.expressions import EXPRESSIONS
from expllm.models.architecture import num_image_tokens
from expllm.models.augmentation import centre
from expllm.models.explainer import Explainer
from expllm.models.finetuning import Faces, image_encoder
from expllm.models.preprocessing import Preprocessing, to_pixels


def sample_texts(
    explainer: Explainer,
    faces: Faces,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    device: str = "cpu",
    most: Callable[[int], int] = int,
) -> str:
    """Explain each face without hints, greedily; an empty text for no faces. The model is left in use.

    Args:
        most: as Explainer.answers takes it.
    """
    if not len(faces.expressions):
        return ""
    asked = image_encoder(tokenizer, num_image_tokens(explainer.config))(prompt.explain(None))
    pixels = preprocessing.normalise(to_pixels(centre(faces.crops, preprocessing.size_px))).to(device)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        written = explainer.eval().answers(
            pixels, asked, tokenizer.eos_token_id, prompt.MAX_ANSWER_TOKENS, most
        )
    return "\n".join(
        f"# Face {place}: {EXPRESSIONS[expression]}\n\n{tokenizer.decode(ids)}\n"
        for place, (expression, ids) in enumerate(zip(faces.expressions, written, strict=True), 1)
    )
