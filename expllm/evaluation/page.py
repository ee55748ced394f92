"""The document of an evaluation into one self-contained HTML page."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from expllm.evaluation import plots
from expllm.evaluation.document import HEADLINE, short
from expllm.evaluation.published import PUBLISHED
from expllm.facs import ACTION_UNITS
from expllm.report import frame

_TEXTS = (
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("macro_f1", "macro-F1"),
    ("label_only_accuracy", "accuracy of the label-only question"),
    ("parsed", "texts that parse"),
    ("au_precision", "movements named that are there"),
    ("au_recall", "movements there that are named"),
    ("au_strength_within_a_band", "strength within a band"),
    ("au_precision_measured", "named that are measured"),
    ("au_recall_measured", "measured that are named"),
    ("au_strength_within_a_band_measured", "strength within a band of the measured"),
    ("associations_correct", "associations right"),
    ("calibration_error", "calibration error"),
)
"""The figures told with and without hints, and what the page calls them."""


def render(found: Mapping[str, Any]) -> str:
    """Write the page: it needs no network and no script. Equal documents give equal pages.

    Args:
        found: What `document.document` gives, with `against` where another model was measured as well.
    """
    templates = frame.environment("expllm.evaluation", short=short, words=lambda name: name.replace("_", " "))
    added = files("expllm.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    return templates.get_template("page.html").render(
        css=frame.style() + added,
        found=found,
        headline=HEADLINE,
        texts=_TEXTS,
        names={unit.number: unit.name for unit in ACTION_UNITS.values()},
        most_confused=max((max(row) for row in found["confusion"]["counts"]), default=0) or 1,
        published=PUBLISHED,
        plots=plots,
    )
