"""Covers a head with a cap or a scarf: cloth that lies a little above the skin."""

from functools import cache

import numpy as np
from jaxtyping import Float32

from expllm.rendering import geometry, head

_RATE = {"female": (("cap", 0.03), ("scarf", 0.07)), "male": (("cap", 0.08),)}
_THICKNESS = {"cap": 0.075, "scarf": 0.05}
_EARS_ABOVE_CHIN, _PRESSED = 0.4, 0.97
"""Where the ears begin, in mesh units, and how wide they may be beside the head."""
_RISE = 0.05
"""The cover, in mesh units from the hem, at which the cloth has its whole thickness."""


def sample(sex: str, rng: np.random.Generator) -> str:
    """Draw what is worn on the head; mostly nothing, which is empty."""
    drawn = rng.random()
    for kind, rate in _RATE[sex]:
        if drawn < rate:
            return kind
        drawn -= rate
    return ""


@cache
def cover(kind: str) -> Float32[np.ndarray, " points"]:
    """How far every vertex of the packed mesh lies inside the cloth, about in mesh units; below 0 outside."""
    x, y, z = head.load().vertices.T
    if kind == "cap":
        return (y - 7.86 + 0.3 * (1.44 - z)).astype(np.float32)
    if kind == "scarf":
        face = np.hypot(x / 0.6, (y - 7.05) / 0.98) - 1
        return (np.maximum(0.5 * face, 0.75 - z)).astype(np.float32)
    return np.full(len(x), -1, np.float32)


def put_on(kind: str, body: head.Points) -> head.Points:
    """The vertices of the head with the cloth's thickness where it lies."""
    if not kind:
        return body
    share = np.clip(cover(kind) / _RISE, 0, 1) * (np.arange(len(body)) < head.NUM_BODY)
    under = body.copy()
    if kind == "scarf":  # it presses the ears flat
        widest = _PRESSED * abs(body[head.FIT_X[0], 0] - body[head.FIT_X[1], 0]) / 2
        is_ear = (share > 0) & (body[:, 1] > body[head.CHIN, 1] + _EARS_ABOVE_CHIN)
        under[is_ear, 0] = np.clip(body[is_ear, 0], -widest, widest)
    outward = geometry.normals(under, head.load().skin)
    return (under + (_THICKNESS[kind] * share)[:, None] * outward).astype(np.float32)
