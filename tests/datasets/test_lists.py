import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm import datasets
from expllm.errors import CallerError, Reject
from expllm.facs import COLUMNS
from expllm.tables import FACES

UNITS = {column: None for column in COLUMNS} | {"au12": 0.5}


@pytest.fixture
def pictures(put, tmp_path):
    put("a.jpg")
    put("b.jpg")
    return tmp_path


def parquet(folder, rows, name="list.parquet"):
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return str(folder / name)


def jsonl(folder, rows):
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "list.jsonl")


def comma_separated(folder, rows):
    lines = [list(rows[0]), *([json.dumps(value) for value in row.values()] for row in rows)]
    text = "".join(",".join(f'"{cell}"' if "," in cell else cell for cell in line) + "\n" for line in lines)
    (folder / "list.csv").write_text(text.replace('""', '"'))
    return str(folder / "list.csv")


@pytest.mark.parametrize("write", [parquet, jsonl, comma_separated])
def test_a_list_says_file_and_expression_and_what_else_it_knows(pictures, write):
    rows = [{"file": "a.jpg", "expression": "happy", "person": 7, "split": "train", "box": [1, 2, 3.5, 4]}]
    (face,) = datasets.open(write(pictures, rows)).faces
    assert face.photo == str(pictures / "a.jpg")
    assert (face.expression, face.person, face.split) == ("happiness", "7", "train")
    assert face.box_px == (1, 2, 3.5, 4)


@pytest.mark.parametrize("write", [parquet, jsonl, comma_separated])
def test_action_units_are_columns_of_a_list(pictures, write):
    (face,) = datasets.open(write(pictures, [{"file": "a.jpg", "expression": "fear", "au12": 0.5}])).faces
    assert face.action_units == UNITS


@pytest.mark.parametrize("write", [parquet, jsonl])
def test_action_units_may_be_one_column(pictures, write):
    rows = [{"file": "a.jpg", "expression": "fear", "action_units": {"au12": 0.5}}]
    assert datasets.open(write(pictures, rows)).faces[0].action_units == UNITS


@pytest.mark.parametrize("write", [parquet, jsonl, comma_separated])
def test_a_list_in_a_folder_is_found_by_its_name(pictures, write):
    rows = [{"file": "a.jpg", "expression": "fear"}]
    suffix = write(pictures, rows).rpartition(".")[2]
    (pictures / f"list.{suffix}").rename(pictures / f"labels.{suffix}")
    assert len(datasets.open(str(pictures)).faces) == 1


def test_a_persons_number_is_the_same_whatever_type_it_has(pictures):
    rows = [{"file": "a.jpg", "expression": "fear", "person": number} for number in (12.0, float("nan"))]
    assert [face.person for face in datasets.open(parquet(pictures, rows)).faces] == ["12", None]


def test_a_damaged_parquet_file_is_refused(pictures):
    file = parquet(pictures, [{"file": "a.jpg", "expression": "fear"}] * 100)
    whole = Path(file).read_bytes()
    Path(file).write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])
    with pytest.raises(CallerError, match="is a damaged Parquet file"):
        datasets.open(file)


def test_a_face_without_a_word_has_no_expression_and_others_are_rejected(pictures):
    rows = ["a.jpg,", "a.jpg,bored", "gone.jpg,fear", ",fear", "a.jpg,fear,7"]
    (pictures / "list.csv").write_text("file,expression\n" + "\n".join(rows) + "\n")
    read = datasets.open(str(pictures / "list.csv"))
    assert [face.expression for face in read.faces] == [None]
    assert read.rejected == {Reject.UNKNOWN_LABEL: 1, Reject.MISSING_FILE: 1, Reject.MALFORMED_ROW: 2}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"box": "1 2 3"}, Reject.MALFORMED_BOX),
        ({"split": "later"}, Reject.MALFORMED_ROW),
        ({"au12": 1.5}, Reject.MALFORMED_UNITS),
        ({"au12": "strong"}, Reject.MALFORMED_UNITS),
        ({"peak": -1}, Reject.MALFORMED_ROW),
        ({"action_units": [0.5]}, Reject.MALFORMED_UNITS),
        ({"au12": 10**400}, Reject.MALFORMED_UNITS),
        ({"file": 7}, Reject.MALFORMED_ROW),
    ],
)
def test_one_bad_value_costs_one_row(pictures, more, reason):
    good = {"file": "a.jpg", "expression": "fear"}
    read = datasets.open(jsonl(pictures, [good, good | more, good]))
    assert (len(read.faces), read.rejected) == (2, {reason: 1})


def test_lines_that_are_no_json_objects_are_counted(pictures):
    lines = ["{", '{"file": "a.jpg", "expression": "fear"}', "[1]", '{"file": "a.jpg"}', "[" * 100_000, ""]
    (pictures / "list.jsonl").write_text("\n".join(lines))
    read = datasets.open(str(pictures / "list.jsonl"))
    assert (len(read.faces), read.rejected) == (1, {Reject.MALFORMED_ROW: 4})


def test_uris_are_taken_as_they_are(pictures):
    read = datasets.open(jsonl(pictures, [{"file": "s3://bucket/a.jpg", "expression": "fear"}]))
    assert read.faces[0].photo == "s3://bucket/a.jpg"


def test_descriptions_may_go_over_several_lines_of_a_csv(pictures):
    (pictures / "list.csv").write_text('file,expression,description\na.jpg,fear,"One.\n\nTwo."\n')
    assert datasets.open(str(pictures / "list.csv")).faces[0].description == "One.\n\nTwo."


def test_bytes_that_are_no_text_cost_one_row(pictures):
    (pictures / "list.csv").write_bytes(b"file,expression\n\xff.jpg,fear\na.jpg,fear\n")
    read = datasets.open(str(pictures / "list.csv"))
    assert (len(read.faces), read.rejected) == (1, {Reject.MISSING_FILE: 1})


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("list.csv", b"", "is no data set that is known here"),
        ("list.csv", b"file,expression\n", "holds no face"),
        ("list.csv", b"file,label\na.jpg,fear\n", r"\(file, label\) .* a list needs file and expression"),
        ("list.parquet", b"PAR2", "is no Parquet file"),
        ("list.jsonl", b"{", "is no data set that is known here"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_in_one_line(pictures, name, content, line):
    (pictures / name).write_bytes(content)
    with pytest.raises(CallerError, match=line) as refused:
        datasets.open(str(pictures / name))
    assert "\n" not in str(refused.value)


def rendered_row(**more):
    units = {column: 0.25 for column in COLUMNS}
    return {
        "file": "a.jpg",
        "person": 12,
        "expression": "anger",
        "peak": 0.5,
        "action_units": units,
        "box_px": [1.0, 2.0, 3.0, 4.0],
        "skin": "dark",
        "age": "old",
        "sex": "female",
    } | more


def test_rendered_faces_bring_all_the_truth(pictures):
    pq.write_table(pa.Table.from_pylist([rendered_row()], schema=FACES), pictures / "faces.parquet")
    read = datasets.open(str(pictures))
    (face,) = read.faces
    assert read.name == "rendered faces"
    assert face.action_units == {column: 0.25 for column in COLUMNS}
    assert (face.peak, face.person, face.box_px) == (0.5, "12", (1, 2, 3, 4))
    assert face.groups == {"skin": "dark", "age": "old", "sex": "female"}


def test_rendered_faces_from_before_the_groups_have_none(pictures):
    row = rendered_row()
    old = {name: row[name] for name in ("file", "person", "expression", "action_units", "box_px")}
    parquet(pictures, [old], "faces.parquet")
    (face,) = datasets.open(str(pictures)).faces
    assert (face.groups, face.peak) == ({}, None)


def test_faces_without_their_columns_say_which_is_missing(pictures):
    parquet(pictures, [{"file": "a.jpg"}], "faces.parquet")
    with pytest.raises(CallerError, match="has no column 'expression'; a list needs file and expression"):
        datasets.open(str(pictures))


VALUES = st.one_of(st.none(), st.text(max_size=5), st.floats(), st.lists(st.integers(), max_size=5))
KNOWN = ("file", "expression", "person", "split", "box", "box_px", "au12", "action_units", "peak", "skin")


@given(st.lists(st.dictionaries(st.sampled_from(KNOWN), VALUES), max_size=5))
def test_whatever_a_line_holds_it_is_a_face_or_counted(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("list")
    (folder / "a.jpg").touch()
    rows = [{"file": "a.jpg", "expression": "fear"}, *rows]
    read = datasets.open(jsonl(folder, rows))
    assert len(read.faces) + Counter(read.rejected).total() == len(rows)
