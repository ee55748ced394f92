"""Which checkpoint answers now: what is promoted under a service's name is taken in while it runs."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Self

import numpy as np
from ray.exceptions import RayError, RayTaskError
from ray.serve.handle import DeploymentHandle

from expllm import promoted
from expllm.distributed.serve_engine import ask
from expllm.errors import ExpllmError
from expllm.models.architecture import ExpllmConfig, feature_width, num_image_tokens
from expllm.models.checkpoint import fixed, resolve

_log = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Answering:
    """The model that one photograph is answered by, from its first face to its last."""

    model: str
    """Its folder, or a bundled name."""
    model_id: str
    temperature: float

    @classmethod
    def of(cls, model: str) -> Self:
        """What a model's name or folder stands for now."""
        lasting = fixed(model)
        checkpoint = resolve(lasting)
        return cls(lasting, checkpoint.model_id, checkpoint.temperature)


class Current:
    """The model that answers; where a name is watched, another one soon after it was promoted.

    It changes only to what the running engine can answer for, and has once: a model that differs from the
    engine's in an adapter. For another one the service has to be started again: it goes on as it was and says
    so in the log.
    """

    def __init__(
        self, model: str, watched: str | None, engine: DeploymentHandle, *, look_every_s: float = 5.0
    ) -> None:
        self._answering = Answering.of(model)
        self._watched, self._engine = watched, engine
        self._refused: str | None = None
        self._look_every_s, self._next_look_s = look_every_s, 0.0
        self._look: asyncio.Task[None] | None = None

    def now(self) -> Answering:
        """The model for the next photograph; whether there is another one is found out beside it."""
        if self._watched is not None and time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + self._look_every_s
            if self._look is None or self._look.done():
                self._look = asyncio.create_task(self._change(self._watched))
        return self._answering

    async def _change(self, name: str) -> None:
        try:
            promotion = promoted.find(name)
            if promotion is None or promotion.model_id in (self._answering.model_id, self._refused):
                return
            self._refused = promotion.model_id
            found, features = await asyncio.to_thread(_found, name)
            await ask(self._engine, features, None, found.model_id, found.model)
        except (ExpllmError, RayError) as error:
            _log.warning("%s goes on as %s: %s", name, self._answering.model_id, error)
            if isinstance(error, RayError) and not isinstance(error, RayTaskError):
                self._refused = None  # the engine was away: the next look tries again
            return
        self._answering, self._refused = found, None
        _log.info("%s is now %s", name, found.model_id)


def _found(name: str) -> tuple[Answering, np.ndarray]:
    """What a name stands for now, and features of nothing in its shape to try it with."""
    found = Answering.of(name)
    config = ExpllmConfig.from_pretrained(resolve(found.model).path)
    return found, np.zeros((num_image_tokens(config), feature_width(config)), np.float16)
