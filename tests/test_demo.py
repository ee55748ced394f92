from importlib.resources import files
from pathlib import Path

from expllm import photographs
from expllm.demo import write_photographs
from expllm.expressions import EXPRESSIONS


def test_the_demo_begins_with_the_astronaut_and_shows_every_expression(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    names = sorted(path.stem for path in tmp_path.iterdir())
    assert names[0] == "00_astronaut"
    assert set(EXPRESSIONS) <= {name.partition("_")[2] for name in names}


def test_the_demos_photographs_can_all_be_read(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    decoded = [photographs.decode(path.read_bytes()) for path in tmp_path.iterdir()]
    assert all(isinstance(photograph, photographs.Photograph) for photograph in decoded)


def test_a_second_demo_finds_its_photographs_unchanged(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_photographs(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_picture_of_another_release_is_replaced(tmp_path: Path) -> None:
    older = tmp_path / "00_astronaut.jpg"
    older.write_bytes(b"older")
    write_photographs(tmp_path)
    assert older.read_bytes() != b"older"


def test_the_demos_photographs_are_small_and_credited() -> None:
    bundled = list(files("expllm").joinpath("data", "demo").iterdir())
    assert sum(len(file.read_bytes()) for file in bundled) < 1_500_000
    assert "public domain" in files("expllm").joinpath("data", "demo", "CREDITS").read_text()
