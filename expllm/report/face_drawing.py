"""Turns measured action units into a line drawing of the face that shows them: no pixels needed."""

from collections.abc import Iterator
from dataclasses import dataclass

from expllm.facs import Intensities

WIDTH, HEIGHT = 120, 148
MOVED_FROM = 0.2
_MIDDLE = 60.0
_MOUTH_Y = 108.0


@dataclass(frozen=True)
class Stroke:
    """One path of the drawing."""

    kind: str
    """outline, line, eye, iris, mouth or crease: what the style sheet draws it as."""
    path: str
    is_moved: bool = False
    opacity: float = 1.0


def draw(intensities: Intensities) -> tuple[Stroke, ...]:
    """Draw a face, WIDTH by HEIGHT, facing the viewer; what cannot be measured stays at rest.

    The person's own left is on the viewer's right. A drawing, not a measurement: distances are exaggerated.
    """
    au = _Units(intensities)
    return (*_head(au), *_half(au, -1), *_half(au, 1), *_nose(au), *_mouth(au))


class _Units:
    """Intensities by FACS number, 0 where unknown; `side` is -1 for the person's right, 1 for their left."""

    def __init__(self, intensities: Intensities) -> None:
        self._intensities = intensities

    def __call__(self, number: int, side: int = 0) -> float:
        column = f"au{number:02d}"
        own = self._intensities.get(f"{column}_{'left' if side > 0 else 'right'}") if side else None
        value = self._intensities.get(column) if own is None else own
        return value or 0.0

    def moved(self, *numbers: int, side: int = 0) -> bool:
        return any(self(number, side) >= MOVED_FROM for number in numbers)


def _head(au: _Units) -> Iterator[Stroke]:
    chin = 136 + 8 * max(0.5 * au(26), au(27))
    yield Stroke(
        "outline",
        f"M14 62C14 24 34 8 60 8S106 24 106 62C106 {chin - 34:.1f} 84 {chin:.1f} 60 {chin:.1f}"
        f"S14 {chin - 34:.1f} 14 62Z",
    )


def _half(au: _Units, side: int) -> Iterator[Stroke]:
    yield Stroke("line", _brow(au, side), au.moved(1, 2, 4))
    x, upper = _MIDDLE + side * 23, 6.5 * (1 + 0.8 * au(5) - 0.4 * au(7) - 0.3 * au(6)) * (1 - au(43))
    lower = 4.5 * (1 - 0.4 * au(7) - 0.5 * au(6)) * (1 - au(43))
    is_moved = au.moved(5, 7, 43)
    yield Stroke("eye", f"M{x - 11:.1f} 64Q{x:.1f} {64 - 2 * upper:.1f} {x + 11:.1f} 64"
                 f"Q{x:.1f} {64 + 2 * lower:.1f} {x - 11:.1f} 64Z", is_moved)  # fmt: skip
    radius = min(4.2, 0.5 * (upper + lower))
    yield Stroke("iris", _disc(x, 64 - 0.4 * (upper - lower), radius), is_moved)
    outer, inner = x + side * 9, x - side * 9
    yield Stroke("crease", f"M{inner:.1f} 75Q{x:.1f} {79 - 3 * au(6):.1f} {outer:.1f} 73", True, au(6))
    corner_x, corner_y = _corner(au, side)
    yield Stroke(
        "crease", f"M{corner_x + side * 4:.1f} {corner_y - 5:.1f}q{side * 3} 5 0 10", True, au(14, side)
    )


def _brow(au: _Units, side: int) -> str:
    inner_x = _MIDDLE + side * (12 - 3 * au(4))
    inner_y = 50 - 9 * au(1) + 6 * au(4)
    bend_y = 40 - 6 * au(1) - 10 * au(2) + 7 * au(4)
    outer_y = 49 - 7 * au(2) + 2 * au(4) + 2 * au(1)
    bend_x, outer_x = _MIDDLE + side * 26, _MIDDLE + side * 38
    return f"M{inner_x:.1f} {inner_y:.1f}Q{bend_x:.1f} {bend_y:.1f} {outer_x:.1f} {outer_y:.1f}"


def _nose(au: _Units) -> Iterator[Stroke]:
    base = 87 - 4 * au(9)
    yield Stroke("line", f"M51 {base:.1f}Q60 {base + 6:.1f} 69 {base:.1f}", au.moved(9))
    yield Stroke("crease", "M53 62l5 3M67 62l-5 3M52 67l5 2M68 67l-5 2", True, au(9))
    lift = 3 * max(au(9), au(10))
    for side in (-1, 1):
        x = _MIDDLE + side * 14
        yield Stroke("crease", f"M{x} {86 - lift:.1f}q{side * 7} 5 {side * 9} 13", True, max(au(9), au(10)))


def _corner(au: _Units, side: int) -> tuple[float, float]:
    width = 19 * (1 + 0.25 * au(20) + 0.2 * au(12, side) + 0.1 * au(14, side) - 0.45 * au(18) - 0.25 * au(22))
    return _MIDDLE + side * width, _MOUTH_Y - 10 * au(12, side) + 9 * au(15) - 2 * au(14, side)


def _mouth(au: _Units) -> Iterator[Stroke]:
    (right_x, right_y), (left_x, left_y) = _corner(au, -1), _corner(au, 1)
    thin = 1 - 0.9 * max(au(23), au(24), au(28))
    opening = max(4 * au(25), 17 * au(26), 26 * au(27))
    top = _MOUTH_Y - 0.8 * thin - 4 * au(10) - 0.15 * opening - 2 * au(17)
    bottom = _MOUTH_Y + 1.8 * thin + 4 * au(16) + opening - 4 * au(17)
    # A quadratic curve reaches half way to its control point.
    middle = 0.5 * (right_y + left_y)
    is_moved = au.moved(10, 15, 16, 18, 20, 22, 23, 24, 25, 26, 27, 28) or any(
        au.moved(12, 14, side=side) for side in (-1, 0, 1)
    )
    yield Stroke(
        "mouth",
        f"M{right_x:.1f} {right_y:.1f}Q60 {2 * top - middle:.1f} {left_x:.1f} {left_y:.1f}"
        f"Q60 {2 * bottom - middle:.1f} {right_x:.1f} {right_y:.1f}Z",
        is_moved,
    )
    yield Stroke("crease", f"M50 {bottom + 9:.1f}Q60 {bottom + 4:.1f} 70 {bottom + 9:.1f}", True, au(17))


def _disc(x: float, y: float, radius: float) -> str:
    return f"M{x - radius:.1f} {y:.1f}a{radius:.1f} {radius:.1f} 0 1 0 {2 * radius:.1f} 0" + (
        f"a{radius:.1f} {radius:.1f} 0 1 0 {-2 * radius:.1f} 0"
    )
