"""Settings of a training -> the same with full paths, once nothing stands in its way."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expllm.checksums import file_sha256
from expllm.config import TrainConfig
from expllm.errors import CallerError
from expllm.faces import STANDARD, Cut
from expllm.models.checkpoint import NAMES, resolve
from expllm.models.preprocessing import read_object

STEPS = "steps"
"""Where in OUTPUT a training keeps its checkpoints."""
EXAMPLES = "examples"
"""Where in OUTPUT the faces of `data` are prepared."""
_KEPT = "training.json"
_CROPS, _FACES = "crops.npy", "faces.parquet"
_DECISIVE = (
    *("steps", "batch_size", "adapter_rate", "projector_rate", "seed"),
    *("label_only_rate", "label_first"),
)
"""What decides the trained model, beside the faces and the model it starts from."""


def checked(config: TrainConfig, data_id: str | None = None) -> TrainConfig:
    """Check what can be checked before workers start, and keep in OUTPUT what decides the training.

    Args:
        data_id: The hash of what `data` names, if it names any.

    Raises:
        CallerError: the model or the faces are not there, the batch cannot be divided, the output is no
            folder that can be written, or it holds another training.
    """
    if config.data and config.faces:
        raise CallerError("`data` and `faces` are both named; a training reads one of them: leave one out")
    checkpoint = resolve(config.model)
    learnt = data_id or _faces_id(config, checkpoint.preprocessing.cut)
    if config.batch_size % config.workers:
        raise CallerError(
            f"batch_size {config.batch_size} cannot be divided among {config.workers} workers: "
            "make it a multiple of `workers`"
        )
    output = _output(config.output)
    settings = {name: getattr(config, name) for name in _DECISIVE}
    _keep(output, {"model": checkpoint.model_id, "faces": learnt, **settings})
    model = config.model if config.model in NAMES else str(checkpoint.path)
    faces = config.faces and str(Path(config.faces).resolve())
    examples = _full(config.examples or str(output / EXAMPLES))
    full = {"faces": faces, "examples": examples, "output": str(output), "model": model}
    return config.model_copy(update=full)


def _full(folder: str) -> str:
    return folder if "://" in folder else str(Path(folder).resolve())


def _faces_id(config: TrainConfig, cut: Cut) -> str:
    """The hash of the prepared faces."""
    if config.faces is None:
        raise CallerError("there is nothing to train on: name `data`, or `faces` that were prepared")
    if cut != STANDARD:
        raise CallerError(
            f"{config.model} reads crops of {cut.size_px} px ({cut.kind}), and prepared faces are "
            f"{STANDARD.size_px} px ({STANDARD.kind}): name `data` instead, or train a model that reads those"
        )
    folder = Path(config.faces).resolve()
    _check_faces(folder, config.faces)
    return file_sha256(folder / _FACES)


def _check_faces(folder: Path, name: str) -> None:
    if not folder.is_dir():
        raise CallerError(f"{name}: there is no such folder of prepared faces; check `faces`")
    for file in (_CROPS, _FACES):
        if not (folder / file).is_file():
            raise CallerError(
                f"{name} holds no {file}: prepare it with `python -m jobs.train_default prepare FACES {name}`"
            )
    try:
        people = pc.count_distinct(pq.read_table(folder / _FACES, columns=["person"])["person"]).as_py()
    except pa.ArrowInvalid as error:
        raise CallerError(f"{name}: {_FACES} is no table of faces; prepare the faces again") from error
    if people < 2:
        raise CallerError(f"{name} shows {people} people, and training holds some out: prepare more faces")


def _output(name: str) -> Path:
    if "://" in name:
        raise CallerError(
            f"output {name}: is no folder; name one that all workers share, such as a network mount"
        )
    return Path(name).resolve()


def _keep(output: Path, decisive: dict[str, object]) -> None:
    """Write down what decides this training; refuse where checkpoints of another lie."""
    file = output / _KEPT
    if any((output / STEPS).glob("step-*")):
        kept = read_object(file) if file.exists() else {}
        others = [name for name, value in decisive.items() if kept.get(name) != value]
        if others:
            raise CallerError(f"{output}: holds a training with other {others[0]}; name another output")
    try:
        output.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{_KEPT}")
        partial.write_text(json.dumps(decisive, indent=2) + "\n")
        partial.replace(file)
    except OSError as error:
        raise CallerError(
            f"output {output}: cannot be written ({error.strerror}); name another folder"
        ) from error
