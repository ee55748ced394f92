"""The HTTP application on Ray Serve: one photograph in, its explained faces out."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from ray import serve
from ray.serve.handle import DeploymentHandle

from expllm.config import ServiceConfig
from expllm.distributed.serve_engine import ask, engine
from expllm.errors import Outcome, Reject, RunError
from expllm.facs import Intensities
from expllm.labels import Row, label_face
from expllm.models.checkpoint import resolve
from expllm.models.encoder import Encoder
from expllm.models.face_reader import FaceReader, ReadFace
from expllm.photographs import photo_id
from expllm.prompt import prompt_id
from serve.api import Answer
from serve.current import Answering, Current
from serve.keys import is_allowed
from serve.upload import BodyLimit, photograph

Seen = list[tuple[dict[str, Any], np.ndarray]] | Reject
"""A photograph's faces, known columns and features of each, or why it cannot be used."""

_READER_CPUS = 0.5


@serve.deployment
class Reader:
    """Reads photographs and encodes their faces."""

    def __init__(self, config: ServiceConfig) -> None:
        checkpoint = resolve(config.model)
        self._faces = FaceReader(config.decode_timeout_s, checkpoint.preprocessing.cut)
        self._encoder = Encoder(checkpoint, config.encoder_device)

    def read(self, data: bytes) -> Seen:
        """The faces of one photograph, from the left."""
        (found,) = self._faces.read([data])
        if isinstance(found, Reject) or not found:
            return found if isinstance(found, Reject) else []
        features, joined = self._encoder.read(*_crops_and_movements(found))
        columns = [{**face.columns, "action_units": units} for face, units in zip(found, joined, strict=True)]
        return list(zip(columns, features, strict=True))


def _crops_and_movements(found: list[ReadFace]) -> tuple[np.ndarray, list[Intensities]]:
    return np.stack([face.crop for face in found]), [face.columns["action_units"] for face in found]


api = FastAPI(title="expllm", description="Reads the facial expression of people in photographs.")
api.add_middleware(BodyLimit)


# Serve copies what the class below uses as it stands here: all of that is above.
@serve.deployment(ray_actor_options={"num_cpus": 0.25})
@serve.ingress(api)
class Expressions:
    """The routes, and the way of a photograph through reader, engine and labels."""

    def __init__(
        self,
        config: ServiceConfig,
        key_digests: Sequence[str],
        reader: DeploymentHandle,
        watched: str | None,
    ) -> None:
        self._config = config
        self._key_digests = key_digests
        self._reader = reader
        self._engine = engine()
        self._current = Current(config.model, watched, self._engine)

    @api.post("/v1/expressions", response_model=Answer)
    async def expressions(self, request: Request) -> Response:
        """Label the faces of one photograph: the multipart file `photo`, or JSON with `photo_base64`."""
        if not is_allowed(request.headers.get("authorization"), self._key_digests):
            raise HTTPException(401, "give a valid API key: Authorization: Bearer KEY")
        answer = await self._answer(await photograph(request))
        return JSONResponse(answer.model_dump(), 422 if answer.outcome == Outcome.REJECTED else 200)

    async def _answer(self, data: bytes) -> Answer:
        seen: Seen = await self._reader.read.remote(data)
        unusable, faces = (seen, []) if isinstance(seen, Reject) else (None, seen)
        answering = self._current.now()
        return Answer.of(
            await asyncio.gather(*(self._label(*face, answering) for face in faces)),
            unusable,
            photo_id=photo_id(data),
            model_id=answering.model_id,
            prompt_id=prompt_id(hints=self._config.hints),
        )

    async def _label(self, columns: dict[str, Any], features: np.ndarray, answering: Answering) -> Row:
        hints = columns["action_units"] if self._config.hints else None
        try:
            answer = await ask(self._engine, features, hints, answering.model_id, answering.model)
        except RunError as error:
            raise HTTPException(503, str(error)) from error
        return label_face(columns, answer, temperature=answering.temperature)


def build(
    config: ServiceConfig, key_digests: Sequence[str] = (), *, watched: str | None = None
) -> serve.Application:
    """Put the application together as a configuration says; it asks the engine that runs beside it.

    Args:
        watched: A name: what is promoted under it later answers, where the engine can take it in.
    """
    options = {"num_cpus": _READER_CPUS, "num_gpus": config.encoder_gpus}
    reader = Reader.options(num_replicas=config.reader_replicas, ray_actor_options=options).bind(config)
    return Expressions.bind(config, list(key_digests), reader, watched)
