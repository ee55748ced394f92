"""What a training leaves in a folder or an S3 prefix: checkpoints, metrics, curves, samples, the model."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError

from expllm.distributed import storage
from expllm.errors import CallerError
from expllm.evaluation.curves import curves
from expllm.models.training import Metrics
from expllm.models.training_checkpoints import PROGRESS, newest_checkpoint

STEPS, MODEL = "steps", "model"
METRICS, CURVES, SAMPLES = "metrics.jsonl", "curves.svg", "samples"


@contextmanager
def local_steps(output: str) -> Iterator[Path]:
    """The folder that this worker's training keeps checkpoints in; for S3 one of its own with the newest."""
    if not storage.is_s3(output):
        yield Path(output) / STEPS
        return
    with TemporaryDirectory(prefix="expllm-steps-") as folder:
        for uri in _newest(output):
            file = Path(folder, *uri.split("/")[-2:])
            file.parent.mkdir(exist_ok=True)
            storage.download(uri, file)
        yield Path(folder)


def publish_checkpoint(steps: Path, output: str) -> None:
    """Make the newest local checkpoint OUTPUT's; what says that it is whole is written last."""
    if not storage.is_s3(output):
        return
    checkpoint = newest_checkpoint(steps)
    place = storage.join(output, STEPS, checkpoint.name)
    for file in sorted(checkpoint.iterdir(), key=lambda file: file.name == PROGRESS):
        storage.upload(file, storage.join(place, file.name))
    for other in storage.children(storage.join(output, STEPS)):
        if not other.uri.startswith(place):
            storage.delete(other.uri)


def has_checkpoint(output: str) -> bool:
    """Whether a training in OUTPUT has a whole checkpoint."""
    return bool(_newest(output))


def _newest(output: str) -> list[str]:
    """The URIs of the newest whole checkpoint's files; empty where there is none."""
    uris = [found.uri for found in storage.children(storage.join(output, STEPS))]
    whole = sorted(uri.removesuffix(PROGRESS) for uri in uris if uri.endswith(f"/{PROGRESS}"))
    whole = [place for place in whole if place.split("/")[-2].startswith("step-")]
    return [uri for uri in uris if whole and uri.startswith(whole[-1])]


def publish_model(write: Callable[[Path], None], output: str) -> None:
    """Have the trained model written, and give it its place in OUTPUT once it is whole.

    Raises:
        CallerError: there is no room for it; the model before it stays.
    """
    on_s3 = storage.is_s3(output)
    for left in () if on_s3 else Path(output).glob(f".{MODEL}-*"):  # by killed workers
        shutil.rmtree(left)
    with TemporaryDirectory(prefix=f".{MODEL}-", dir=None if on_s3 else output) as place:
        folder = Path(place) / MODEL
        try:
            write(folder)
            if not on_s3:
                _replace(Path(output) / MODEL, folder)
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CallerError(
                f"the trained model cannot be written to {place} ({reason}): make room and start again; the "
                "training itself is done"
            ) from error
        if on_s3:
            _upload(folder, storage.join(output, MODEL))


def _replace(target: Path, folder: Path) -> None:
    if target.exists():
        target.rename(folder.with_name("before"))
    folder.rename(target)


def _upload(folder: Path, place: str) -> None:
    """Put a model in another's place: config.json goes first and comes last, for without it there is none."""
    config = storage.join(place, "config.json")
    for old in sorted(storage.children(place), key=lambda found: found.uri != config):
        storage.delete(old.uri)
    files = [file for file in folder.rglob("*") if file.is_file()]
    for file in sorted(files, key=lambda file: file == folder / "config.json"):
        storage.upload(file, storage.join(place, *file.relative_to(folder).parts))


class Journal:
    """A training's metrics, one row a step; one that goes on from a checkpoint goes on from its row."""

    def __init__(self, output: str) -> None:
        self._output = output
        place = storage.join(output, METRICS)
        text = storage.read(place).decode() if storage.stat(place) else ""
        self._rows: list[Metrics] = [json.loads(line) for line in text.splitlines()]

    def add(self, step: int, metrics: Metrics) -> None:
        """Take in a step; what an earlier try reported of it and of later ones goes."""
        while self._rows and self._rows[-1]["step"] >= step:
            self._rows.pop()
        self._rows.append({"step": step, **metrics})

    def write(self, step: int, samples: str) -> None:
        """Write what there is at a checkpoint: all metrics, their curves, and the samples of this step.

        Raises:
            CallerError: there is no room for it.
        """
        lines = "".join(json.dumps(row) + "\n" for row in self._rows)
        storage.write(storage.join(self._output, METRICS), lines.encode())
        storage.write(storage.join(self._output, CURVES), curves(self._rows).encode())
        if samples:
            storage.write(storage.join(self._output, SAMPLES, f"step-{step:08d}.md"), samples.encode())
