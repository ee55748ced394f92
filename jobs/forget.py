"""`python -m jobs.forget OUTPUT --photo URI`: erase photographs from an output, from old versions too."""

from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.distributed.forget import forget, named


def main(
    output: Annotated[str, Argument(metavar="OUTPUT", help="What `expllm label` wrote.")],
    photo: Annotated[list[str] | None, Option(help="URI of a photograph; may be given again.")] = None,
    photos: Annotated[str | None, Option(help="List of URIs: .txt, .csv or .parquet.")] = None,
) -> None:
    """Erase photographs from OUTPUT, from old versions too, and never label them again."""
    gone = forget(output, named(photo or (), photos))
    unknown = f"; {gone.num_unknown} were not here, and will not be labelled" if gone.num_unknown else ""
    print(f"{gone.num_photographs} photographs with {gone.num_rows} rows are forgotten{unknown}")


if __name__ == "__main__":
    run_command(main)
