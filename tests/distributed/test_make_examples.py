"""A part of the examples: faces found, cut out and measured, and every other one counted."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expllm import demo
from expllm.datasets import LabelledFace
from expllm.distributed.make_examples import MakeExamples
from expllm.distributed.measure import LABELLED
from expllm.exp_cot.lessons import Lesson
from expllm.expressions import Expression
from expllm.faces import CROPS, STANDARD, Cut
from expllm.facs import COLUMNS
from expllm.models.face_reader import FaceReader
from expllm.tables import EXAMPLES

UNITS = {**dict.fromkeys(COLUMNS, 0.0), "au12": 1.0}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    demo.write_photographs(folder)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def listed(photographs: Path, *names: str, **more: object) -> pa.Table:
    faces = [
        LabelledFace(str(photographs / name), Expression.HAPPINESS, person="p", **more) for name in names
    ]
    known = [{**Lesson(face.photo, face, None).row, "part": 3} for face in faces]
    return pa.table({"known": map(json.dumps, known), "image": [None] * len(faces)}, schema=LABELLED)


def made(make: MakeExamples, table: pa.Table, folder: Path) -> tuple[list[dict], dict]:
    (told,) = make(table).to_pylist()
    rows = pq.read_table(folder / "part-000003.parquet", schema=EXAMPLES).to_pylist()
    assert told == {"part": 3, "listed": table.num_rows, "rows": len(rows)}
    return rows, json.loads((folder / "part-000003.json").read_text())


@pytest.fixture
def make(tmp_path: Path) -> MakeExamples:
    return MakeExamples(str(tmp_path), STANDARD.wide, None, "cpu", 20.0)


def test_faces_are_there_and_the_others_are_counted_by_reason(
    make: MakeExamples, photographs: Path, tmp_path: Path
) -> None:
    table = listed(photographs, "01_happiness.jpg", "broken.jpg", "absent.jpg", action_units=UNITS)
    (row,), count = made(make, table, tmp_path)
    assert count == {"rows": 1, "rejected": {"unknown_format": 1, "missing_object": 1}}
    assert row["photo"].endswith("01_happiness.jpg") and row["person"] == "p"
    assert row["action_units"]["au12"] == 1 and row["measured"]["au12"] not in (None, 1)


def test_a_face_that_is_not_where_the_data_set_says_is_not_found(
    make: MakeExamples, photographs: Path, tmp_path: Path
) -> None:
    rows, count = made(make, listed(photographs, "01_happiness.jpg", box_px=(0, 0, 4, 4)), tmp_path)
    assert not rows and count["rejected"] == {"not_found": 1}


def test_the_middle_of_a_crop_is_what_labelling_shows_the_model(
    make: MakeExamples, photographs: Path, tmp_path: Path
) -> None:
    (row,), _ = made(make, listed(photographs, "08_neutral.jpg"), tmp_path)
    wide = np.frombuffer(row["crop"], np.uint8).reshape(128, 128, 3)[8:-8, 8:-8].astype(float)
    ((face,),) = FaceReader(20.0).read([(photographs / "08_neutral.jpg").read_bytes()])
    assert np.abs(wide - face.crop).mean() < 2


def test_movements_are_measured_as_labelling_with_the_model_measures_them(
    photographs: Path, tmp_path: Path
) -> None:
    table = listed(photographs, "01_happiness.jpg")
    alone, joined = (
        made(MakeExamples(str(tmp_path), STANDARD.wide, model, "cpu", 20.0), table, tmp_path)[0][0]
        for model in (None, "expllm-135m")
    )
    assert alone["measured"]["au12"] != joined["measured"]["au12"]
    assert alone["crop"] == joined["crop"]


@pytest.mark.parametrize(("kind", "stored_px"), [(CROPS[0], 256), (CROPS[1], 224)])
def test_crops_are_as_large_as_the_model_reads_them(
    kind: str, stored_px: int, photographs: Path, tmp_path: Path
) -> None:
    make = MakeExamples(str(tmp_path), Cut(kind, 224).wide, None, "cpu", 20.0)
    (row,), _ = made(make, listed(photographs, "01_happiness.jpg"), tmp_path)
    assert row["crop_px"] == stored_px and len(row["crop"]) == stored_px**2 * 3
