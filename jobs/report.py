"""Writes OUTPUT's report as one HTML file: `python -m jobs.report OUTPUT [--thumbnails]`."""

from typing import Annotated

import typer

from expllm.cli import run_command
from expllm.distributed import report


def main(
    output: Annotated[str, typer.Argument(help="The folder or s3:// prefix that `expllm label` wrote to.")],
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Show small pictures of faces: the page then holds pixels.")
    ] = False,
    gallery: Annotated[int, typer.Option(min=0, help="Most faces to show.")] = 48,
    out: Annotated[str | None, typer.Option(help="Where to write; OUTPUT/report.html by default.")] = None,
) -> None:
    """Write OUTPUT's report as one HTML file."""
    print(report.write(output, out=out, thumbnails=thumbnails, gallery=gallery))


if __name__ == "__main__":
    run_command(main)
