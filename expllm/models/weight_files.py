"""Files of weights, safetensors or torch's own, into tensors that are read one by one; and back in shards."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from expllm.errors import CallerError
from expllm.models.preprocessing import read_object

_NAME = "model.safetensors"
_INDEX = ".index.json"
_PICKLES = (".bin", ".pth", ".pt")
_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")
"""What a training leaves beside its weights."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file; only its shape is known until it is read."""

    file: Path
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor that is yet to be made and written."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Tensor]


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file, or of a folder's weights: those of its index, else all that are there.

    Torch's files are opened with `weights_only`, so that no code in them is run, and mapped, not read.

    Raises:
        CallerError: there are none, a file is no table of tensors, or two files hold the same tensor.
    """
    found: dict[str, StoredTensor] = {}
    for file in _files(path):
        for name, tensor in _opened(file):
            if name in found:
                raise CallerError(f"{path}: {found[name].file.name} and {file.name} both hold {name}")
            found[name] = tensor
    return found


def write_shards(
    folder: Path, planned: Sequence[PlannedTensor], dtype: torch.dtype, shard_bytes: int = 2 * 1024**3
) -> None:
    """Make the tensors and write them as safetensors, named as Hugging Face does, one shard at a time.

    Raises:
        OSError, SafetensorError: a file could not be written.
    """
    shards = _shards(planned, dtype.itemsize, shard_bytes)
    places = {}
    for number, shard in enumerate(shards, start=1):
        file = folder / (_NAME if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors")
        # A copy, since safetensors refuses tensors that share memory, as parts of a fused one do.
        made = {one.name: one.make().to(dtype, copy=True).contiguous() for one in shard}
        save_file(made, file, metadata={"format": "pt"})
        file.chmod(0o644)  # safetensors writes files for their owner alone
        places |= dict.fromkeys(made, file.name)
    if len(shards) > 1:
        index = {"metadata": {"total_size": size_bytes(planned, dtype)}, "weight_map": places}
        (folder / f"{_NAME}{_INDEX}").write_text(json.dumps(index, indent=2) + "\n")


def size_bytes(planned: Sequence[PlannedTensor], dtype: torch.dtype) -> int:
    """What the tensors will take on disk."""
    return sum(map(_numel, planned)) * dtype.itemsize


def _numel(planned: PlannedTensor) -> int:
    return torch.Size(planned.shape).numel()


def _shards(planned: Sequence[PlannedTensor], itemsize: int, shard_bytes: int) -> list[list[PlannedTensor]]:
    shards: list[list[PlannedTensor]] = [[]]
    filled = 0
    for one in planned:
        taken = _numel(one) * itemsize
        if shards[-1] and filled + taken > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(one)
        filled += taken
    return shards


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    indexes = sorted(path.glob(f"*{_INDEX}"))  # model.safetensors comes before pytorch_model.bin
    if indexes:
        return _indexed(indexes[0])
    files = sorted(path.glob("*.safetensors")) or sorted(
        file for file in path.glob("*") if file.suffix in _PICKLES and file.name not in _NO_WEIGHTS
    )
    if not files:
        raise CallerError(f"{path}: holds no weights (*.safetensors, *.bin or *.pth)")
    return files


def _indexed(index: Path) -> list[Path]:
    places = read_object(index).get("weight_map")
    names = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise CallerError(f"{index}: its weight_map does not name files beside it")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise CallerError(f"{index.parent}: {missing[0]} is missing: download the checkpoint again")
    return [index.parent / name for name in names]


def _opened(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    if file.suffix == ".safetensors":
        yield from _safetensors(file)
    else:
        for name, tensor in _pickled(file).items():
            yield name, StoredTensor(file, tuple(tensor.shape), tensor.detach)


def _safetensors(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    try:
        weights = safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise CallerError(f"{file}: is no whole safetensors file: download it again") from error
    for name in weights.keys():  # noqa: SIM118 - the file is no mapping
        shape = tuple(weights.get_slice(name).get_shape())
        yield name, StoredTensor(file, shape, partial(weights.get_tensor, name))


def _pickled(file: Path) -> dict[str, Tensor]:
    try:
        # Files from before torch 1.6 are no archives and cannot be mapped.
        read = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except UnpicklingError as error:
        raise CallerError(
            f"{file}: holds more than tensors, and is not read, since its code would be run "
            "(torch.load with weights_only=True refuses it): save the weights as safetensors"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise CallerError(f"{file}: is no whole file of torch's: download it again") from error
    if not isinstance(read, dict) or not all(isinstance(one, Tensor) for one in read.values()):
        raise CallerError(f"{file}: is no plain table of tensors by name")
    return {str(name): tensor for name, tensor in read.items()}
