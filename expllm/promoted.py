"""Names under which models serve -> the checkpoints they stand for now, and stood for before."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from expllm.errors import CallerError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Promotion(_Kept):
    """A checkpoint that passed the gate."""

    checkpoint: str
    """Its folder."""
    model_id: str
    at: str
    """When it passed, ISO 8601 in UTC."""


class Event(_Kept):
    """A change of what a name stands for."""

    what: Literal["promote", "rollback"]
    model_id: str
    """What the name stands for from then on."""
    at: str


class _Served(_Kept):
    promotions: tuple[Promotion, ...]
    """The last one serves; going back takes it off."""
    history: tuple[Event, ...]


def models_folder() -> Path:
    """Where names are kept: EXPLLM_MODELS, else ~/.local/share/expllm/models. A cluster's machines share it.

    Raises:
        CallerError: EXPLLM_MODELS is not set and there is no home folder.
    """
    chosen = os.environ.get("EXPLLM_MODELS")
    try:
        return Path(chosen) if chosen else Path.home() / ".local" / "share" / "expllm" / "models"
    except RuntimeError as error:
        raise CallerError("there is no home folder: set EXPLLM_MODELS to a folder for names") from error


def find(name: str) -> Promotion | None:
    """What a name stands for now; None where nothing was promoted under it.

    Raises:
        CallerError: the name's file cannot be read.
    """
    if _NAME.fullmatch(name) is None:
        return None
    served = _read(name)
    return served.promotions[-1] if served else None


def before(name: str) -> Promotion:
    """What `roll_back` would make a name stand for.

    Raises:
        CallerError: nothing was promoted under the name, or nothing before what serves now.
    """
    served = _read(checked(name))
    if served is None:
        raise CallerError(f"nothing was promoted as {name}: see {models_folder()}")
    if len(served.promotions) < 2:
        raise CallerError(f"{name} stands for its first checkpoint: there is none to go back to")
    return served.promotions[-2]


def history(name: str) -> tuple[Event, ...]:
    """All changes of a name, the oldest first; empty where there was none."""
    served = _read(checked(name))
    return served.history if served else ()


def promote(name: str, checkpoint: Path, model_id: str) -> None:
    """Make a name stand for a checkpoint, in one step; asking for what it stands for already changes nothing.

    Raises:
        CallerError: the name cannot be one, or the folder of names cannot be written.
    """
    with _locked(checked(name)):
        served = _read(name) or _Served(promotions=(), history=())
        at = datetime.now(UTC).isoformat(timespec="seconds")
        promotion = Promotion(checkpoint=str(checkpoint), model_id=model_id, at=at)
        now = served.promotions[-1:]
        if [(one.checkpoint, one.model_id) for one in now] == [(promotion.checkpoint, model_id)]:
            return
        event = Event(what="promote", model_id=model_id, at=at)
        _write(name, _Served(promotions=(*served.promotions, promotion), history=(*served.history, event)))


def roll_back(name: str, earlier: Promotion) -> None:
    """Make a name stand for what `before` gave, in one step.

    Raises:
        CallerError: as `before`; the name was changed since `before` was asked; or the folder of names cannot
            be written.
    """
    with _locked(checked(name)):
        served = _read(name)
        if served is None or before(name) != earlier:
            raise CallerError(f"{name} was changed by someone else just now: see what it stands for")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        event = Event(what="rollback", model_id=earlier.model_id, at=at)
        _write(name, _Served(promotions=served.promotions[:-1], history=(*served.history, event)))


def checked(name: str) -> str:
    """The name, if it can be one.

    Raises:
        CallerError: it cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise CallerError(f"{name!r} is no name: use letters, digits, dots, dashes, at most 100")
    return name


def _file(name: str) -> Path:
    return models_folder() / f"{name}.json"


def _read(name: str) -> _Served | None:
    file = _file(name)
    try:
        return _Served.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CallerError(f"{file}: cannot be read ({error.strerror}); check EXPLLM_MODELS") from error
    except ValidationError as error:
        raise CallerError(f"{file}: is no file of promotions; move it away and promote again") from error


def _write(name: str, served: _Served) -> None:
    partial = models_folder() / f".{name}.json"
    with partial.open("w") as stream:
        stream.write(served.model_dump_json(indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(_file(name))


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let one process at a time change a name."""
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise CallerError(
            f"{folder}: cannot be written ({error.strerror}); set EXPLLM_MODELS to a folder that can"
        ) from error
