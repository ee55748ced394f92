"""What fails in Ray ends as one line; nothing here starts Ray."""

import os
import subprocess
import sys

import pytest
from ray.exceptions import RayActorError
from ray.train import ControllerError, TrainingFailedError, WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from expllm.distributed import cluster
from expllm.errors import CallerError, RunError

TRACEBACK = "Traceback (most recent call last):\n  File 'loop.py'\nValueError: no numbers"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (WorkerGroupError("see below", {0: UserExceptionWithTraceback(ValueError(), TRACEBACK)}), "below"),
        (ControllerError(UserExceptionWithTraceback(ValueError(), TRACEBACK)), "no numbers"),
        (RuntimeError("Deploying application expllm failed:\nno such file"), "no such file"),
        (TimeoutError(), "TimeoutError"),
        (RayActorError(), "actor"),
    ],
)
def test_a_failure_of_rays_is_one_line(error: Exception, told: str) -> None:
    with pytest.raises(RunError, match=told) as ended, cluster.naming(TrainingFailedError):
        raise error
    assert "\n" not in str(ended.value)


def test_a_training_workers_own_error_is_found() -> None:
    ours = UserExceptionWithTraceback(CallerError("a wrong setting"), TRACEBACK)
    with pytest.raises(CallerError, match=r"^a wrong setting$"), cluster.naming(TrainingFailedError):
        raise WorkerGroupError("worker 1 failed", {0: ValueError("dragged along"), 1: ours})


def test_a_mistake_of_our_own_code_keeps_its_traceback() -> None:
    with pytest.raises(KeyError), cluster.naming():
        raise KeyError("column")


def test_an_address_without_a_cluster_is_named() -> None:
    # A process of its own: in this one other tests may hold a cluster, which would be joined.
    asked = subprocess.run(
        [sys.executable, "-c", "from expllm.distributed import cluster\nwith cluster.connected(): pass"],
        env={**os.environ, "RAY_ADDRESS": "nowhere:no-port"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.stderr.splitlines()[-1].startswith(
        "expllm.errors.CallerError: RAY_ADDRESS nowhere:no-port: cannot be joined"
    )
