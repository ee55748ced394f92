"""The bundled photographs -> a folder that can be labelled."""

from importlib.resources import files
from pathlib import Path


def write_photographs(folder: Path) -> None:
    """Copy the bundled photographs to a folder; one that is there stays, and is not labelled again."""
    folder.mkdir(parents=True, exist_ok=True)
    for bundled in files("expllm").joinpath("data", "demo").iterdir():
        copy = folder / bundled.name
        if bundled.name.endswith(".jpg") and not copy.exists():
            copy.write_bytes(bundled.read_bytes())
