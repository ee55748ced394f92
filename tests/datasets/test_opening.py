import pytest

from expllm import datasets
from expllm.errors import CallerError


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("nowhere", "there is no such file or folder"),
        ("empty", "is no data set that is known here; docs/datasets.md"),
        ("a.jpg", "is no data set that is known here"),
        ("words.txt", "is no data set that is known here"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(put, tmp_path, source, line):
    (tmp_path / "empty").mkdir()
    put("a.jpg")
    put("words.txt", "some words\n")
    with pytest.raises(CallerError, match=line) as refused:
        datasets.open(str(tmp_path / source))
    assert "\n" not in str(refused.value)


def test_lists_are_read_from_a_folder_only():
    with pytest.raises(CallerError, match="copy the list to a folder"):
        datasets.open("s3://bucket/labels.csv")


def test_the_splits_have_three_names(tmp_path):
    with pytest.raises(CallerError, match=r"split 'dev': .* the splits are train, val, test"):
        datasets.open(str(tmp_path), split="dev")


def test_paths_are_whole_whatever_folder_the_work_is_done_in(put, tmp_path, monkeypatch):
    put("set/fear/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert datasets.open("set").faces[0].photo == str(tmp_path / "set/fear/a.jpg")
