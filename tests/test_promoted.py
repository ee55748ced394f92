"""A name stands for the last checkpoint that was promoted, and going back is one step."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from expllm import promoted
from expllm.errors import CallerError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPLLM_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def stands_for(name="faces"):
    found = promoted.find(name)
    return found and found.model_id


def promote(*ids):
    for model_id in ids:
        promoted.promote("faces", Path("/models", model_id), model_id)


def roll_back():
    promoted.roll_back("faces", promoted.before("faces"))


def test_a_name_stands_for_what_was_promoted_last():
    assert stands_for() is None
    promote("a", "b")
    assert stands_for() == "b"


def test_going_back_skips_what_was_gone_back_from_before():
    promote("a", "b")
    roll_back()
    assert stands_for() == "a"
    promote("c")
    roll_back()
    assert stands_for() == "a"


def test_every_change_is_kept():
    promote("a", "b")
    roll_back()
    changes = [(event.what, event.model_id) for event in promoted.history("faces")]
    assert changes == [("promote", "a"), ("promote", "b"), ("rollback", "a")]


def test_promoting_what_serves_already_changes_nothing():
    promote("a", "a")
    assert len(promoted.history("faces")) == 1


def test_there_is_nothing_before_the_first():
    with pytest.raises(CallerError, match="nothing was promoted as faces"):
        roll_back()
    promote("a")
    with pytest.raises(CallerError, match="first checkpoint"):
        roll_back()
    assert stands_for() == "a"


def test_going_back_does_not_take_off_what_was_promoted_meanwhile():
    promote("a", "b")
    earlier = promoted.before("faces")
    promote("c")
    with pytest.raises(CallerError, match="changed by someone else"):
        promoted.roll_back("faces", earlier)
    assert stands_for() == "c"


def test_promotions_at_the_same_time_are_all_kept():
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(promote, map(str, range(8))))
    assert len(promoted.history("faces")) == 8


@pytest.mark.parametrize("name", ["", "../faces", "a/b", ".hidden", "a b", "x" * 101])
def test_what_is_no_name_is_refused(name):
    assert promoted.find(name) is None
    with pytest.raises(CallerError, match="is no name"):
        promoted.promote(name, Path("/models/a"), "a")


def test_a_broken_file_of_promotions_is_named(folder):
    promote("a")
    (folder / "faces.json").write_text("{")
    with pytest.raises(CallerError, match=r"faces\.json"):
        promoted.find("faces")


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EXPLLM_MODELS", str(tmp_path / "file"))
    with pytest.raises(CallerError, match="EXPLLM_MODELS"):
        promote("a")
