import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from PIL import Image

from expllm.distributed import report, table
from expllm.errors import CallerError
from expllm.expressions import EXPRESSIONS
from expllm.facs import COLUMNS
from expllm.photographs import photo_id
from expllm.tables import LABELS


def picture(seed: int) -> bytes:
    encoded = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "a private remark"
    Image.fromarray(pixels).save(encoded, "JPEG", exif=exif)
    return encoded.getvalue()


def labelled_row(photograph: Path, face_index: int = 0) -> dict[str, Any]:
    return {
        "photo_uri": str(photograph),
        "photo_id": photo_id(photograph.read_bytes()),
        "face_index": face_index,
        "box_px": [40.0 * face_index, 20.0, 40.0 * face_index + 40, 80.0],
        "action_units": dict.fromkeys(COLUMNS, 0.3),
        "key_observations": "Slight cheek raiser (happiness).",
        "interpretation": "Happiness.",
        "conclusion": "So the face shows happiness.",
        "expression": "happiness",
        "confidence": 0.75,
        "expression_scores": dict.fromkeys(EXPRESSIONS, 0.125),
        "outcome": "labelled",
        "run_id": "r1",
    }


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "in" / name for name in ("it's one.jpg", "two.jpg", "wall.jpg")]
    paths[0].parent.mkdir()
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed))
    return paths


@pytest.fixture
def output(tmp_path: Path, photographs: list[Path]) -> str:
    place = str(tmp_path / "album")
    one, two, wall = photographs
    rows = [
        labelled_row(two),
        labelled_row(one, 1),
        labelled_row(one, 0),
        {"photo_uri": str(wall), "outcome": "no_face", "run_id": "r1"},
    ]
    write_deltalake(table.create(place), pa.Table.from_pylist(rows, schema=LABELS), mode="append")
    run = Path(place) / "runs" / "r1"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"model": str(tmp_path / "model"), "hints": True}))
    (run / "metrics.json").write_text(
        json.dumps({"faces_per_s": 2.5, "generated_tokens": 300, "elapsed_s": 2.0})
    )
    return place


def test_the_report_counts_the_table_and_names_the_run(output: str) -> None:
    page = Path(report.write(output)).read_text()
    assert "<h1>album</h1>" in page and "2.50 <small>faces/s" in page and "3 of 3 labelled" in page
    assert "<dt>Photographs</dt><dd>3</dd>" in page


def test_without_thumbnails_no_photograph_is_needed(output: str, photographs: list[Path]) -> None:
    for photograph in photographs:
        photograph.unlink()
    assert "data:image" not in Path(report.write(output)).read_text()


def test_thumbnails_hold_the_faces_and_no_metadata(output: str) -> None:
    page = Path(report.write(output, thumbnails=True)).read_text()
    assert page.count("data:image/jpeg;base64,") == 3 and "private" not in page


def test_a_photograph_that_changed_or_went_gives_no_thumbnail(output: str, photographs: list[Path]) -> None:
    photographs[0].write_bytes(picture(9))
    photographs[1].unlink()
    assert "data:image" not in Path(report.write(output, thumbnails=True)).read_text()


def test_the_gallery_shows_the_first_faces_only(output: str) -> None:
    page = Path(report.write(output, gallery=2)).read_text()
    assert page.count("<article") == 2 and "two.jpg" not in page


def test_the_model_card_of_the_run_is_shown(output: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.json").write_text(json.dumps({"trained_on": "60 000 rendered faces"}))
    assert "60 000 rendered faces" in Path(report.write(output)).read_text()


def test_the_report_can_go_elsewhere(output: str, tmp_path: Path) -> None:
    place = report.write(output, out=str(tmp_path / "there" / "page.html"))
    assert Path(place).is_file() and not (Path(output) / "report.html").exists()


def test_an_output_without_labels_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="no labels are here"):
        report.write(str(tmp_path / "nothing"))


def test_a_place_that_cannot_be_written_is_named(output: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CallerError, match=r"file/page\.html: cannot be written"):
        report.write(output, out=str(tmp_path / "file" / "page.html"))
