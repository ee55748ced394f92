"""`python -m jobs.train CONFIG`: fine-tune a model on Ray Train."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import TrainConfig
from expllm.distributed import train


def main(
    config: Annotated[Path, Argument(help="TOML file; jobs/train.toml names every key.")],
    set_: Annotated[list[str] | None, Option("--set", help="key=value, over the file.")] = None,
) -> None:
    """Fine-tune a model on Ray Train as CONFIG says."""
    print(f"trained model: {train.run(TrainConfig.read(config, set_ or ()))}")


if __name__ == "__main__":
    run_command(main)
