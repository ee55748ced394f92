import pyarrow as pa
import pytest

from expllm.distributed import datasets, table
from expllm.errors import CallerError
from expllm.tables import LABELS


@pytest.fixture
def output(tmp_path):
    photo = tmp_path / "a.jpg"
    photo.touch()
    rows = [{"photo_uri": str(photo), "face_index": 0, "expression": "fear", "outcome": "labelled"}]
    output = str(tmp_path / "out")
    committer = table.Committer(output, table.create(output))
    committer.commit(pa.Table.from_pylist(rows, schema=LABELS), replaced=(), metadata={})
    return output


@pytest.mark.parametrize("below", ["", "/", "/labels", "/labels/"])
def test_a_labels_table_is_opened_by_its_output_or_its_own_folder(output, below):
    read = datasets.open(output + below)
    assert (read.name, [face.expression for face in read.faces]) == ("labels table", ["fear"])


def test_anything_else_is_opened_as_the_core_does(tmp_path):
    (tmp_path / "labels" / "fear").mkdir(parents=True)
    (tmp_path / "labels" / "fear" / "a.jpg").touch()
    assert datasets.open(str(tmp_path / "labels")).name == "class folders"
    with pytest.raises(CallerError, match="there is no such file or folder"):
        datasets.open(str(tmp_path / "nowhere"))
