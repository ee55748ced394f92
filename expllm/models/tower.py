"""The default model's vision tower: a small convolutional network."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from expllm.expressions import EXPRESSIONS
from expllm.faces import CROP_PX
from expllm.facs import MIRRORED_COLUMNS
from expllm.models import face_api
from expllm.models.preprocessing import Preprocessing
from expllm.unit_reader import EVIDENCE

_LEAST_VOTE = -8.0
"""No expression is voted further down than this log-probability."""
_MIRRORED_EVIDENCE = [*range(len(EXPRESSIONS)), *(len(EXPRESSIONS) + place for place in MIRRORED_COLUMNS)]
"""For each place in the evidence, the place of the same evidence on a mirrored face."""


class FaceTowerConfig(PreTrainedConfig):
    """Two branches of four blocks: each block halves the places across and down, and doubles the channels."""

    model_type = "expllm_face_tower"

    image_size: int = CROP_PX
    patch_size: int = 16
    """Pixels that a token steps by."""
    hidden_size: int = 512 + EVIDENCE
    """Channels of a token: from each branch half of those that are not evidence, then the evidence."""
    layer_norm_eps: float = 1e-6
    refinements: int = 2
    """Residual layers that the branch for rendered faces has after each of its last two blocks."""
    vote: float = 0.3
    """How much the log-probabilities of face-api's net add to the evidence for expressions."""


class FaceTower(PreTrainedModel):
    """Normalised pixels to tokens: the 7 x 7 places of a 112 px crop, 546 wide, without a class token.

    Two branches see the crop, both built as face-api's feature extractor is (models/face_api.py).
    `photographs` keeps its weights, learnt on photographs; `rendered` starts from them, with layers more, and
    goes on learning.
    Every token also carries what all tokens together say of expression and action units, as a class token
    would: who reads one place knows the face it belongs to. It is the mean of what the crop and its mirror
    image say. For the expression, face-api's own layer has a vote besides: what is learnt on rendered faces
    would trust it less than photographs deserve.
    """

    config: FaceTowerConfig
    config_class = FaceTowerConfig
    main_input_name = "pixel_values"

    def __init__(self, config: FaceTowerConfig) -> None:
        super().__init__(config)
        width = (config.hidden_size - EVIDENCE) // 2
        self.photographs = _Branch(width, config.layer_norm_eps)
        self.rendered = _Branch(width, config.layer_norm_eps, config.refinements)
        self.readers = AttentionPool(2 * width, EVIDENCE)
        self.voter = nn.Linear(width, len(face_api.ORDER))
        self.post_init()

    def forward(self, pixel_values: Tensor, shown: Tensor | None = None, **kwargs: Any) -> BaseModelOutput:
        """Tokens from left to right and top to bottom, faces x tokens x width.

        Args:
            shown: as `read` takes it.
        """
        tokens, evidence, vote = self.read(pixel_values, shown)
        _, mirrored, mirrored_vote = self.read(pixel_values.flip(-1), shown)
        evidence = (evidence + mirrored[:, _MIRRORED_EVIDENCE]) / 2
        evidence[:, : len(EXPRESSIONS)] += (vote + mirrored_vote) / 2
        everywhere = evidence[:, None].expand(-1, tokens.shape[1], -1)
        return BaseModelOutput(last_hidden_state=torch.cat([tokens, everywhere.to(tokens.dtype)], dim=-1))

    def read(self, pixel_values: Tensor, shown: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens without evidence, the evidence that the readers find in them, and face-api's vote.

        Args:
            shown: faces x 3, 0 where a face hides `photographs`, `rendered` or the vote from its readers;
                None shows all.
        """
        # With the channels last a CPU trains convolutions in bfloat16 nearly twice as fast.
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        shown = pixel_values.new_ones(len(pixel_values), 3) if shown is None else shown
        by_photographs, by_rendered = self.photographs(pixel_values), self.rendered(pixel_values)
        branches = [self.photographs.tokens(by_photographs), self.rendered.tokens(by_rendered)]
        tokens = torch.cat([branches[i] * shown[:, i, None, None] for i in range(2)], dim=-1)
        return tokens, self.readers(tokens), shown[:, 2:] * self._vote(by_photographs)

    def _vote(self, places: Tensor) -> Tensor:
        """Log-probabilities by face-api's last layer, times `vote`; for contempt chance alone."""
        known = self.voter(places.mean((2, 3))).float().log_softmax(dim=1).clamp(min=_LEAST_VOTE)
        votes = known.new_full((len(known), len(EXPRESSIONS)), -math.log(len(face_api.ORDER)))
        votes[:, [EXPRESSIONS.index(expression) for expression in face_api.ORDER]] = known
        return self.config.vote * votes


class AttentionPool(nn.Module):
    """Each target weighs the tokens by an attention of its own and sums their evidence, in float32."""

    def __init__(self, width: int, targets: int) -> None:
        super().__init__()
        self.evidence = nn.Linear(width, targets)
        self.attention = nn.Linear(width, targets)

    def forward(self, tokens: Tensor) -> Tensor:
        weights = self.attention(tokens).float().softmax(dim=1)
        return (weights * self.evidence(tokens).float()).sum(dim=1)


class _Branch(nn.Module):
    """Blocks whose last places are tokens of one height; the last two blocks may be refined."""

    def __init__(self, width: int, eps: float, refinements: int = 0) -> None:
        super().__init__()
        widths = [3, *(width // share for share in (8, 4, 2, 1))]
        self.blocks = nn.ModuleList([_Block(*pair) for pair in pairwise(widths)])
        counts = (0, 0, refinements, refinements)
        self.refinements = nn.ModuleList(
            nn.Sequential(*(_Refinement(channels) for _ in range(count)))
            for channels, count in zip(widths[1:], counts, strict=True)
        )
        self.layernorm = nn.LayerNorm(width, eps=eps)

    def forward(self, hidden: Tensor) -> Tensor:
        for block, refined in zip(self.blocks, self.refinements, strict=True):
            hidden = refined(block(hidden))
        return hidden

    def tokens(self, places: Tensor) -> Tensor:
        """The last places, one after the other, of one height."""
        return self.layernorm(places.flatten(2).transpose(1, 2))


class _Block(nn.Module):
    """Four convolutions, the first with a stride of two; each reads the sum of those before it."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        kind = _Convolution if channels_in == 3 else _SeparableConvolution
        others = [_SeparableConvolution(channels, channels, stride=1) for _ in range(3)]
        self.convolutions = nn.ModuleList([kind(channels_in, channels, stride=2), *others])

    def forward(self, hidden: Tensor) -> Tensor:
        first, *others = self.convolutions
        total = functional.relu(first(hidden))
        for convolution in others:
            total = total + convolution(functional.relu(total))
        return functional.relu(total)


class _Refinement(nn.Module):
    """Adds to each place what two full convolutions make of those around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.second(functional.relu(self.first(hidden)))


class _SeparableConvolution(nn.Module):
    """3 x 3 places of each channel by itself, then all channels of each place."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise_filter = _Convolution(channels_in, channels_in, stride, groups=channels_in, bias=False)
        self.pointwise_filter = nn.Conv2d(channels_in, channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.pointwise_filter(self.depthwise_filter(hidden))


class _Convolution(nn.Conv2d):
    """3 x 3; a stride of two pads right and below only, as TensorFlow's "same" does."""

    def __init__(self, channels_in: int, channels: int, stride: int, **kwargs: Any) -> None:
        super().__init__(channels_in, channels, 3, stride, **kwargs)

    def forward(self, hidden: Tensor) -> Tensor:
        before = 2 - self.stride[0]
        return super().forward(functional.pad(hidden, (before, 1, before, 1)))


def started_tower() -> FaceTower:
    """The tower with face-api's weights in both branches, reading pixels as they are normalised here.

    The blocks of `photographs` and the vote are frozen. Refinements change nothing at first.
    """
    tower = FaceTower(FaceTowerConfig())
    tensors = face_api.tensors()
    # face-api's first layer reads pixels 0..1 less a mean that is ours to the third digit.
    tensors["dense0/conv0/filters"] *= torch.tensor(Preprocessing().std).view(3, 1, 1)
    for blocks in (tower.photographs.blocks, tower.rendered.blocks):
        for name, parameter in blocks.named_parameters():
            parameter.data.copy_(tensors[_face_api_name(name)])
    for refinement in (layer for layers in tower.rendered.refinements for layer in layers):
        nn.init.zeros_(refinement.second.weight)
    tower.voter.weight.data.copy_(tensors["fc/weights"].T)
    tower.voter.bias.data.copy_(tensors["fc/bias"])
    tower.photographs.blocks.requires_grad_(False)
    tower.voter.requires_grad_(False)
    return tower


def _face_api_name(parameter: str) -> str:
    """The name of `1.convolutions.2.pointwise_filter.weight` is `dense1/conv2/pointwise_filter`."""
    block, _, convolution, *layer, kind = parameter.split(".")
    last = kind if kind == "bias" else (layer or ["filters"])[0]
    return f"dense{block}/conv{convolution}/{last}"
