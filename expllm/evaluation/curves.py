"""What a training reported step by step -> a picture of its curves, as SVG."""

from collections.abc import Mapping, Sequence

from expllm.evaluation.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Dot, line, x_at, y_at

SHOWN = {"loss": "loss", "tokens_right": "share of the answers' tokens that are right"}
"""Metric -> what is written over its curve."""
_MOST_DOTS = 200
_STYLE = (
    "text{font:11px sans-serif;fill:#444}.axis{stroke:#bbb;fill:none}.curve{stroke:#2463a8;fill:none;"
    "stroke-width:1.5;stroke-linejoin:round}"
)


def curves(rows: Sequence[Mapping[str, float]]) -> str:
    """Draw each of SHOWN that the rows have over their `step`; long trainings as means of some steps each."""
    panels = [
        _panel(title, _means([(row["step"], row[name]) for row in rows if name in row]), place * HEIGHT)
        for place, (name, title) in enumerate(SHOWN.items())
    ]
    size = f'width="{WIDTH}" height="{HEIGHT * len(panels)}"'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>{ground}'
    return svg + "".join(panels) + "</svg>\n"


def _means(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // _MOST_DOTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)] if points else []
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _panel(title: str, points: Sequence[tuple[float, float]], top: int) -> str:
    if not points:
        return ""
    last, highest = points[-1][0], max(value for _, value in points) or 1.0
    dots = [Dot(x_at(step / last), y_at(value / highest), 0, 0) for step, value in points]
    axis = f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"
    texts = (
        (LEFT, TOP - 3, "start", title),
        (LEFT - 4, TOP + 10, "end", f"{highest:.3g}"),
        (LEFT - 4, HEIGHT - BOTTOM, "end", "0"),
        (WIDTH - RIGHT, HEIGHT - BOTTOM + 14, "end", f"step {last:.0f}: {points[-1][1]:.3g}"),
    )
    words = "".join(f'<text x="{x}" y="{y}" text-anchor="{end}">{text}</text>' for x, y, end, text in texts)
    drawn = f'<path class="axis" d="{axis}"/><path class="curve" d="{line(dots)}"/>'
    return f'<g transform="translate(0 {top})">{drawn}{words}</g>'
