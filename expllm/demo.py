"""The bundled photographs -> a folder that can be labelled."""

from importlib.resources import files
from pathlib import Path


def write_photographs(folder: Path) -> None:
    """Copy the bundled photographs to a folder; one that is there already is not written again."""
    folder.mkdir(parents=True, exist_ok=True)
    for bundled in files("expllm").joinpath("data", "demo").iterdir():
        copy, data = folder / bundled.name, bundled.read_bytes()
        if bundled.name.endswith(".jpg") and not (copy.exists() and copy.read_bytes() == data):
            copy.write_bytes(data)
