"""A model's name or folder into a full, checked checkpoint on this machine's disk."""

import json
import math
import os
import shutil
import uuid
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from expllm import gate, promoted
from expllm.checksums import file_sha256, short_sha256
from expllm.errors import CallerError
from expllm.faces import CROPS
from expllm.models.architecture import ARCHITECTURE
from expllm.models.preprocessing import Preprocessing, read_object
from expllm.unit_reader import UnitReader

BUNDLES = Path(__file__).parent.parent / "data"
NAMES = ("expllm-135m",)
"""The models that come with the package."""

_CARD, _CONFIG, _PREPROCESSING, _DIGESTS = "card.json", "config.json", "preprocessing.json", "sha256.json"
ACTION_UNITS = "action_units.npz"
"""The weights of the UnitReader, where a checkpoint has one."""
_DECISIVE = (_PREPROCESSING, "tokenizer.json", ACTION_UNITS)
"""What makes a model's answers beside its weights, its config.json and the card's temperature."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_LAYOUT = 3
"""Raised when the assembled folder of the same bundle would differ."""


@dataclass(frozen=True)
class Checkpoint:
    """A full Hugging Face folder (weights, tokenizer, processor) and what is known of it."""

    path: Path
    name: str
    model_id: str
    """Short hash over everything that makes the model's answers."""
    preprocessing: Preprocessing
    card: dict[str, object]

    @property
    def temperature(self) -> float:
        """What label scores are divided by to be calibrated."""
        return _temperature(self.card)

    @property
    def model(self) -> str:
        """What `resolve` finds it by on every machine: a bundled model lies elsewhere on each."""
        return self.name if self.name in NAMES else str(self.path)

    def unit_reader(self) -> UnitReader | None:
        """What reads action units off the encoder's features, where the checkpoint has it."""
        file = self.path / ACTION_UNITS
        return UnitReader.load(file) if file.exists() else None


@cache
def resolve(model: str) -> Checkpoint:
    """Find a model by the name of one that ships or was promoted, or by the path of a folder.

    A bundled model is put together once per machine, under EXPLLM_CACHE (else ~/.cache/expllm); several
    processes may ask at once. Call it on every machine that needs the files.

    Raises:
        CallerError: there is no such model, the folder is not a safe ExpLLM checkpoint, or it was changed
            since its promotion.
    """
    if model in NAMES:
        return _bundled(model)
    promotion = promoted.find(model)
    if promotion is not None:
        return _promoted(model, promotion)
    folder = Path(model)
    if not (folder / _CONFIG).is_file():
        raise CallerError(
            f"no model {model!r}: give one of {', '.join(NAMES)}, the name of a promoted model, "
            "or a folder with a config.json"
        )
    check(folder)
    files = [*_weights(folder), *(folder / name for name in _DECISIVE if (folder / name).exists())]
    digests = {file.name: file_sha256(file) for file in files}
    config, card = read_object(folder / _CONFIG), _card(folder)
    return Checkpoint(
        path=folder.resolve(),
        name=folder.resolve().name,
        model_id=short_sha256(json.dumps([digests, config, _temperature(card)])),
        preprocessing=_preprocessing(folder),
        card=card,
    )


def fixed(model: str) -> str:
    """The name or folder that stands for the same model tomorrow: a promoted name may change meanwhile.

    Raises:
        CallerError: as `resolve`.
    """
    promotion = None if model in NAMES else promoted.find(model)
    return model if promotion is None else str(_promoted(model, promotion).path)


def _promoted(name: str, promotion: promoted.Promotion) -> Checkpoint:
    found = resolve(promotion.checkpoint)
    if found.model_id != promotion.model_id:
        raise CallerError(
            f"{name}: {promotion.checkpoint} was changed since its promotion: promote it again, "
            f"or go back with `expllm rollback {name}`"
        )
    return replace(found, name=name)


def check(folder: Path) -> None:
    """Refuse a folder that holds pickled weights or code, or a model of another architecture.

    Raises:
        CallerError: so it is, or its config.json lacks a part of the model.
    """
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLES)
    if pickles:
        raise CallerError(
            f"{folder}: {pickles[0]} may hold a pickle: save the weights as safetensors and remove it"
        )
    for file in sorted(folder.glob("*.json")):
        if '"auto_map"' in file.read_text(encoding="utf-8", errors="replace"):
            raise CallerError(f"{folder}: {file.name} asks for code of its own (auto_map): remove that field")
    config = read_object(folder / _CONFIG)
    architectures = config.get("architectures")
    if architectures != [ARCHITECTURE]:
        raise CallerError(f"{folder}: the architecture is {architectures}, not {ARCHITECTURE}")
    for part in ("vision_config", "text_config"):
        if not isinstance(config.get(part), dict):
            raise CallerError(f"{folder / _CONFIG}: the field {part!r} is missing or no object")
    if not _weights(folder):
        raise CallerError(f"{folder} holds no .safetensors file")


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _preprocessing(folder: Path) -> Preprocessing:
    file = folder / _PREPROCESSING
    if not file.exists():
        raise CallerError(
            f"{folder} holds no {_PREPROCESSING}: say there how crops are made (see docs/models.md)"
        )
    asked = Preprocessing.read(file)
    for name, made in {"crop": CROPS, "decoder": (Preprocessing.decoder,)}.items():
        if getattr(asked, name) not in made:
            raise CallerError(
                f"{file}: {name} is {getattr(asked, name)!r}, and this version makes only "
                f"{' or '.join(map(repr, made))}: use a model trained on such crops"
            )
    read_px = read_object(folder / _CONFIG)["vision_config"].get("image_size", asked.size_px)
    if asked.size_px != read_px:
        raise CallerError(f"{file}: size_px is {asked.size_px}, and the encoder reads only {read_px!r}")
    return asked


def _card(folder: Path) -> dict[str, object]:
    card = read_object(folder / _CARD) if (folder / _CARD).exists() else {}
    temperature = card.get("temperature", 1.0)
    is_number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not is_number or not 0 < temperature < math.inf:
        raise CallerError(f"{folder / _CARD}: temperature must be a number above 0, not {temperature!r}")
    return card


def _temperature(card: dict[str, object]) -> float:
    return float(card.get("temperature", 1.0))  # type: ignore[arg-type]


def _bundled(name: str) -> Checkpoint:
    from expllm.models import assembly, base

    bundle = BUNDLES / name
    if not (bundle / assembly.CONFIG).exists():
        raise CallerError(f"the model {name} is not in this installation: train it with jobs.train_default")
    parts = {part: file_sha256(bundle / part) for part in (*assembly.PARTS, ACTION_UNITS)}
    card, preprocessing = _card(bundle), _preprocessing(bundle)
    model_id = short_sha256(json.dumps([_LAYOUT, parts, base.SHA256, _temperature(card)]))
    path = _cache() / f"{name}-{model_id}"
    if not _is_whole(path):
        _assemble(bundle, path, preprocessing, card)
    return Checkpoint(path, name, model_id, preprocessing, card)


def _cache() -> Path:
    chosen = os.environ.get("EXPLLM_CACHE")
    try:
        return Path(chosen) if chosen else Path.home() / ".cache" / "expllm"
    except RuntimeError as error:
        raise CallerError("there is no home folder: set EXPLLM_CACHE to a folder for models") from error


def _is_whole(path: Path) -> bool:
    try:
        digests = read_object(path / _DIGESTS)
    except CallerError:
        return False
    return all((path / n).exists() and file_sha256(path / n) == digest for n, digest in digests.items())


def _assemble(bundle: Path, path: Path, preprocessing: Preprocessing, card: dict[str, object]) -> None:
    from expllm.models import assembly, base

    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise CallerError(
            f"{path.parent}: cannot be written ({error.strerror}); set EXPLLM_CACHE to a folder that can"
        ) from error
    try:
        tokenizer = base.tokenizer()
        assembly.save_assembled(partial, assembly.assemble(bundle, tokenizer), tokenizer, preprocessing, card)
        for name in (ACTION_UNITS, gate.FILE):
            shutil.copyfile(bundle / name, partial / name)
        digests = {file.name: file_sha256(file) for file in sorted(partial.iterdir())}
        (partial / _DIGESTS).write_text(json.dumps(digests, indent=2))
        _publish(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, path: Path) -> None:
    """Move a finished folder to its place in one step; another process may have been there first."""
    if path.exists() and not _is_whole(path):
        path.rename(partial.with_name(f"{partial.name}.broken"))
        shutil.rmtree(partial.with_name(f"{partial.name}.broken"))
    try:
        partial.rename(path)
    except OSError:
        if not _is_whole(path):
            raise
