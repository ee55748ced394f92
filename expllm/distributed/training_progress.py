"""What a training's workers report -> plain lines on the driver's stderr."""

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.train import UserCallback

from expllm.train_config import TrainConfig

_EVERY_S = 10.0
_ANSWER_TIMEOUT_S = 5.0


@ray.remote(num_cpus=0)
class _Newest:
    """Holds the newest report: Ray Train's controller puts it here, the driver takes it."""

    def __init__(self) -> None:
        self._report: dict[str, Any] = {}

    def put(self, report: dict[str, Any]) -> None:
        self._report = report

    def get(self) -> dict[str, Any]:
        return self._report


class _Forward(UserCallback):
    """Called in Ray Train's controller, whose output nobody sees."""

    def __init__(self, newest: ActorHandle) -> None:
        self._newest = newest

    def after_report(self, run_context: object, metrics: list[dict[str, Any]], checkpoint: object) -> None:
        self._newest.put.remote(metrics[0])


@contextmanager
def shown(config: TrainConfig) -> Iterator[UserCallback]:
    """Show how far the training is while it goes on; it must be given the callback that this yields."""
    newest = _Newest.remote()
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(newest, config, done), daemon=True)
    thread.start()
    try:
        yield _Forward(newest)
    finally:
        done.set()
        thread.join()


def _show(newest: ActorHandle, config: TrainConfig, done: threading.Event) -> None:
    is_over = False
    while not is_over:
        is_over = done.wait(_EVERY_S)
        try:
            report = ray.get(newest.get.remote(), timeout=_ANSWER_TIMEOUT_S)
        except RayError:  # what is wrong the training itself will say
            continue
        if report or not is_over:
            sys.stderr.write(line(report, config) + "\n")
            sys.stderr.flush()


def line(report: Mapping[str, Any], config: TrainConfig) -> str:
    """`12 of 500 steps, loss 2.310, 0:04:04 left`; before the first report, what is waited for."""
    if not report:
        return f"waiting for {config.workers} workers to begin"
    step, steps = report["step"], report["steps"]
    left = timedelta(seconds=int(report["elapsed_s"] / step * (steps - step)))
    return f"{step} of {steps} steps, loss {report['loss']:.3f}, {left} left"
