"""Turns action units into weights of the rig's movements, and such weights into the true action units."""

from collections.abc import Mapping

import numpy as np

from expllm.facs import COLUMNS
from expllm.rendering.head import LOWER_LIP_MARGIN, UPPER_LIP_MARGIN, Points

# What each action unit at intensity 1 adds to the rig's ARKit units; "*" stands for Left and Right.
_RIG: dict[str, dict[str, float]] = {
    "au01": {"browInnerUp": 1.7},
    "au02": {"browOuterUp*": 1.1},
    "au04": {"browDown*": 1.35, "browSlant*": 1},
    "au05": {"eyeWide*": 1.2},
    "au06": {"cheekSquint*": 1, "eyeSquint*": 0.35},
    "au07": {"eyeSquint*": 1},
    "au09": {"noseSneer*": 1},
    "au10": {"mouthUpperUp*": 1},
    "au12_left": {"mouthSmileLeft": 1},
    "au12_right": {"mouthSmileRight": 1},
    "au14_left": {"mouthDimpleLeft": 1},
    "au14_right": {"mouthDimpleRight": 1},
    "au15": {"mouthFrown*": 1},
    "au16": {"mouthLowerDown*": 1},
    "au17": {"mouthShrugLower": 1, "mouthShrugUpper": 0.4},
    "au18": {"mouthPucker": 1},
    "au20": {"mouthStretch*": 1.25, "mouthFrown*": 0.25},
    "au22": {"mouthFunnel": 1},
    "au23": {"mouthRollUpper": 0.35, "mouthRollLower": 0.35, "mouthPress*": 0.4},
    "au24": {"mouthPress*": 1},
    "au25": {"mouthLowerDown*": 0.8, "mouthUpperUp*": 0.5},
    "au26": {"jawOpen": 0.45},
    "au27": {"jawOpen": 1},
    "au28": {"mouthRollUpper": 1, "mouthRollLower": 1},
    "au43": {"eyeBlink*": 1},
}
_MOST = 1.2
"""No movement grows beyond this intensity, however many action units share it: the mesh would fold."""
JAW_DROP = _RIG["au26"]["jawOpen"]
_PARTED_LOWER, _PARTED_UPPER = _RIG["au25"].values()
"""What lips that part add to the lower and to the upper lip's movement."""
_JAW_STRETCH_FROM = 0.5
"""A jaw opened up to here has dropped (26); further, the mouth is stretched (27)."""
_LEAST_PARTING, _FULL_PARTING = 0.004, 0.084
"""The lip gaps, in mesh units, that count as intensity 0 and 1 of lips part (25)."""


def weights(action_units: Mapping[str, float | None], asymmetry: float = 0.0) -> dict[str, float]:
    """The rig's weights for action units by table column; a column left out or None is at rest.

    `au12` moves both corners; `au12_left` and `au12_right` take its place where given.
    The left side moves more than the right by twice the share `asymmetry`.
    """
    result: dict[str, float] = {}
    for unit, parts in _RIG.items():
        intensity = _intensity(action_units, unit)
        for pattern, gain in parts.items() if intensity else ():
            for name, share in _sides(pattern, asymmetry):
                result[name] = min(result.get(name, 0.0) + intensity * gain * share, _MOST * max(gain, 1.0))
    return result


def smiling(rig: Mapping[str, float], smile: Mapping[str, float]) -> dict[str, float]:
    """The weights with what goes along with a person's lip corners, on each side as far as they are pulled.

    In FACS all this is part of the lip corner puller; the upper lip is drawn up only off the lower one.

    Args:
        smile: Movement of the rig, without its side -> weight at the strongest smile.
    """
    result = dict(rig)
    for side in ("Left", "Right"):
        pulled = rig.get(f"mouthSmile{side}", 0.0)
        parted = min(rig.get(f"mouthLowerDown{side}", 0.0) / _PARTED_LOWER, 1.0)
        for name, weight in smile.items():
            share = parted if name == "mouthUpperUp" else 1.0
            result[name + side] = result.get(name + side, 0.0) + weight * pulled * share
    return result


def _intensity(action_units: Mapping[str, float | None], unit: str) -> float:
    value = action_units.get(unit)
    if value is None and unit.startswith("au12"):
        value = action_units.get("au12")
    return float(value or 0.0)


def _sides(pattern: str, asymmetry: float) -> tuple[tuple[str, float], ...]:
    if pattern.endswith(("Left", "Right")):
        return ((pattern, 1 + asymmetry if pattern.endswith("Left") else 1 - asymmetry),)
    if not pattern.endswith("*"):
        return ((pattern, 1.0),)
    return ((pattern[:-1] + "Left", 1 + asymmetry), (pattern[:-1] + "Right", 1 - asymmetry))


def lip_gap(vertices: Points) -> float:
    """How far the lips stand apart at the midline, in mesh units; negative where they overlap."""
    heights = vertices[:, 1]
    return float(np.min(heights[list(UPPER_LIP_MARGIN)]) - np.max(heights[list(LOWER_LIP_MARGIN)]))


def action_units(rig: Mapping[str, float], gap: float) -> dict[str, float]:
    """The true action units of a face: every column of the table, 0..1.

    Where two action units share a movement of the rig, the combined one takes its share first: lips
    part (25) of 10 and 16, cheek raiser (6) of 7, lip tightener (23) of 24 and 28.

    Args:
        rig: Weights of the rig's movements.
        gap: How much further the lips stand apart than at rest, in mesh units.
    """
    found = _around_the_eyes(rig) | _lips(rig, gap) | _corners_and_jaw(rig)
    return {column: float(np.clip(found[column], 0.0, 1.0)) for column in COLUMNS}


def _around_the_eyes(rig: Mapping[str, float]) -> dict[str, float]:
    return {
        "au01": rig.get("browInnerUp", 0.0) / 1.7,
        "au02": _mean(rig, "browOuterUp") / 1.1,
        "au04": _mean(rig, "browDown") / 1.35,
        "au05": _mean(rig, "eyeWide") / _RIG["au05"]["eyeWide*"],
        "au06": _mean(rig, "cheekSquint"),
        "au07": _mean(rig, "eyeSquint") - 0.35 * _mean(rig, "cheekSquint"),
        "au09": _mean(rig, "noseSneer"),
        "au43": _mean(rig, "eyeBlink"),
    }


def _lips(rig: Mapping[str, float], gap: float) -> dict[str, float]:
    lower, upper = _mean(rig, "mouthLowerDown"), _mean(rig, "mouthUpperUp")
    parting = min(lower / _PARTED_LOWER, upper / _PARTED_UPPER, 1.0)
    roll = min(rig.get("mouthRollUpper", 0.0), rig.get("mouthRollLower", 0.0))
    tightened = min(roll / 0.35, _mean(rig, "mouthPress") / 0.4, 1.0)
    return {
        "au10": upper - _PARTED_UPPER * parting,
        "au16": lower - _PARTED_LOWER * parting,
        "au18": rig.get("mouthPucker", 0.0),
        "au22": rig.get("mouthFunnel", 0.0),
        "au23": tightened,
        "au24": _mean(rig, "mouthPress") - 0.4 * tightened,
        "au25": (gap - _LEAST_PARTING) / (_FULL_PARTING - _LEAST_PARTING),
        "au28": roll - 0.35 * tightened,
    }


def _corners_and_jaw(rig: Mapping[str, float]) -> dict[str, float]:
    left, right = (rig.get(f"mouthSmile{side}", 0.0) for side in ("Left", "Right"))
    jaw, stretched = rig.get("jawOpen", 0.0), _mean(rig, "mouthStretch") / _RIG["au20"]["mouthStretch*"]
    return {
        "au12": (left + right) / 2,
        "au12_left": left,
        "au12_right": right,
        "au14_left": rig.get("mouthDimpleLeft", 0.0),
        "au14_right": rig.get("mouthDimpleRight", 0.0),
        "au15": _mean(rig, "mouthFrown") - _RIG["au20"]["mouthFrown*"] * stretched,
        "au17": rig.get("mouthShrugLower", 0.0),
        "au20": stretched,
        "au26": jaw / JAW_DROP if jaw <= _JAW_STRETCH_FROM else 0.0,
        "au27": jaw if jaw > _JAW_STRETCH_FROM else 0.0,
    }


def _mean(rig: Mapping[str, float], movement: str) -> float:
    return (rig.get(f"{movement}Left", 0.0) + rig.get(f"{movement}Right", 0.0)) / 2
