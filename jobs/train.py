"""`python -m jobs.train CONFIG`: fine-tune a model on Ray Train."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.distributed import train
from expllm.train_config import TrainConfig

PRESETS = Path(__file__).with_name("presets")


def main(
    config: Annotated[Path, Argument(help="TOML file, or a preset's name; jobs/train.toml names every key.")],
    set_: Annotated[list[str] | None, Option("--set", help="key=value, over the file.")] = None,
) -> None:
    """Fine-tune a model on Ray Train as CONFIG says."""
    print(f"trained model: {train.run(TrainConfig.read(_file(config), set_ or ()))}")


def _file(config: Path) -> Path:
    """The file that is named, or the preset of that name."""
    preset = PRESETS / f"{config}.toml"
    return preset if not config.exists() and preset.is_file() else config


if __name__ == "__main__":
    run_command(main)
