"""`python -m jobs.build_cot DATA OUTPUT`: chains of thought for the labelled faces of DATA."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import BuildCotConfig
from expllm.distributed import build_cot
from expllm.exp_cot import report


def main(
    source: Annotated[str, Argument(metavar="DATA", help="A data set of labelled faces.")],
    output: Annotated[str, Argument(metavar="OUTPUT", help="Folder or s3:// prefix of the result.")],
    config: Annotated[Path | None, Option(help="TOML file; jobs/build_cot.toml names every key.")] = None,
    set_: Annotated[list[str] | None, Option("--set", help="key=value, over the file.")] = None,
) -> None:
    """Have a chain of thought written for every labelled face of DATA, and check it."""
    summary = build_cot.run(source, output, BuildCotConfig.read(config, set_ or ()))
    if not summary.num_done:
        print(f"nothing to do: all {summary.num_listed} faces are settled already")
    print("\n".join(report.lines(summary.report)))


if __name__ == "__main__":
    run_command(main)
