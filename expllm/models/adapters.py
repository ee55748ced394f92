"""An adapter of the language model alone: where it lies, what it stands on, and how an engine takes it in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expllm.errors import CallerError
from expllm.gate import Record
from expllm.models.checkpoint import Checkpoint, resolve
from expllm.models.preprocessing import read_object
from expllm.train_config import LINEAR_LAYERS

FOLDER = "adapter"
"""In a checkpoint's folder, in PEFT's form; only where encoder and projector are those of its base."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_RANKS = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Adapter:
    """An adapter that an engine lays over the language model it runs, for one request or many."""

    name: str
    number: int
    """From 1 on; no two adapters of an engine have the same."""
    folder: Path

    def request(self) -> Any:
        """The adapter in vLLM's own form."""
        from vllm.lora.request import LoRARequest

        return LoRARequest(self.name, self.number, str(self.folder))


def engine_args(rank: int, count: int) -> dict[str, Any]:
    """vLLM's arguments of an engine that takes in adapters as it runs, `count` at once, up to this rank.

    Raises:
        CallerError: vLLM holds no adapter of such a rank.
    """
    fitting = [held for held in _RANKS if held >= rank]
    if not fitting:
        raise CallerError(f"an adapter of rank {rank}: vLLM takes in at most {_RANKS[-1]}")
    return {
        "enable_lora": True,
        "max_loras": count,
        "max_lora_rank": fitting[0],
        # Not the head: vLLM's CPU code cannot score a prompt through an adapted one.
        "lora_target_modules": list(LINEAR_LAYERS),
    }


def rank(checkpoint: Path) -> int:
    """The rank of a checkpoint's adapter.

    Raises:
        CallerError: its adapter_config.json cannot be read.
    """
    return int(read_object(checkpoint / FOLDER / CONFIG)["r"])


def base_id(checkpoint: Path) -> str | None:
    """The model_id of what a checkpoint differs from in its adapter alone; None where it differs in more.

    Raises:
        CallerError: it has an adapter and no record.
    """
    return Record.read(checkpoint).base_id if (checkpoint / FOLDER).is_dir() else None


def base(checkpoint: Path) -> Checkpoint | None:
    """What `base_id` names, where it is still there and unaltered."""
    record = Record.read(checkpoint) if (checkpoint / FOLDER).is_dir() else None
    if record is None or record.base is None:
        return None
    try:
        found = resolve(record.base)
    except CallerError:
        return None
    return found if found.model_id == record.base_id else None
