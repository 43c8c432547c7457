"""Multipart bodies, read into memory with every part counted while it arrives; nothing touches the disk."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from fastapi import Request, Response, UploadFile
from fastapi.routing import APIRoute
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from api.backend import backend_of
from api.errors import Refused, bad_field
from core.domain.errors import BadInput, RobiError, TooLarge
from core.domain.validation import MAX_PHOTOS

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it would log every damaged body

_MAX_FIELDS = 20
_MAX_TEXT = 32_000  # bytes of one text field; metadata are the longest


class UploadRoute(APIRoute):
    """A route whose form is read by this module: capped, and with exactly the fields the route names.

    A field that is unknown, empty or there twice is refused. Ignoring a mistyped `user_id` would turn
    "is this Ana?" into "is this anybody?", and of two `image` parts only one would be judged.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        fields = {param.alias: _Field.of(param.field_info.annotation) for param in self.dependant.body_params}

        async def handle_upload(request: Request) -> Response:
            return await handle(_UploadRequest(request, fields))

        return handle_upload


@dataclass(frozen=True, slots=True)
class _Field:
    file: bool
    many: bool

    @classmethod
    def of(cls, annotation: Any) -> _Field:
        many = get_origin(annotation) is list
        return cls(UploadFile in (get_args(annotation) if many else (annotation,)), many)


class _UploadRequest(Request):
    def __init__(self, request: Request, fields: Mapping[str, _Field]) -> None:
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
            files = [name for name, field in self._fields.items() if field.file]
            return await _Parser(self, limit, files).parse()
        except MultiPartException:
            raise BadInput(
                "bad_parameter", "The multipart body is damaged.", "See /api/v1/docs for an example."
            ) from None

    def _fault(self, form: FormData) -> RobiError | None:
        times = Counter(field for field, _ in form.multi_items())
        for field, value in form.multi_items():
            known = self._fields.get(field)
            if known is None:
                return BadInput(
                    "bad_parameter",
                    "The form has a field that this call does not know.",
                    f"It takes {', '.join(self._fields)}.",
                )
            if times[field] > 1 and not known.many:
                return bad_field(field, f"{field} was sent {times[field]} times.", "Send it once.")
            if not isinstance(value, str) and not known.file:
                return bad_field(
                    field, f"{field} was sent as a file.", "Send it as text, without a filename."
                )
            if value == "" or (isinstance(value, UploadFile) and not value.filename and not value.size):
                return bad_field(field, f"{field} is empty.", "Give a value, or leave the field out.")
        return None


class _Parser(MultiPartParser):
    spool_max_size = 0  # never roll over to a file: photos of faces must not lie in a temporary directory

    def __init__(self, request: Request, limit: int, photos: Collection[str]) -> None:
        super().__init__(
            request.headers,
            request.stream(),
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_TEXT,
        )
        self._limit = limit
        self._photos = {name.encode() for name in photos}
        self._size = 0
        self._files = 0

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._charset = "utf-8"  # whatever the sender claims: some codecs make half characters
        self._size = 0

    def on_headers_finished(self) -> None:
        # A photo is a file however the client names the part: some send no filename, others only `filename*`,
        # which RFC 7578 forbids and the parser leaves out.
        said = self._current_part.content_disposition or b""
        _, options = parse_options_header(said)
        if options.get(b"name") in self._photos and b"filename" not in options:
            self._current_part.content_disposition = said + b'; filename=""'
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
