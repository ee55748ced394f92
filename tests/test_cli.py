"""A caller's mistake is one line on stderr and exit code 2; a command is found by its name."""

import pytest

from expllm import cli
from expllm.errors import CallerError, RunError


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["expllm", *words])
    with pytest.raises(SystemExit) as ended:
        cli.app()
    return ended.value.code or 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["labl"], "labl"),
        (["verify"], "output"),
        (["verify", "out", "--colour"], "--colour"),
        (["verify", "out", "more"], "more"),
    ],
)
def test_a_misspelt_command_line_is_one_line(
    words: list[str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, *words) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and named in told.lower() and told.startswith("expllm: ")


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_is_no_mistake(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, *words) == 0
    assert "Label every face" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "code"), [(CallerError("no such folder"), 2), (RunError("broke off"), 1)])
def test_a_known_failure_is_one_line(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["job"])
    with pytest.raises(SystemExit) as ended:
        cli.run_command(main)
    assert ended.value.code == code and capsys.readouterr().err == f"expllm: {error}\n"
