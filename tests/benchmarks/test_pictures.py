from pathlib import Path

import pytest

from benchmarks import pictures
from benchmarks.pictures import Half
from expllm.errors import CallerError
from expllm.expressions import Expression


def people(found: list[pictures.Picture]) -> set[str]:
    return {picture.person for picture in found}


@pytest.fixture
def named(tmp_path: Path) -> Path:
    for number in range(20):
        for word in ("neutral", "happiness"):
            (tmp_path / f"{word}_{number:03d}.jpg").touch()
    return tmp_path


def test_names_say_the_expression_and_the_person(named: Path) -> None:
    first = pictures.photographs(named)[0]
    assert (first.file.name, first.expression, first.person) == (
        "happiness_000.jpg",
        Expression.HAPPINESS,
        "000",
    )
    assert first.action_units is None


def test_a_table_beside_them_says_it_instead(named: Path) -> None:
    (named / "x").mkdir()
    (named / "x/a.png").touch()
    (named / "labels.csv").write_text("file,expression,person\nx/a.png,Happy,7\n")
    assert pictures.photographs(named) == [pictures.Picture(named / "x/a.png", Expression.HAPPINESS, "7")]


def test_the_halves_share_no_person_and_leave_none_out(named: Path) -> None:
    look, final = (pictures.photographs(named, half) for half in Half)
    assert people(look).isdisjoint(people(final))
    assert people(look) | people(final) == people(pictures.photographs(named))
    assert look and final


def test_a_persons_half_is_the_same_however_the_number_is_written() -> None:
    assert all(pictures.half_of(f"{number:03d}") is pictures.half_of(str(number)) for number in range(1, 99))


def test_photographs_of_nobody_known_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "labels.csv").write_text("file,expression\na.jpg,Happy\n")
    with pytest.raises(CallerError, match="no photograph of those asked for"):
        pictures.photographs(tmp_path)


def test_the_list_for_the_label_job_names_whole_paths(named: Path) -> None:
    pictures.write_list(pictures.photographs(named)[:1], named / "out" / "pictures.txt")
    listed = (named / "out" / "pictures.txt").read_text()
    assert listed == f"{named / 'happiness_000.jpg'}\n"
