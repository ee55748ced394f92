"""`python -m jobs.verify OUTPUT`: check that every photograph is accounted for exactly once."""

from typing import Annotated

from typer import Argument

from expllm.cli import run_command
from expllm.distributed.verify import verify


def main(output: Annotated[str, Argument(metavar="OUTPUT", help="What `expllm label` wrote.")]) -> None:
    """Check that every photograph of OUTPUT is accounted for exactly once."""
    found = verify(output)
    ended = ", ".join(f"{count} {outcome}" for outcome, count in found.outcomes.items())
    print(f"{found.num_photographs} photographs, each accounted for once; {found.num_faces} faces: {ended}")


if __name__ == "__main__":
    run_command(main)
