"""`python -m jobs.evaluate MODEL DATA`: measure a model's labels and texts, and whether they hold."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from expllm.cli import run_command
from expllm.config import EvaluateConfig
from expllm.distributed import evaluate, storage
from expllm.evaluation import document


def main(
    model: Annotated[str, Argument(help="A bundled model's name, a checkpoint folder, or openai:URL#MODEL.")],
    data: Annotated[str, Argument(help="Labelled faces, such as what `expllm faces` writes.")],
    against: Annotated[str | None, Option(help="Another model, measured on the same faces.")] = None,
    json_: Annotated[Path | None, Option("--json", help="Where the figures go as well, as JSON.")] = None,
    out: Annotated[str, Option(help="Folder for the figures, the page and the pairs.")] = "expllm-evaluation",
    pairs: Annotated[int, Option(min=0, help="Pairs of pictures that differ in one movement.")] = 200,
    limit: Annotated[int | None, Option(min=1, help="Most faces to ask about.")] = None,
    set_: Annotated[list[str] | None, Option("--set", help="key=value of any other setting.")] = None,
) -> None:
    """Measure MODEL on the labelled faces of DATA, and --against another model beside it."""
    few = [f"limit={limit}"] if limit else []
    overrides = [f"pairs={pairs}", *few, *(set_ or ()), f"model={model}"]
    config = EvaluateConfig.read(None, overrides)
    if json_ is not None:
        storage.check_writable(str(json_.parent))
    result = evaluate.run(data, out, config, against=against, tell=_tell)
    if json_ is not None:
        storage.write(str(json_), storage.read(storage.join(out, evaluate.DOCUMENT)))
    print(document.summary(result.document))
    print(f"page: {result.page}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_command(main)
