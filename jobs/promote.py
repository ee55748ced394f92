"""`python -m jobs.promote CHECKPOINT NAME`: make a name stand for a checkpoint that passes the gate."""

from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import GateConfig
from expllm.distributed import gate


def main(
    checkpoint: Annotated[str, Argument(help="Folder of a trained model, such as OUTPUT/model.")],
    name: Annotated[str, Argument(help="What `--model` and the service's `model` call it.")],
    set_: Annotated[list[str] | None, Option("--set", help="key=value of any setting.")] = None,
) -> None:
    """Make NAME stand for CHECKPOINT, if it passes the gate."""
    passed = gate.promote(name, GateConfig.read(None, [*(set_ or ()), f"model={checkpoint}"]))
    print(f"{passed.told()}\n{name} is now {passed.checkpoint.model_id}: {passed.checkpoint.path}")


if __name__ == "__main__":
    run_command(main)
