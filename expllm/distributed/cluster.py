"""The Ray cluster of a job: the one it was submitted to, or one of its own on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from expllm.errors import ExpllmError, RunError

_LOCAL_CPUS = 8
"""Logical CPUs declared on a smaller machine: pools that wait for one another's CPU would hang."""
_LOCAL_STORE_BYTES = 1024**3
_RESTARTS = 3
ENGINE_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""What an engine's processes are told: nothing is fetched, nothing is sent."""


def few_restarts() -> dict[str, int]:
    """Ray's arguments for a stage's processes: what ends them again and again ends the run, not in a loop."""
    return {"max_restarts": _RESTARTS, "max_task_retries": _RESTARTS}


@contextmanager
def connected() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS or an earlier `ray.init` names, else start a local one and end it."""
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level="ERROR")
    else:
        start_local()
    try:
        yield
    finally:
        ray.shutdown()


def start_local() -> None:
    """Start Ray on this machine, for this process alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else each pool of workers that may be restarted is announced as an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(
        address="local",
        num_cpus=max(_LOCAL_CPUS, os.cpu_count() or 1),
        object_store_memory=_LOCAL_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )


@contextmanager
def silent() -> Iterator[None]:
    """Have Ray tell of errors alone, now and afterwards: a job shows its own progress."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def naming() -> Iterator[None]:
    """Turn a failure on a worker into ours: the worker's own, where it was one, else one line of it."""
    try:
        yield
    except RayError as error:
        ours = next((cause for cause in _causes(error) if isinstance(cause, ExpllmError)), None)
        if ours is not None:
            raise type(ours)(str(ours)) from error
        raise RunError(f"a worker failed: {_last_line(error)}; Ray's logs say more") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and cause not in seen:
            seen.append(cause)
            yield cause
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "cause", None)]


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
