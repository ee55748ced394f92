"""The command line: one Typer program whose commands are the job modules' own functions."""

import sys
from collections.abc import Callable
from importlib import import_module

import typer
from typer.exceptions import TyperException

from expllm.errors import ExpllmError

COMMANDS: dict[str, str] = {
    "demo": "Label the bundled photographs with the bundled model and write the report.",
    "label": "Label every face of INPUT and add the rows to the table in OUTPUT.",
    "plan": "Say what labelling INPUT would take: photographs, faces, tokens, time, cost.",
    "verify": "Check that every photograph of OUTPUT is accounted for exactly once.",
    "forget": "Erase photographs from OUTPUT, from old versions too, and never label them again.",
    "report": "Write OUTPUT's report as one HTML file.",
    "faces": "Render faces whose action units are known exactly.",
    "build-cot": "Have a chain of thought written for every labelled face of DATA.",
    "train": "Fine-tune a model on Ray Train as CONFIG says.",
    "evaluate": "Measure MODEL on the labelled faces of DATA: its labels, its texts, and whether they hold.",
    "import-checkpoint": "Turn the published ExpLLM checkpoint into a folder that --model takes.",
    "gate": "Try a trained CHECKPOINT in vLLM beside what its training recorded.",
    "promote": "Make NAME stand for CHECKPOINT, if it passes the gate.",
    "rollback": "Make NAME stand for the checkpoint before.",
    "serve": "Answer POST /v1/expressions over HTTP.",
}
"""Command -> what it does. Each is the function `main` of the module of that name in `jobs`, with _ for -."""


_INTERRUPTED = 130


def run_command(main: Callable[..., object]) -> None:
    """Run one command as a program: a known failure is one line on stderr and its exit code."""
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(main)
    run_program(program, sys.argv[1:])


def run_program(program: typer.Typer, words: list[str]) -> None:
    """Run the command that the words name, then exit; a known failure is one line on stderr."""
    try:
        sys.exit(program(words, standalone_mode=False))
    except ExpllmError as error:
        print(f"expllm: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except TyperException as error:
        print(f"expllm: {error.format_message().rstrip('.')}; --help says more", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(_INTERRUPTED)


def app() -> None:
    """Run the command that the arguments name; only that command's module is imported."""
    program = typer.Typer(
        help="Reads the facial expression of people in photographs and explains it.",
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        main = import_module(f"jobs.{name.replace('-', '_')}").main if name == asked else _nothing
        program.command(name, help=summary)(main)
    run_program(program, sys.argv[1:] or ["--help"])


def _nothing() -> None:
    """Stand in for the commands that were not asked for, so that `--help` imports none of them."""
