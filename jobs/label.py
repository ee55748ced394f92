"""`python -m jobs.label INPUT OUTPUT`: label every face of INPUT and add the rows to OUTPUT's table."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import LabelConfig
from expllm.distributed import label


def main(
    source: Annotated[
        str, Argument(metavar="INPUT", help="Folder, file, s3:// prefix, glob, or list of URIs.")
    ],
    output: Annotated[str, Argument(metavar="OUTPUT", help="Folder or s3:// prefix of the result.")],
    config: Annotated[Path | None, Option(help="TOML file; jobs/label.toml names every key.")] = None,
    set_: Annotated[list[str] | None, Option("--set", help="key=value, over the file.")] = None,
    model: Annotated[str | None, Option(help="A bundled model's name, or a checkpoint folder.")] = None,
    relabel: Annotated[bool, Option(help="Replace labels that another model or prompt made.")] = False,
    dry_run: Annotated[bool, Option(help="Only say what there is to do.")] = False,
) -> None:
    """Label every face of INPUT and add the rows to the table in OUTPUT."""
    overrides = [*(set_ or ()), *([f"model={model}"] if model else ())]
    settings = LabelConfig.read(config, overrides)
    if dry_run:
        due = label.dry_run(source, output, settings, relabel=relabel)
        print(f"{due.num_listed} photographs are listed, {due.num_pending} of them are to be labelled")
        return
    print(label.run(source, output, settings, relabel=relabel).line)


if __name__ == "__main__":
    run_command(main)
