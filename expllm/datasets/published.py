"""ExpLLM's published annotation and list files -> labelled faces."""

import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from expllm.datasets import fields
from expllm.datasets.files import Files
from expllm.datasets.labelled import LabelledFace, Rejected, Row
from expllm.errors import CallerError, Reject
from expllm.faces import Box
from expllm.facs import Intensities
from expllm.feafa import FEAFA_SIZE, from_feafa

_LINE = re.compile(r"[^,]+\.json\s*,[^,]+(?:,[^,]+)?")


def annotation_of(path: Path) -> Path | None:
    """The path, where it is an annotation file by its name."""
    return path if path.suffix == ".json" and path.is_file() else None


def list_of(path: Path) -> Path | None:
    """The path, where it is a list whose first line is `json,root` or `json,root,repeat`."""
    if path.suffix != ".txt" or not path.is_file():
        return None
    with path.open(errors="replace") as lines:
        return path if _LINE.fullmatch(next(lines, "").strip()) else None


def read_annotation(path: Path) -> Iterator[Row]:
    """Read one annotation file; its pictures' names count from its folder."""
    return _annotated(path, path.parent)


def read_list(path: Path) -> Iterator[Row]:
    """Read the annotation files that a list names, each as often as it says.

    `repeat` from 1 on repeats every face; below 1 that share of the faces is drawn, the same every time.
    Relative paths count from the list's folder, or from one above it, where the published lists lie.

    Raises:
        CallerError: a line is malformed, or names what is not there.
    """
    lines = path.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip():
            annotation, root, repeat = _parts(path, number, line)
            yield from _repeated(_annotated(annotation, root), repeat, seed=number)


def _parts(path: Path, number: int, line: str) -> tuple[Path, Path, float]:
    match [part.strip() for part in line.split(",")]:
        case [annotation, root]:
            times = "1"
        case [annotation, root, times]:
            pass
        case _:
            raise CallerError(f"{path}, line {number}: is not json,root,repeat")
    try:
        repeat = float(times)
    except ValueError:
        repeat = math.nan
    if not 0 < repeat < math.inf:
        raise CallerError(f"{path}, line {number}: repeat must be a number above 0, not {times}")
    return _found(path, number, annotation), _found(path, number, root), repeat


def _found(path: Path, number: int, name: str) -> Path:
    found = next((folder / name for folder in path.parents if (folder / name).exists()), None)
    if found is None:
        raise CallerError(f"{path}, line {number}: there is no {name}; write the path on this machine")
    return found


def _annotated(path: Path, root: Path) -> Iterator[Row]:
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CallerError(f"{path}: is not JSON; write it again") from error
    if not isinstance(entries, list):
        raise CallerError(f"{path}: is no list of faces, each with file_name and emo")
    files = Files(root)
    return (
        _row(files, entry) if isinstance(entry, dict) else Rejected(Reject.MALFORMED_ROW) for entry in entries
    )


def _row(files: Files, entry: dict[str, Any]) -> Row:
    return fields.assemble(
        # In test files made for the second turn `emo` is a model's answer, and the truth is kept beside it.
        expression=fields.worded(entry.get("gt_emo", entry.get("emo"))),
        photo=files.find(entry.get("file_name")),
        box_px=_box_px(entry.get("bbox")),
        action_units=_action_units(entry.get("au")),
        description=fields.text(entry.get("description")),
    )


def _box_px(values: object) -> Box | Reject | None:
    if values is None:
        return None
    return fields.sides(values) if isinstance(values, list) else Reject.MALFORMED_BOX


def _action_units(values: object) -> Intensities | Reject | None:
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != FEAFA_SIZE:
        return Reject.MALFORMED_UNITS
    shares = [share for value in values if isinstance(share := fields.share(value), float)]
    return from_feafa(shares) if len(shares) == FEAFA_SIZE else Reject.MALFORMED_UNITS


def _repeated(rows: Iterator[Row], repeat: float, seed: int) -> Iterator[Row]:
    if repeat >= 1:
        for row in rows:
            yield row if isinstance(row, Rejected) else replace(row, repeat=int(repeat))
        return
    faces: list[LabelledFace] = []
    for row in rows:
        if isinstance(row, Rejected):
            yield row
        else:
            faces.append(row)
    drawn = random.Random(seed).sample(range(len(faces)), int(len(faces) * repeat))
    yield from (faces[place] for place in sorted(drawn))
