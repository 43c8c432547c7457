"""Multipart bodies, read into memory with every part counted while it arrives; nothing touches the disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from api.backend import backend_of
from api.errors import Refused, bad_field
from core.errors import BadInput, RobiError, TooLarge
from core.inputs import MAX_PHOTOS

_MAX_FIELDS = 20
_MAX_TEXT = 32_000  # bytes of one text field; metadata are the longest


class UploadRoute(APIRoute):
    """A route whose form is read by this module: capped, and with exactly the fields the route names.

    A field that is unknown or empty is refused. Ignoring a mistyped `user_id` would turn "is this Ana?" into
    "is this anybody?".
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        fields = [param.alias for param in self.dependant.body_params]

        async def handle_upload(request: Request) -> Response:
            return await handle(_UploadRequest(request, fields))

        return handle_upload


class _UploadRequest(Request):
    def __init__(self, request: Request, fields: Collection[str]) -> None:
        super().__init__(request.scope, request.receive)
        self._fields = fields

    async def form(self, **_: Any) -> FormData:  # type: ignore[override]  # FastAPI only ever awaits it
        limit = backend_of(self).settings.robi_max_upload_mb * 1_000_000
        try:
            form = await self._read(limit)
            if problem := self._fault(form):
                await form.close()
                raise problem
        except RobiError as problem:
            raise Refused(problem) from None
        return form

    async def _read(self, limit: int) -> FormData:
        if not self.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise BadInput(
                "bad_parameter",
                "The body must be multipart/form-data.",
                "With curl: -F image=@photo.jpg",
            )
        try:
            return await _Parser(self, limit).parse()
        except MultiPartException:
            raise BadInput(
                "bad_parameter", "The multipart body is damaged.", "See /api/v1/docs for an example."
            ) from None

    def _fault(self, form: FormData) -> RobiError | None:
        for field, value in form.multi_items():
            if field not in self._fields:
                return BadInput(
                    "bad_parameter",
                    "The form has a field that this call does not know.",
                    f"It takes {', '.join(self._fields)}.",
                )
            if value == "":
                return bad_field(field, f"{field} is empty.", "Give a value, or leave the field out.")
        return None


class _Parser(MultiPartParser):
    spool_max_size = 0  # never roll over to a file: photos of faces must not lie in a temporary directory

    def __init__(self, request: Request, limit: int) -> None:
        super().__init__(
            request.headers,
            request.stream(),
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_TEXT,
        )
        self._limit = limit
        self._size = 0
        self._files = 0

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._charset = "utf-8"  # whatever the sender claims: some codecs make half characters
        self._size = 0

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        self._files += self._current_part.file is not None
        if self._files > MAX_PHOTOS:
            raise TooLarge(
                "too_many_images", f"More than {MAX_PHOTOS} images were sent.", "Send the best ones."
            )

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._current_part.file is not None and self._size > self._limit:
            raise TooLarge(
                "image_too_large",
                f"An image is larger than {self._limit // 1_000_000} MB.",
                "Send a smaller image.",
            )
        super().on_part_data(data, start, end)
