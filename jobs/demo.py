"""Labels the bundled photographs and writes the report: `python -m jobs.demo [FOLDER]`."""

from pathlib import Path
from typing import Annotated

import typer

from expllm.cli import run_command
from expllm.config import LabelConfig
from expllm.demo import write_photographs
from expllm.distributed import label, report, storage

OUT = Path("expllm-demo")


def main(out: Annotated[Path, typer.Argument(help="Where photographs, labels and report go.")] = OUT) -> None:
    """Label the bundled photographs with the bundled model and write the report."""
    storage.check_writable(str(out))
    photographs = out / "photographs"
    write_photographs(photographs)
    # What another release's model labelled here is labelled anew: the demo shows the model at hand.
    print(label.run(str(photographs), str(out), LabelConfig(), relabel=True).line)
    print(f"report: {report.write(str(out), thumbnails=True)}")


if __name__ == "__main__":
    run_command(main)
