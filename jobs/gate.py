"""`python -m jobs.gate CHECKPOINT`: try a trained checkpoint in vLLM beside what its training recorded."""

from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import GateConfig
from expllm.distributed import gate


def main(
    checkpoint: Annotated[str, Argument(help="Folder of a trained model, such as OUTPUT/model.")],
    set_: Annotated[list[str] | None, Option("--set", help="key=value of any setting.")] = None,
) -> None:
    """Try CHECKPOINT in vLLM beside what its training recorded; say why where it must not serve."""
    print(gate.run(GateConfig.read(None, [*(set_ or ()), f"model={checkpoint}"])).told())


if __name__ == "__main__":
    run_command(main)
