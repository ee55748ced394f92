import pyarrow.parquet as pq
import pytest
from PIL import Image

from expllm.errors import CallerError
from expllm.expressions import EXPRESSIONS
from expllm.tables import FACES
from jobs.faces import main


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("faces") / "new"
    main(out=out, count=9, seed=70, size_px=48)
    return out


def test_the_table_has_the_schema_of_faces(written):
    assert pq.read_schema(written / "faces.parquet").equals(FACES)


def test_every_row_names_its_picture(written):
    files = pq.read_table(written / "faces.parquet")["file"].to_pylist()
    assert sorted(files) == sorted(path.name for path in written.glob("*.jpg"))
    assert all(Image.open(written / file).size == (48, 48) for file in files)


def test_each_person_shows_every_expression_once(written):
    table = pq.read_table(written / "faces.parquet")
    assert table["expression"].to_pylist() == [*EXPRESSIONS, EXPRESSIONS[0]]
    assert table["person"].to_pylist() == [70] * 8 + [71]


def test_every_face_has_every_measurement(written):
    assert (
        sum(column.null_count for column in pq.read_table(written / "faces.parquet").flatten().columns) == 0
    )


def test_the_number_of_processes_changes_nothing(written, tmp_path):
    main(out=tmp_path, count=9, seed=70, size_px=48, processes=2)
    assert pq.read_table(tmp_path / "faces.parquet").equals(pq.read_table(written / "faces.parquet"))
    for picture in written.glob("*.jpg"):
        assert picture.read_bytes() == (tmp_path / picture.name).read_bytes()


def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".faces.parquet").symlink_to(tmp_path / "nowhere" / "file")
    with pytest.raises(CallerError, match="out"):
        main(out=tmp_path / "out", count=10**9)


def test_a_file_in_the_place_of_the_folder_is_the_callers_mistake(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(CallerError, match="taken"):
        main(out=tmp_path / "taken", count=1)


def test_faint_faces_are_rendered_on_request(tmp_path):
    main(out=tmp_path, count=8, seed=70, size_px=48, peaks=(0.15, 0.3))
    rows = pq.read_table(tmp_path / "faces.parquet").to_pylist()
    assert all(0.15 <= row["peak"] <= 0.3 for row in rows if row["expression"] != "neutral")
    assert len({row["peak"] for row in rows}) == 8


@pytest.mark.parametrize("peaks", [(0.3, 0.15), (0.0, 0.2), (0.5, 1.2)])
def test_peaks_that_no_face_can_have_are_the_callers_mistake(peaks, tmp_path):
    with pytest.raises(CallerError, match="--peaks"):
        main(out=tmp_path, count=1, peaks=peaks)
