"""How good labels and texts are, ours and those of peers, on the same pictures in the same run.

python -m benchmarks.quality [--people 25] [--out out/quality]
python -m benchmarks.quality --photographs DIR [--half look|final]
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Option

from benchmarks import detection, peers, pictures
from benchmarks.measures import FAINT_BELOW, Quality, measure
from benchmarks.peers import Peer
from benchmarks.pictures import Half, Picture
from expllm.cli import run_command
from expllm.config import LabelConfig
from expllm.errors import CallerError
from expllm.evaluation.answers import Said
from expllm.expressions import EXPRESSIONS, Expression
from expllm.faces import area

FIRST_PERSON = 500_000
"""People are numbered; those in training have lower numbers."""
FIRST_FAINT_PERSON = 700_000
FAINT_PEAK = 0.2
"""The strongest movement of the faces that are measured besides, as faint."""

_PEERS: Mapping[str, type[Peer]] = {
    "encoder and writer alone": peers.ByClassifier,
    "fixed rule and writer alone": peers.ByRule,
    "face-api (7 classes)": peers.FaceApi,
    "fer (7 classes)": peers.Fer,
}
_WIDTH = 150
"""Columns of the printed table where the terminal has fewer."""


def main(
    people: Annotated[int, Option(min=1, help="People to render, with eight expressions each.")] = 25,
    photographs: Annotated[
        Path | None, Option(help="Folder of photographs to measure instead; labels.csv or names label them.")
    ] = None,
    half: Annotated[Half | None, Option(help="Only the photographs of this half of the people.")] = None,
    out: Annotated[Path, Option(help="Folder for pictures, tables and quality.json.")] = Path("out/quality"),
    model: Annotated[str, Option(help="The model to measure.")] = "expllm-135m",
    only_peers: Annotated[
        bool, Option("--only-peers", help="Measure no language model: minutes less.")
    ] = False,
) -> None:
    """Measure the model, with and without hints, and its peers; print tables and write quality.json.

    Photographs are measured whole and by halves of the people.
    """
    if photographs is None:
        title = f"{people} rendered people never seen in training"
        shown, faint = rendered(out, people)
        labels = out / f"labels-{people}"
    else:
        title = f"Photographs of {photographs}" + (f", half {half}" if half else "")
        shown, faint = pictures.photographs(photographs, half), []
        labels = out / f"labels-{photographs.resolve().name}-{half or 'all'}"
    answers = {} if only_peers else _language_models([*shown, *faint], labels, model)
    answers |= _peers([*shown, *faint], model)
    results = {name: said and measure(*_paired(shown, faint, said)) for name, said in answers.items()}
    out.mkdir(parents=True, exist_ok=True)
    figures = {name: quality and asdict(quality) for name, quality in results.items()}
    (out / "quality.json").write_text(json.dumps(figures, indent=2) + "\n")
    _print(title, results)
    if photographs and not half:
        for one in Half:
            _print(f"{title}, half {one}", _of_half(one, shown, answers))


def _of_half(
    half: Half, shown: Sequence[Picture], answers: Mapping[str, list[Said] | None]
) -> dict[str, Quality | None]:
    """The figures of the photographs of one half of the people."""
    places = [place for place, picture in enumerate(shown) if pictures.half_of(picture.person) is half]
    return {
        name: said and measure([(shown[place], said[place]) for place in places])
        for name, said in answers.items()
    }


def _print(title: str, results: Mapping[str, Quality | None]) -> None:
    Console(width=max(_WIDTH, Console().width)).print(as_table(title, results))


def rendered(out: Path, people: int) -> tuple[list[Picture], list[Picture]]:
    """People never seen in training, with plain expressions and with faint ones; they are rendered once."""
    options = ["--count", str(people * len(EXPRESSIONS)), "--processes", "2", "--seed"]
    faint = [str(FIRST_FAINT_PERSON), "--peaks", str(FAINT_PEAK), str(FAINT_PEAK)]
    return (
        pictures.rendered(out / f"faces-{people}", *options, str(FIRST_PERSON)),
        pictures.rendered(out / f"faint-{people}", *options, *faint),
    )


def _paired(
    shown: Sequence[Picture], faint: Sequence[Picture], said: Sequence[Said]
) -> tuple[list[tuple[Picture, Said]], list[tuple[Picture, Said]]]:
    pairs = list(zip([*shown, *faint], said, strict=True))
    return pairs[: len(shown)], pairs[len(shown) :]


def _language_models(shown: Sequence[Picture], out: Path, model: str) -> dict[str, list[Said] | None]:
    """Label the pictures by the whole job, as a user would."""
    from expllm.distributed import label, table  # Ray and vLLM: half a minute that peers need not wait

    source = out / "pictures.txt"
    pictures.write_list(shown, source)
    answers: dict[str, list[Said] | None] = {}
    for name, hints in (("with hints", True), ("without hints", False)):
        output = str(out / f"{model.replace('/', '-')}-{name.replace(' ', '-')}")
        label.run(str(source), output, LabelConfig(model=model, hints=hints), relabel=True)
        answers[f"{model}, {name}"] = of_rows(shown, table.open_table(output).to_pyarrow_table().to_pylist())
    return answers


def of_rows(shown: Sequence[Picture], rows: Sequence[Mapping[str, Any]]) -> list[Said]:
    """What the labels table says of each picture: of its largest face."""
    largest = dict(sorted(((row["photo_uri"], row) for row in rows), key=_size))
    return [_said(largest[str(picture.file.resolve())]) for picture in shown]


def _size(named: tuple[str, Mapping[str, Any]]) -> float:
    return area(tuple(named[1]["box_px"] or (0, 0, 0, 0)))


def _said(row: Mapping[str, Any]) -> Said:
    if row["outcome"] != "labelled":
        wrote = (row["reject_reason"] or "").startswith("text_")
        return Said(parsed=False if wrote else None, generated_tokens=row["generated_tokens"])
    return Said(
        expression=Expression(row["expression"]),
        confidence=row["confidence"],
        key_observations=row["key_observations"],
        parsed=True,
        generated_tokens=row["generated_tokens"],
    )


def _peers(shown: Sequence[Picture], model: str) -> dict[str, list[Said] | None]:
    """What each peer says of the pictures' faces; None for one that is not installed.

    Movements are measured as labelling with `model` measures them.
    """
    found: dict[str, Peer] = {}
    answers: dict[str, list[Said] | None] = {}
    for name, peer in _PEERS.items():
        try:
            found[name], answers[name] = peer(), []
        except CallerError as error:
            answers[f"{name}: {error}"] = None
    for seen in detection.see((picture.file for picture in shown), model):
        for name, peer in found.items():
            answers[name].append(peer(seen) if seen else Said())
    return answers


def as_table(title: str, results: Mapping[str, Quality | None]) -> Table:
    """One row a model, shares as .xxx, and a dash where there is nothing to measure."""
    measured = next((quality for quality in results.values() if quality), None)
    faces, faint = (measured.faces, measured.faint_faces) if measured else (0, 0)
    printed = Table(
        title=escape(f"{title}: {faces} faces"),
        caption=(_FAINT.format(faint, share(FAINT_BELOW)) if faint else "") + _CAPTION,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    printed.add_column("")
    for heading in _HEADINGS:
        printed.add_column(heading, justify="right", no_wrap=True)
    for name, quality in results.items():
        printed.add_row(escape(name), *(_cells(quality) if quality else ["–"] * len(_HEADINGS)))
    return printed


_FAINT = "at peak .2: the {} faces whose strongest true movement, parted lips aside, is below {}\n"
_CAPTION = """\
of seven: the faces that do not show contempt, which the two nets do not know
alone: no language model; the label is the encoder's, or a fixed rule's from the measured movements, and
the text is the writer's, as in training"""
_HEADINGS = (
    "accuracy",
    "balanced",
    "lowest\nrecall",
    "at peak\n.2",
    "of\nseven",
    "parsed",
    "movements\nprecision",
    "movements\nrecall",
    "strength\nin a band",
    "assoc.\nright",
    "calibr.\nerror",
    "tokens",
)


def _cells(quality: Quality) -> list[str]:
    lowest = f"{share(quality.lowest_recall)} {quality.lowest_recall_of or ''}".strip()
    tokens = "–" if quality.generated_tokens is None else f"{quality.generated_tokens:.0f}"
    after = (
        quality.accuracy_faint,
        quality.accuracy_of_seven,
        quality.parsed,
        quality.movements_precision,
        quality.movements_recall,
        quality.strength_within_a_band,
        quality.associations_correct,
        quality.calibration_error,
    )
    return [share(quality.accuracy), share(quality.balanced_accuracy), lowest, *map(share, after), tokens]


def share(value: float | None) -> str:
    """A share of 1 as .xxx."""
    return "–" if value is None else f"{value:.3f}".removeprefix("0")


if __name__ == "__main__":
    run_command(main)
