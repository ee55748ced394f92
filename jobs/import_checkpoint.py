"""Turns the published ExpLLM checkpoint into a folder that --model takes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
from typer import Argument, Option

from expllm.cli import run_command
from expllm.models.import_checkpoint import NOTE, import_checkpoint


class Dtype(StrEnum):
    """Kinds of numbers to write."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def main(
    source: Annotated[
        Path, Argument(metavar="SRC", help="Folder of the published checkpoint, with its config.json.")
    ],
    target: Annotated[Path, Argument(metavar="DST", help="Folder to write; it must not be there yet.")],
    language_model: Annotated[
        Path | None, Option(help="Vicuna's folder, where SRC holds only what was trained.")
    ] = None,
    vision_tower: Annotated[
        Path | None, Option(help="DINOv2's file, such as dinov2_vitl14_pretrain.pth, in the same case.")
    ] = None,
    dtype: Annotated[Dtype, Option(help="Kind of the numbers that are written.")] = Dtype.BFLOAT16,
) -> None:
    """Import the published ExpLLM checkpoint SRC as the folder DST."""
    import_checkpoint(
        source,
        target,
        language_model=language_model,
        vision_tower=vision_tower,
        dtype=getattr(torch, dtype),
    )
    print(f"imported model: {target}\n{NOTE}")


if __name__ == "__main__":
    run_command(main)
