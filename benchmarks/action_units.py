"""How well action units are read off rendered faces never seen: by landmarks, by features, and by both.

python -m benchmarks.action_units [--people 100] [--page docs/action_units.md]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from typer import Option

from benchmarks import detection, pictures, unit_measures
from benchmarks.detection import Seen
from benchmarks.pictures import Picture
from benchmarks.quality import FIRST_FAINT_PERSON, FIRST_PERSON
from benchmarks.unit_measures import Units
from expllm.action_units import FAR_SIDE_HIDDEN_DEG, to_array
from expllm.cli import run_command
from expllm.expressions import EXPRESSIONS
from expllm.models.checkpoint import resolve
from expllm.unit_reader import sigmoid, unit_logits

_PEAKS = ("0.1", "0.35")


def main(
    people: Annotated[int, Option(min=1, help="People to render, with eight expressions each.")] = 100,
    out: Annotated[Path, Option(help="Folder for the pictures.")] = Path("out/quality"),
    model: Annotated[str, Option(help="The model whose encoder reads.")] = "expllm-135m",
    page: Annotated[Path | None, Option(help="Markdown file to write; else it is printed.")] = None,
) -> None:
    """Measure the action units of PEOPLE, once with expressions of all strengths and once with faint ones."""
    options = ["--count", str(people * len(EXPRESSIONS)), "--processes", "2", "--seed"]
    rendered = {
        "of all strengths": pictures.rendered(out / f"faces-{people}", *options, str(FIRST_PERSON)),
        f"with peaks of {' to '.join(_PEAKS)}": pictures.rendered(
            out / f"weak-{people}", *options, str(FIRST_FAINT_PERSON), "--peaks", *_PEAKS
        ),
    }
    text = _page({name: _measured(shown, model) for name, shown in rendered.items()})
    if page is None:
        print(text)
    else:
        page.write_text(text)


def _measured(shown: Sequence[Picture], model: str) -> str:
    """The table of one set of pictures, with its number of faces."""
    found = zip(shown, detection.see((picture.file for picture in shown), model), strict=True)
    cases = [(picture, seen) for picture, seen in found if seen is not None]
    truth = to_array([picture.action_units or {} for picture, _ in cases])
    table = unit_measures.table(unit_measures.measure(_read([seen for _, seen in cases], model), truth))
    return f"{len(cases)} faces.\n\n{table}"


def _read(seen: Sequence[Seen], model: str) -> dict[str, Units]:
    """What each way of reading gives for each face; the joined one comes last."""
    read = {"landmarks": to_array([one.by_landmarks for one in seen])}
    if resolve(model).unit_reader() is not None:
        read["features"] = sigmoid(unit_logits(np.stack([one.features for one in seen])))
    return read | {"both": to_array([one.action_units for one in seen])}


def _page(tables: dict[str, str]) -> str:
    sections = "\n\n".join(f"## Expressions {name}\n\n{text}" for name, text in tables.items())
    return f"""# How well action units are read

Landmarks and blendshapes of the landmarker (`expllm/action_units.py`) and the encoder's features
(`expllm/unit_reader.py`) each give every action unit an intensity of 0 to 1; labelling joins both. The
tables are about rendered people whom nothing was fitted on. "Shown" is the share of faces whose true
intensity is at least .2, F1 is that of finding those. "Error" is the mean absolute error of the joined
intensity, over all faces and by the true one: none (below .1), faint (below .2), slight (below .4), clear
(below .65), strong.

    python -m benchmarks.action_units --page docs/action_units.md

Real faces differ from each other more than rendered ones do, so that some seem to make a movement at rest
that is only how they are built: the estimates are hints there. A face turned by more than
{FAR_SIDE_HIDDEN_DEG:g}° has no estimate for the side that is away.

{sections}
"""


if __name__ == "__main__":
    run_command(main)
