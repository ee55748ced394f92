"""Trained parameters, optimiser and progress in a folder, whole or not at all, and back."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from expllm.errors import CallerError
from expllm.models.preprocessing import read_object

PARAMETERS, OPTIMIZER, PROGRESS = "parameters.safetensors", "optimizer.safetensors", "progress.json"


@dataclass
class Progress:
    """Where a training stands; what a checkpoint holds beside the tensors."""

    step: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """Everything a checkpoint holds, gathered from all workers where they share it among them."""

    parameters: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    progress: Progress

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> "Snapshot":
        """Take it of a training; all workers must do so together."""
        trained = {name: _whole(p) for name, p in model.named_parameters() if p.requires_grad}
        state = {
            f"{name}/{key}": _whole(value)
            for name, parameter in _trained_by(optimizer)
            for key, value in optimizer.state[parameter].items()
        }
        return cls(trained, state, progress)

    def save(self, folder: Path) -> None:
        """Write it as the newest of the folder's checkpoints, whole or not at all, and remove older ones.

        Raises:
            CallerError: there is no room for it, or it may not be written.
        """
        target = folder / f"step-{self.progress.step:08d}"
        if target.exists():
            return
        partial = folder / f".{target.name}.{os.getpid()}"
        try:
            partial.mkdir(parents=True)
            save_file(self.parameters, partial / PARAMETERS)
            save_file(self.optimizer, partial / OPTIMIZER)
            (partial / PROGRESS).write_text(json.dumps(vars(self.progress)))
            _flush(partial)
            partial.rename(target)
        except (OSError, SafetensorError) as error:
            raise _unwritten(target, error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for left in (*checkpoints(folder)[:-1], *folder.glob(".step-*")):  # the second: of killed workers
            shutil.rmtree(left)


def _flush(folder: Path) -> None:
    """Have a folder's files on the disk: a machine that loses power may else keep names without bytes."""
    for file in folder.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints that a training has left in its folder, oldest first."""
    return sorted(folder.glob("step-*"))


def newest_checkpoint(folder: Path) -> Path:
    """The checkpoint a training left in its folder.

    Raises:
        CallerError: there is none.
    """
    found = checkpoints(folder)
    if not found:
        raise CallerError(f"no training checkpoint in {folder}: run the training first")
    return found[-1]


def resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Go back to the newest checkpoint, if the folder has one.

    Raises:
        CallerError: it is of another model, or its files are not whole.
    """
    found = checkpoints(folder)
    if not found:
        return Progress()
    load_trained(model, found[-1])
    tensors = _read(found[-1] / OPTIMIZER)
    for name, parameter in _trained_by(optimizer):
        keys = {key.rsplit("/", 1)[1]: key for key in tensors if key.rsplit("/", 1)[0] == name}
        optimizer.state[parameter] = {
            short: tensors[key] if short == "step" else _placed(tensors[key], parameter)
            for short, key in keys.items()
        }
    return Progress(**read_object(found[-1] / PROGRESS))


def load_trained(model: nn.Module, checkpoint: Path) -> None:
    """Put a checkpoint's trained parameters into the model; the others stay as they are.

    Raises:
        CallerError: they are not the model's, by name or shape, or the file is not whole.
    """
    stored, known = _read(checkpoint / PARAMETERS), dict(model.named_parameters())
    _check(stored, known, checkpoint)
    with torch.no_grad():
        for name, tensor in stored.items():
            known[name].copy_(_placed(tensor.to(known[name].dtype), known[name]))


def _check(stored: Mapping[str, Tensor], known: Mapping[str, Tensor], checkpoint: Path) -> None:
    wrong = [f"it holds {name}" for name in stored if name not in known]
    wrong += [
        f"its {name} is {_by(tensor)}, the model's {_by(known[name])}"
        for name, tensor in stored.items()
        if name in known and tensor.shape != known[name].shape
    ]
    wrong += [f"it lacks {name}" for name, p in known.items() if p.requires_grad and name not in stored]
    if wrong:
        raise CallerError(f"the checkpoint {checkpoint} is of another model: {wrong[0]}; name another output")


def _by(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CallerError(f"{file}: is not whole; remove its folder, and the training begins anew") from error


def _unwritten(target: Path, error: Exception) -> CallerError:
    reason = getattr(error, "strerror", None) or str(error)
    return CallerError(
        f"the checkpoint {target} cannot be written ({reason}): make room and start again; "
        "older checkpoints are whole"
    )


def _trained_by(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, nn.Parameter]]:
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)


def _whole(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).contiguous()


def _placed(tensor: Tensor, like: Tensor) -> Tensor:
    """Where and as the parameter lies: on its device, divided among the workers as it is."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)
