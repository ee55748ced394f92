"""Settings of a training -> the same with full paths, once nothing stands in its way."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expllm.checksums import file_sha256
from expllm.config import TrainConfig
from expllm.errors import CallerError
from expllm.faces import STANDARD
from expllm.models.checkpoint import NAMES, resolve
from expllm.models.preprocessing import read_object

STEPS = "steps"
"""Where in OUTPUT a training keeps its checkpoints."""
_KEPT = "training.json"
_CROPS, _FACES = "crops.npy", "faces.parquet"
_DECISIVE = ("steps", "batch_size", "adapter_rate", "projector_rate", "seed")
"""What decides the trained model, beside the faces and the model it starts from."""


def checked(config: TrainConfig) -> TrainConfig:
    """Check what can be checked before workers start, and keep in OUTPUT what decides the training.

    Raises:
        CallerError: the model or the faces are not there, the batch cannot be divided, the output is no
            folder that can be written, or it holds another training.
    """
    checkpoint = resolve(config.model)
    cut = checkpoint.preprocessing.cut
    if cut != STANDARD:
        raise CallerError(
            f"{config.model} reads crops of {cut.size_px} px ({cut.kind}), and prepared faces are "
            f"{STANDARD.size_px} px ({STANDARD.kind}): train a model that reads those"
        )
    faces = Path(config.faces).resolve()
    _check_faces(faces, config.faces)
    if config.batch_size % config.workers:
        raise CallerError(
            f"batch_size {config.batch_size} cannot be divided among {config.workers} workers: "
            "make it a multiple of `workers`"
        )
    output = _output(config.output)
    settings = {name: getattr(config, name) for name in _DECISIVE}
    _keep(output, {"model": checkpoint.model_id, "faces": file_sha256(faces / _FACES), **settings})
    model = config.model if config.model in NAMES else str(checkpoint.path)
    return config.model_copy(update={"faces": str(faces), "output": str(output), "model": model})


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
