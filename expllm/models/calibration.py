"""Held-out faces into the label scores that a model's temperature is fitted to."""

import numpy as np
import torch
from jaxtyping import Float32
from transformers import PreTrainedTokenizerFast

from expllm import prompt
from expllm.action_units import to_intensities
from expllm.models.architecture import num_image_tokens
from expllm.models.augmentation import centre
from expllm.models.dataset import FaceSet
from expllm.models.engine import first_tokens
from expllm.models.explainer import Explainer
from expllm.models.finetuning import image_encoder
from expllm.models.preprocessing import Preprocessing, to_pixels


def label_logprobs(
    explainer: Explainer,
    faces: FaceSet,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    *,
    hints: bool,
) -> Float32[np.ndarray, "faces expressions"]:
    """What the label-only question gives for each face, as the engine would ask it."""
    explainer.eval()
    encode = image_encoder(tokenizer, num_image_tokens(explainer.config))
    label_ids = list(first_tokens(tokenizer).values())
    rows = []
    for place in range(len(faces)):
        measured = to_intensities(faces.measured[place]) if hints else None
        ids = torch.tensor([encode(prompt.ask_label(measured))])
        pixels = preprocessing.normalise(to_pixels(centre(faces.crops[place : place + 1])))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = explainer.next_token_logits(pixels, ids)[0].float()
        rows.append(logits.log_softmax(dim=0)[label_ids].numpy())
    return np.stack(rows)
