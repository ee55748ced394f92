"""Examples that go through the model together give what they give alone, padded or packed."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, Qwen2Config

from expllm import sft
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.assembly import new_config
from expllm.models.collation import fill, group_by_length, parts
from expllm.models.explainer import Explainer, lora_config
from expllm.models.tower import FaceTowerConfig
from expllm.unit_reader import EVIDENCE

IMAGE_ID, IMAGE_TOKENS = 3, 49
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


@given(LENGTHS, st.integers(1, 200))
def test_groups_hold_every_place_once_and_stay_within_the_size(lengths: list[int], at_once: int) -> None:
    for groups, size in (
        (group_by_length(lengths, at_once), lambda g: max(lengths[i] for i in g) * len(g)),
        (fill(lengths, at_once), lambda g: sum(lengths[i] for i in g)),
    ):
        assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
        assert all(len(group) == 1 or size(group) <= at_once for group in groups)


@given(LENGTHS, st.integers(40, 200))
def test_packed_rows_but_one_are_more_than_half_full(lengths: list[int], at_once: int) -> None:
    filled = sorted(sum(lengths[i] for i in group) for group in fill(lengths, at_once))
    assert all(2 * size > at_once for size in filled[1:])


def _examples(lengths: list[int]) -> list[tuple[list[int], list[int], list[float]]]:
    """Prompts with an image and a few words, and answers whose tokens count differently."""
    made = []
    for place, length in enumerate(lengths):
        prompt = [5 + place, *[IMAGE_ID] * IMAGE_TOKENS, 7]
        answer = [10 + (place * 7 + i) % 80 for i in range(length)]
        ignored = [sft.IGNORED] * len(prompt)
        weights = [0.0] * len(prompt) + [1.0 + i % 3 for i in range(length)]
        made.append((prompt + answer, ignored + answer, weights))
    return made


def _explainer(decoder: type[LlamaConfig] | type[Qwen2Config], attention: str) -> Explainer:
    torch.manual_seed(0)
    text = decoder(
        vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    config = new_config(FaceTowerConfig(hidden_size=32 + EVIDENCE), text, IMAGE_ID)
    config.text_config._attn_implementation = attention
    explainer = Explainer(ExpllmForConditionalGeneration(config), lora_config(rank=4))
    for name, parameter in explainer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return explainer.train()


def _learnt(explainer: Explainer, *, packing: bool, at_once: int) -> tuple[float, dict[str, Tensor]]:
    """The loss of a step of five examples, and the gradient of each trained parameter."""
    explainer.zero_grad()
    faces = {"pixel_values": torch.rand(5, 3, 112, 112, generator=torch.Generator().manual_seed(0))}
    total = torch.zeros(())
    for batch, share in parts(_examples([4, 30, 11, 7, 2]), faces, at_once, packing=packing):
        loss = explainer(**batch)["loss"] * share
        loss.backward()
        total += loss.detach()
    return total.item(), {n: p.grad.clone() for n, p in explainer.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("decoder", [LlamaConfig, Qwen2Config])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("at_once", [10_000, 150])
def test_packed_examples_are_learnt_as_padded_ones(
    decoder: type[LlamaConfig] | type[Qwen2Config], attention: str, at_once: int
) -> None:
    explainer = _explainer(decoder, attention)
    loss, gradients = _learnt(explainer, packing=False, at_once=1)
    packed_loss, packed_gradients = _learnt(explainer, packing=True, at_once=at_once)
    assert packed_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(packed_gradients[name], gradient, rtol=1e-3, atol=1e-6), name


def test_a_packed_example_does_not_see_its_neighbours() -> None:
    explainer = _explainer(LlamaConfig, "sdpa").eval()
    pixels = torch.rand(2, 3, 112, 112)
    one, two, three = (ids for ids, _, _ in _examples([5, 9, 9]))
    hidden = []
    for neighbour in (two, three):
        ids = torch.tensor([neighbour + one])
        positions = torch.tensor([[*range(len(neighbour)), *range(len(one))]])
        with torch.inference_mode():
            embedded = explainer._embedded(pixels, ids)
            hidden.append(explainer._hidden(embedded, positions)[0, -len(one) :])
    assert torch.allclose(*hidden, atol=1e-6)


def test_likeliest_answers_are_those_that_reading_all_anew_gives(tiny_checkpoint: Path) -> None:
    from expllm import prompt
    from expllm.models.finetuning import image_encoder
    from tests.conftest import BY_HEART

    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    model = ExpllmForConditionalGeneration.from_pretrained(tiny_checkpoint, dtype=torch.float32)
    explainer = Explainer(model, lora_config(rank=2)).eval()
    asked = image_encoder(tokenizer, 49)(prompt.explain(None))
    pixels = torch.rand(2, 3, 112, 112)
    answers = explainer.answers(pixels, asked, tokenizer.eos_token_id, prompt.MAX_ANSWER_TOKENS)
    assert [tokenizer.decode(ids) for ids in answers] == [BY_HEART, BY_HEART]
    assert explainer.answers(pixels, asked, tokenizer.eos_token_id, 3) == [ids[:3] for ids in answers]
