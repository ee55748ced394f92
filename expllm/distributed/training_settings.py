"""Settings of a training -> the same with full paths, once nothing stands in its way."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expllm.checksums import file_sha256, short_sha256
from expllm.distributed import storage
from expllm.distributed.training_output import has_checkpoint
from expllm.errors import CallerError
from expllm.faces import STANDARD
from expllm.models.checkpoint import NAMES, resolve
from expllm.models.starting import parts, preprocessing
from expllm.train_config import TrainConfig

EXAMPLES = "examples"
"""Where in OUTPUT the faces of `data` are prepared."""
_KEPT = "training.json"
_CROPS, _FACES = "crops.npy", "faces.parquet"
_INDECISIVE = frozenset(
    "data faces examples output model encoder language_model tokens_at_once packing workers use_gpu sharding "
    "save_every_s samples max_failures face_workers encoder_gpus decode_timeout_s".split()
)
"""Settings that do not decide the trained model, and those that are kept in another form."""


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
    learnt = data_id or _faces_id(config)
    if config.batch_size % config.workers:
        raise CallerError(
            f"batch_size {config.batch_size} cannot be divided among {config.workers} workers: "
            "make it a multiple of `workers`"
        )
    output = _output(config.output)
    faces = config.faces and str(Path(config.faces).resolve())
    examples = _full(config.examples or storage.join(output, EXAMPLES))
    full = config.model_copy(
        update={"faces": faces, "examples": examples, "output": output, **_begun(config)}
    )
    decisive = config.model_dump(mode="json", exclude=set(_INDECISIVE))
    _keep(output, {"model": _origin(full), "faces": learnt, **decisive})
    return full


def _begun(config: TrainConfig) -> dict[str, str]:
    """Where the model that is started from lies, by full paths."""
    found = parts(config)
    if found is not None:
        return {"encoder": str(found[0].resolve()), "language_model": str(found[1].resolve())}
    return {"model": config.model if config.model in NAMES else str(resolve(config.model).path)}


def _origin(config: TrainConfig) -> str:
    """What tells the model that is started from."""
    found = parts(config)
    if found is None:
        return resolve(config.model).model_id
    files = [file for one in found for file in (one / "config.json", *sorted(one.glob("*.safetensors")))]
    return short_sha256(json.dumps([file_sha256(file) for file in files]))


def _full(folder: str) -> str:
    return folder if "://" in folder else str(Path(folder).resolve())


def _faces_id(config: TrainConfig) -> str:
    """The hash of the prepared faces."""
    if config.faces is None:
        raise CallerError("there is nothing to train on: name `data`, or `faces` that were prepared")
    cut = preprocessing(config).cut
    if cut != STANDARD:
        raise CallerError(
            f"{config.encoder or config.model} reads crops of {cut.size_px} px ({cut.kind}), and prepared "
            f"faces are {STANDARD.size_px} px ({STANDARD.kind}): name `data` instead, or train a model that "
            "reads those"
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


def _output(name: str) -> str:
    output = name.rstrip("/") if storage.is_s3(name) else str(Path(name).resolve())
    storage.check_writable(output)
    return output


def _keep(output: str, decisive: dict[str, object]) -> None:
    """Write down what decides this training; refuse where checkpoints of another lie."""
    place = storage.join(output, _KEPT)
    if has_checkpoint(output):
        kept = json.loads(storage.read(place)) if storage.stat(place) else {}
        others = [name for name, value in decisive.items() if kept.get(name) != value]
        if others:
            raise CallerError(f"{output}: holds a training with other {others[0]}; name another output")
    storage.write(place, (json.dumps(decisive, indent=2) + "\n").encode())
