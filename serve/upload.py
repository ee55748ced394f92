"""An HTTP request -> the bytes of its photograph, held in memory and never in a file."""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from fastapi import HTTPException, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serve.api import MAX_BODY_BYTES, PhotoRequest

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class BodyLimit:
    """Ends a request whose body is larger than MAX_BODY_BYTES, whatever its header says."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        """Pass a request on, counting its bytes as they come."""
        taken = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY_BYTES:
                raise HTTPException(413, f"the request is larger than {MAX_BODY_BYTES} bytes")
            return message

        await self._app(scope, counted, send)


class _InMemory(MultiPartParser):
    """Starlette's parser writes a file above 1 MB to the disk; this one none that BodyLimit lets pass."""

    spool_max_size = MAX_BODY_BYTES


async def photograph(request: Request) -> bytes:
    """The photograph that a request carries: the multipart file `photo`, or JSON with `photo_base64`.

    Raises:
        HTTPException: 400, the request has neither.
    """
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("application/json"):
        return await _of_json(request)
    if not kind.startswith("multipart/form-data"):
        raise _not_a_form()
    form = await _form(request)
    try:
        photo = form.get("photo")
        if not isinstance(photo, UploadFile):
            raise _not_a_form()
        return await photo.read()
    finally:
        await form.close()


async def _of_json(request: Request) -> bytes:
    try:
        return PhotoRequest.model_validate_json(await request.body()).photo()
    except ValueError as error:
        raise HTTPException(400, "send JSON with one field, photo_base64: the photograph's bytes") from error


async def _form(request: Request) -> FormData:
    async with aclosing(request.stream()) as stream:
        try:
            return await _InMemory(request.headers, stream, max_files=1, max_fields=1).parse()
        except MultiPartException as error:
            raise _not_a_form() from error


def _not_a_form() -> HTTPException:
    return HTTPException(400, "send the photograph as the multipart file field `photo`")
