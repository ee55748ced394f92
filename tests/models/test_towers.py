"""Any tower gives as many tokens as the prompt holds for it; ours starts as face-api's net."""

import pytest
import torch
from transformers import (
    AutoModel,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    LlamaConfig,
    PreTrainedConfig,
    SiglipVisionConfig,
)

from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS, MIRRORED_COLUMNS
from expllm.models import face_api
from expllm.models.architecture import ExpllmConfig, feature_width, num_image_tokens, patch_features
from expllm.models.preprocessing import Preprocessing
from expllm.models.tower import FaceTower, FaceTowerConfig, started_tower
from expllm.unit_reader import EVIDENCE

_SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 112}


@pytest.mark.parametrize(
    "tower",
    [
        FaceTowerConfig(hidden_size=32 + EVIDENCE),
        Dinov2Config(**_SMALL, patch_size=14),
        Dinov2WithRegistersConfig(**_SMALL, patch_size=14),
        CLIPVisionConfig(**_SMALL, intermediate_size=32, patch_size=16),
        SiglipVisionConfig(**_SMALL, intermediate_size=32, patch_size=16),
    ],
    ids=lambda tower: tower.model_type,
)
@pytest.mark.parametrize("strategy", ["default", "full"])
def test_a_tower_gives_as_many_tokens_as_the_prompt_holds(tower: PreTrainedConfig, strategy: str) -> None:
    config = ExpllmConfig(
        vision_config=tower, text_config=LlamaConfig(), vision_feature_select_strategy=strategy
    )
    features = patch_features(AutoModel.from_config(tower), config, torch.rand(2, 3, 112, 112))
    assert features.shape == (2, num_image_tokens(config), feature_width(config))


def test_the_started_tower_computes_what_face_api_computes() -> None:
    """Its first block, written out as face-api.js writes it."""
    tower, weights = started_tower(), face_api.tensors()
    pixels = torch.rand(1, 3, 112, 112)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (Preprocessing().mean, Preprocessing().std))

    def separable(hidden: torch.Tensor, name: str) -> torch.Tensor:
        depthwise, pointwise = (weights[f"{name}/{kind}_filter"] for kind in ("depthwise", "pointwise"))
        apart = torch.conv2d(hidden, depthwise, padding=1, groups=len(depthwise))
        return torch.conv2d(apart, pointwise, weights[f"{name}/bias"])

    padded = torch.nn.functional.pad(pixels - mean, (0, 1, 0, 1))
    one = torch.conv2d(padded, weights["dense0/conv0/filters"], weights["dense0/conv0/bias"], stride=2).relu()
    two = separable(one, "dense0/conv1")
    three = separable((one + two).relu(), "dense0/conv2")
    four = separable((one + two + three).relu(), "dense0/conv3")
    expected = (one + two + three + four).relu()
    for branch in (tower.photographs, tower.rendered):
        assert torch.allclose(branch.blocks[0]((pixels - mean) / std), expected, atol=1e-4)


def test_a_tower_needs_no_weights_to_be_made() -> None:
    assert FaceTower(FaceTowerConfig())(torch.zeros(1, 3, 112, 112)).last_hidden_state.shape == (1, 49, 546)


def test_every_token_carries_the_same_evidence_and_hidden_branches_carry_nothing() -> None:
    tower = FaceTower(FaceTowerConfig(hidden_size=32 + EVIDENCE))
    shown = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    tokens = tower(torch.rand(3, 3, 112, 112), shown).last_hidden_state
    assert (tokens[..., -EVIDENCE:] == tokens[:, :1, -EVIDENCE:]).all()
    assert (tokens[1, :, :16] == 0).all() and (tokens[2, :, 16:32] == 0).all() and (tokens[0] != 0).all()


def test_refinements_change_nothing_at_first() -> None:
    pixels = torch.rand(2, 3, 112, 112)
    branch = started_tower().rendered
    plain = pixels
    for block in branch.blocks:
        plain = block(plain)
    assert torch.allclose(branch(pixels), plain, atol=1e-5)


def test_the_net_that_saw_photographs_votes_for_its_seven_expressions() -> None:
    tower = started_tower()
    _, _, vote = tower.read(torch.rand(3, 3, 112, 112))
    chances = (vote / tower.config.vote).exp()
    known = [EXPRESSIONS.index(expression) for expression in face_api.ORDER]
    assert torch.allclose(chances[:, known].sum(1), torch.ones(3), atol=0.01)
    assert torch.allclose(chances[:, EXPRESSIONS.index(Expression.CONTEMPT)], torch.tensor(1 / 7))


def test_a_vote_that_is_hidden_is_none() -> None:
    shown = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    _, _, vote = started_tower().read(torch.rand(2, 3, 112, 112), shown)
    assert (vote[0] == 0).all() and (vote[1] != 0).all()


def test_a_mirrored_face_has_the_same_evidence_with_left_and_right_exchanged() -> None:
    tower, pixels = started_tower(), torch.rand(2, 3, 112, 112)
    evidence, mirrored = (
        tower(side).last_hidden_state[:, 0, -EVIDENCE:].split([len(EXPRESSIONS), len(COLUMNS)], dim=1)
        for side in (pixels, pixels.flip(-1))
    )
    assert torch.allclose(evidence[0], mirrored[0], atol=1e-4)
    assert torch.allclose(evidence[1], mirrored[1][:, MIRRORED_COLUMNS], atol=1e-4)
