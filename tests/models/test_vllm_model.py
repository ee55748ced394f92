"""vLLM writes what Transformers writes, from pixels and from features."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from expllm import prompt
from expllm.models import registration
from expllm.models.architecture import ExpllmForConditionalGeneration, patch_features
from expllm.models.checkpoint import resolve
from expllm.models.encoder import Encoder
from expllm.models.engine import engine_args, label_logprobs, label_sampling, label_token_ids

_ANSWER_TOKENS = 12
_FACE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def engine(random_checkpoint: Path) -> Iterator[Any]:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    registration.register()
    from vllm import LLM

    checkpoint = resolve(str(random_checkpoint))
    with pytest.MonkeyPatch.context() as modules:
        # vLLM looks through all loaded modules as it starts and trips over llvmlite's, which rendering loads.
        for name in [name for name in sys.modules if name.startswith("llvmlite")]:
            modules.delitem(sys.modules, name)
        llm = LLM(
            model=str(random_checkpoint),
            **engine_args(checkpoint, dtype="float32", max_num_seqs=4),
        )
    yield llm
    llm.llm_engine.engine_core.shutdown()


@pytest.fixture(scope="module")
def transformers_model(random_checkpoint: Path) -> ExpllmForConditionalGeneration:
    return ExpllmForConditionalGeneration.from_pretrained(random_checkpoint, dtype=torch.float32).eval()


def _vllm_tokens(engine: Any, image: Any) -> list[int]:
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=_ANSWER_TOKENS, ignore_eos=True)
    request = {"prompt": prompt.explain(None), "multi_modal_data": {"image": image}}
    return list(engine.generate([request], sampling, use_tqdm=False)[0].outputs[0].token_ids)


def _inputs(folder: Path) -> dict[str, torch.Tensor]:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)(text=prompt.explain(None), images=_FACE, return_tensors="pt")


def _transformers_tokens(model: ExpllmForConditionalGeneration, **inputs: Any) -> list[int]:
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=_ANSWER_TOKENS, do_sample=False, eos_token_id=None)
    return tokens[0, inputs["input_ids"].shape[1] :].tolist()


def test_pixels_give_the_tokens_that_transformers_gives(
    engine: Any, transformers_model: ExpllmForConditionalGeneration, random_checkpoint: Path
) -> None:
    expected = _transformers_tokens(transformers_model, **_inputs(random_checkpoint))
    assert _vllm_tokens(engine, _FACE) == expected


def test_raw_features_give_the_tokens_that_transformers_gives(
    engine: Any, transformers_model: ExpllmForConditionalGeneration, random_checkpoint: Path
) -> None:
    features = torch.from_numpy(
        Encoder(resolve(str(random_checkpoint))).encode(np.asarray(_FACE)[None]).astype(np.float32)
    )
    inputs = _inputs(random_checkpoint)
    encoded = {"image": transformers_model.project(features)}
    expected = _transformers_tokens(
        transformers_model, input_ids=inputs["input_ids"], mm_encoder_outputs=encoded
    )
    assert _vllm_tokens(engine, features) == expected


def test_projected_features_are_taken_as_they_are(
    engine: Any, transformers_model: ExpllmForConditionalGeneration, random_checkpoint: Path
) -> None:
    pixels = _inputs(random_checkpoint)["pixel_values"]
    with torch.inference_mode():
        raw = patch_features(transformers_model.model.vision_tower, transformers_model.config, pixels)
        projected = torch.stack(transformers_model.project(raw).pooler_output)
    assert _vllm_tokens(engine, projected) == _vllm_tokens(engine, raw)


@pytest.mark.parametrize("shape", [(1, 49, 33), (1, 48, 32), (1, 50, 64)])
def test_features_of_another_shape_are_refused(engine: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="this model takes 49 x 66"):
        _vllm_tokens(engine, torch.zeros(shape))


def test_the_label_question_scores_every_expression(engine: Any, random_checkpoint: Path) -> None:
    from vllm import SamplingParams

    token_ids = label_token_ids(resolve(str(random_checkpoint)))
    request = {"prompt": prompt.ask_label(None), "multi_modal_data": {"image": _FACE}}
    answer = engine.generate([request], SamplingParams(**label_sampling(token_ids)), use_tqdm=False)[0]
    assert set(label_logprobs(answer.outputs[0].logprobs[0], token_ids)) == set(token_ids)
