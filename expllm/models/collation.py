"""A step's examples into the parts that go through the model at once: padded to one length, or packed."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from expllm import sft

Tokenised = tuple[list[int], list[int], list[float]]
"""Ids, targets and weights of one example, all of one length."""


def parts(
    examples: Sequence[Tokenised],
    of_faces: dict[str, Tensor],
    tokens_at_once: int,
    *,
    packing: bool,
) -> Iterator[tuple[dict[str, Tensor], float]]:
    """The Explainer's arguments for each part, and the part's share of the step's examples.

    Args:
        of_faces: what goes with each example's face, by the argument's name.
        tokens_at_once: Most tokens of a part, padding included; a longer example is a part by itself.
        packing: Whether a part is one row without padding, instead of a row an example.
    """
    lengths = [len(ids) for ids, _, _ in examples]
    groups = fill(lengths, tokens_at_once) if packing else group_by_length(lengths, tokens_at_once)
    for places in groups:
        chosen = [examples[place] for place in places]
        tokens = _packed(chosen) if packing else _padded(chosen)
        yield (
            tokens | {name: values[places] for name, values in of_faces.items()},
            len(places) / len(examples),
        )


def group_by_length(lengths: Sequence[int], tokens_at_once: int) -> list[list[int]]:
    """Divide places into groups of like length whose padded size stays within a number of tokens."""
    groups: list[list[int]] = [[]]
    for place in _longest_first(lengths):
        group = groups[-1]
        if group and lengths[group[0]] * (len(group) + 1) > tokens_at_once:
            groups.append([place])
        else:
            group.append(place)
    return groups


def fill(lengths: Sequence[int], tokens_at_once: int) -> list[list[int]]:
    """Divide places into few groups whose sum stays within a number of tokens: the first with room takes."""
    groups: list[list[int]] = []
    room: list[int] = []
    for place in _longest_first(lengths):
        fitting = next((i for i, free in enumerate(room) if lengths[place] <= free), None)
        if fitting is None:
            groups.append([place])
            room.append(tokens_at_once - lengths[place])
        else:
            groups[fitting].append(place)
            room[fitting] -= lengths[place]
    return groups


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda place: -lengths[place])


def _padded(examples: Sequence[Tokenised]) -> dict[str, Tensor]:
    ids, targets, weights = zip(*examples, strict=True)
    return {
        "input_ids": _pad(ids, 0),
        "targets": _pad(targets, sft.IGNORED),
        "weights": _pad(weights, 0.0),
    }


def _pad(rows: Sequence[list[int]] | Sequence[list[float]], value: float) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def _packed(examples: Sequence[Tokenised]) -> dict[str, Tensor]:
    ids, targets, weights = ([value for row in rows for value in row] for rows in zip(*examples, strict=True))
    positions = [place for row, _, _ in examples for place in range(len(row))]
    return {
        "input_ids": torch.tensor([ids]),
        "targets": torch.tensor([targets]),
        "weights": torch.tensor([weights]),
        "position_ids": torch.tensor([positions]),
    }
