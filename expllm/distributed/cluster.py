"""The Ray cluster of a job: the one it was submitted to, or one of its own on this machine."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import ray
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from expllm.config import MachinesConfig
from expllm.errors import CallerError, ExpllmError, RunError

_LOCAL_CPUS = 8
"""Logical CPUs declared on a smaller machine: pools that wait for one another's CPU would hang."""
_LOCAL_STORE_BYTES = 1024**3
_RESTARTS = 3
_FAILURES = (RayError, RuntimeError, TimeoutError)
"""What Ray itself raises: Ray Serve says RuntimeError, and both say TimeoutError."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def few_restarts() -> dict[str, int]:
    """Ray's arguments for a stage's processes: what ends them again and again ends the run, not in a loop."""
    return {"max_restarts": _RESTARTS, "max_task_retries": _RESTARTS}


def engine_environment(config: MachinesConfig) -> dict[str, str]:
    """What an engine is told: nothing is fetched, nothing is sent; on a CPU, all its cores compute.

    Left to itself vLLM computes in a process more, bound to all cores but one (docs/log.md).
    """
    cores = max(1, (os.cpu_count() or 1) // config.engine_workers)
    on_cpu = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": str(cores)}
    return _OFFLINE if config.engine_gpus else {**_OFFLINE, **on_cpu}


def prepare_engine_here(config: MachinesConfig) -> None:
    """Tell the same to an engine in this very process, and to speak of errors alone: it writes to stdout.

    Call it before vLLM is imported.
    """
    os.environ |= engine_environment(config)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


def engine_runtime_env(config: MachinesConfig) -> dict[str, dict[str, str]]:
    """Ray's runtime environment of an engine; what the job's own environment names stays as it is there."""
    # Ray refuses a variable that the job's environment names already, even with the same value.
    chosen = ray.get_runtime_context().runtime_env.get("env_vars", {})
    told = engine_environment(config).items()
    return {"env_vars": {name: value for name, value in told if name not in chosen}}


def check_holds(needed: Mapping[str, float], lower: str) -> None:
    """Refuse what would wait for ever for processors that the cluster does not have.

    Args:
        needed: How many of each of Ray's resources, CPU and GPU.
        lower: The settings that ask for them.
    """
    held = ray.cluster_resources()
    for kind, count in needed.items():
        if held.get(kind, 0) < count:
            raise CallerError(
                f"the configured workers need {count:g} {kind}, the cluster has {held.get(kind, 0):g}: "
                f"lower {lower}"
            )


@contextmanager
def connected() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS or an earlier `ray.init` names, else start a local one and end it.

    Raises:
        CallerError: there is no cluster at RAY_ADDRESS, or it cannot be joined.
    """
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        _join(os.environ["RAY_ADDRESS"])
    else:
        start_local()
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    try:
        ray.init(log_to_driver=False, logging_level="ERROR")
    except (*_FAILURES, ConnectionError, ValueError) as error:
        reason = _last_line(error)
        raise CallerError(f"RAY_ADDRESS {address}: cannot be joined ({reason}); mend or unset it") from error


def start_local() -> None:
    """Start Ray on this machine, for this process alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else each pool of workers that may be restarted is announced as an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with _closed_stderr():  # where Ray's core says that it has heard so
        ray.init(
            address="local",
            num_cpus=max(_LOCAL_CPUS, os.cpu_count() or 1),
            object_store_memory=_LOCAL_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )


@contextmanager
def _closed_stderr() -> Iterator[None]:
    """Drop what this process's compiled code writes to stderr; Python's exceptions pass."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def silent() -> Iterator[None]:
    """Have Ray tell of errors alone, now and afterwards: a job shows its own progress."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RayDeprecationWarning)
            yield
    finally:
        logging.disable(logging.NOTSET)
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def naming(*failures: type[Exception]) -> Iterator[None]:
    """Turn a failure on a worker into ours: the worker's own, where it was one, else one line of it.

    Args:
        failures: What else the part of Ray in use raises; Ray Train's error is none of Ray's others.
    """
    try:
        yield
    except (*_FAILURES, *failures) as error:
        ours = next((cause for cause in _causes(error) if isinstance(cause, ExpllmError)), None)
        if ours is not None:
            raise type(ours)(str(ours)) from error
        raise RunError(f"a worker failed: {_last_line(error)}; Ray's logs say more") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and cause not in seen:
            seen.append(cause)
            yield cause
            waiting += [cause.__cause__, cause.__context__, *_held(cause)]


def _held(error: BaseException) -> Iterator[object]:
    """What an error of Ray's carries as attributes: a worker's error, or the error of each worker."""
    for value in vars(error).values():
        yield from value.values() if isinstance(value, dict) else (value,)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
