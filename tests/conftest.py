"""What tests share: two small models a session, each made on first use, and a chat endpoint."""

import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from expllm import cot, prompt
from expllm.expressions import Expression
from expllm.facs import COLUMNS
from tests.chat_server import Endpoint, serving

settings.register_profile("expllm", deadline=None, max_examples=50)
settings.load_profile("expllm")

BY_HEART = cot.render(
    cot.ChainOfThought(
        "strong lip corner puller (happiness).",
        "The lip corner puller points to happiness; surprise is far behind.",
        "The face shows happiness.",
        Expression.HAPPINESS,
    )
)
"""What the model of `tiny_checkpoint` writes of every face."""


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint with random weights, 3 million of them: gibberish that hangs on every pixel."""
    return _saved(_language_model(len(_tokenizer())), tmp_path_factory.mktemp("random-checkpoint"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint of the same size that has learnt one answer by heart and gives it of every face."""
    return _saved(_taught(), tmp_path_factory.mktemp("tiny-checkpoint"))


@pytest.fixture(scope="session")
def trains() -> Callable[..., Path]:
    """A function that leaves what a training leaves, its adapter drawn by chance in place of learnt."""
    return _trained


def _trained(base: Path, folder: Path, spread: float, *, projector: float = 1.0) -> Path:
    import torch
    from transformers import AutoTokenizer

    from expllm.models import assembly, recording
    from expllm.models.architecture import ExpllmForConditionalGeneration
    from expllm.models.checkpoint import resolve
    from expllm.models.explainer import Explainer, lora_config

    torch.manual_seed(0)
    checkpoint, tokenizer = resolve(str(base)), AutoTokenizer.from_pretrained(base)
    model = ExpllmForConditionalGeneration.from_pretrained(base, dtype=torch.bfloat16)
    explainer = Explainer(model, lora_config(rank=4))
    for name, parameter in explainer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=spread)
    explainer.projector.linear_2.weight.data *= projector
    recording.record(folder, model, tokenizer, checkpoint.preprocessing, checkpoint)
    explainer.language_model.merge_and_unload()
    assembly.save_assembled(folder, model, tokenizer, checkpoint.preprocessing, {"temperature": 1.0})
    return folder


@cache
def _tokenizer() -> Any:
    from expllm.models import base

    return base.tokenizer()


def _language_model(vocabulary: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
    )
    return LlamaForCausalLM(config)


def _saved(language_model: Any, folder: Path) -> Path:
    from expllm.models import assembly
    from expllm.models.preprocessing import Preprocessing
    from expllm.models.tower import FaceTowerConfig
    from expllm.unit_reader import EVIDENCE

    model = assembly.new_model(FaceTowerConfig(hidden_size=32 + EVIDENCE), language_model, _tokenizer())
    assembly.save_assembled(folder, model, _tokenizer(), Preprocessing(), {"temperature": 1.0})
    return folder


def _taught() -> Any:
    """Teach a model of the few words that occur, which takes seconds, and give its words their numbers."""
    import torch

    label = prompt.label_words()[Expression.HAPPINESS]
    rng = random.Random(0)
    lessons = []
    for _ in range(128):
        hints = _some_hints(rng)
        lessons.append((_tokens(prompt.explain(hints)), _tokens(BY_HEART + prompt.END)))
        lessons.append((_tokens(prompt.ask_label(hints)), _tokens(label + prompt.END)))
    words = sorted({word for lesson in lessons for part in lesson for word in part})
    small = _language_model(len(words))
    optimizer = torch.optim.AdamW(small.parameters(), lr=3e-3, weight_decay=0)
    for question, answer in lessons:
        image_at = question.index(_tokenizer().image_token_id)
        lesson = [words.index(word) for word in (*question, *answer)]
        _teach(small, optimizer, lesson, image_at, len(answer))
    learnt = small.state_dict()
    embedded = torch.zeros(len(_tokenizer()), small.config.hidden_size)
    embedded[words] = learnt["model.embed_tokens.weight"]
    full = _language_model(len(_tokenizer()))
    full.load_state_dict({**learnt, "model.embed_tokens.weight": embedded, "lm_head.weight": embedded})
    return full


def _tokens(text: str) -> list[int]:
    return list(_tokenizer()(text, add_special_tokens=False).input_ids)


def _some_hints(rng: random.Random) -> dict[str, float] | None:
    hints = {column: rng.random() * (rng.random() < 0.4) for column in COLUMNS}
    return hints if rng.random() < 0.6 else None


def _teach(model: Any, optimizer: Any, lesson: list[int], image_at: int, answer_length: int) -> None:
    """One step: whatever stands in the image's place, the answer follows."""
    import torch

    ids = torch.tensor([lesson])
    embedded = model.model.embed_tokens(ids)
    image = 0.1 * torch.rand(1) * torch.randn(1, 49, embedded.shape[-1])
    embedded = torch.cat([embedded[:, :image_at], image, embedded[:, image_at + 1 :]], dim=1)
    hidden = model.model(inputs_embeds=embedded).last_hidden_state[0, -answer_length - 1 : -1]
    torch.nn.functional.cross_entropy(model.lm_head(hidden), ids[0, -answer_length:]).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """A running endpoint that says hello."""
    monkeypatch.setenv("no_proxy", "*")
    with serving() as found:
        yield found
