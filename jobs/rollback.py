"""`python -m jobs.rollback NAME`: make a name stand for the checkpoint before."""

from typing import Annotated

from typer import Argument

from expllm.cli import run_command
from expllm.distributed import gate


def main(name: Annotated[str, Argument(help="A name that was promoted twice or more.")]) -> None:
    """Make NAME stand for the checkpoint that it stood for before."""
    checkpoint = gate.roll_back(name)
    print(f"{name} is now {checkpoint.model_id}: {checkpoint.path}")


if __name__ == "__main__":
    run_command(main)
