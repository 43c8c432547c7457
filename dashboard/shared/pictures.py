"""Photos on a page: choosing one, checking it once, and drawing what was found."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import streamlit as st

from core.config.settings import Settings
from core.domain.recognition import FaceResult, IdentifyResult, VerifyOptions
from core.domain.search import Decision
from core.services.service import RobiService

_WIDEST = 1280
_COLOUR: Mapping[Decision, str] = MappingProxyType(
    {Decision.MATCH: "#1f9d4d", Decision.REVIEW: "#d98e1f", Decision.UNKNOWN: "#78849a"}
)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo chosen by the operator; `id` is new for every choice."""

    id: str
    data: bytes


def one_photo(key: str, settings: Settings) -> Photo | None:
    """Upload a photo or take one; None until there is one."""
    how = st.segmented_control(
        "Photo from",
        ["Upload", "Camera"],
        default="Upload",
        required=True,
        key=f"{key}_photo_from",
        label_visibility="collapsed",
    )
    if how == "Camera":
        file = st.camera_input("Take a photo", key=f"{key}_shot")
    else:
        # Any file may be chosen: a wrong one is refused in words that say what to do.
        file = st.file_uploader(
            "Choose a photo", key=f"{key}_file", max_upload_size=settings.robi_max_upload_mb
        )
    return Photo(file.file_id, file.getvalue()) if file else None


def check(service: RobiService, photo: Photo, options: VerifyOptions) -> IdentifyResult:
    """Check a photo, once for the same options: drawing the page again puts nothing more on record.

    The photo is checked again when the tuning has changed: the page shows the present threshold beside the
    answer. Its faces are searched for again when somebody who was proposed has been erased.
    """
    known: tuple[object, IdentifyResult] | None = st.session_state.get("checked_photo")
    wanted = (photo.id, options, service.tuning.now)
    if known and known[0] == wanted:
        result = _as_now(service, known[1], options)
    else:
        result = _check(service, photo.data, options)
    st.session_state["checked_photo"] = (wanted, result)
    return result


def _as_now(service: RobiService, kept: IdentifyResult, options: VerifyOptions) -> IdentifyResult:
    searches = service.matching.as_named_now([found.search for found in kept.faces])
    if searches is None:
        searches = service.matching.recognise([found.face for found in kept.faces], options)
    faces = zip(kept.faces, searches, strict=True)
    return replace(kept, faces=tuple(replace(found, search=search) for found, search in faces))


def _check(service: RobiService, data: bytes, options: VerifyOptions) -> IdentifyResult:
    how, top_k, limit = options.strategy, options.top_k, options.threshold
    if options.user_id is None:
        return service.recognition.identify(data, strategy=how, top_k=top_k, threshold=limit, via="photo")
    one = service.recognition.verify(
        data, user_id=options.user_id, strategy=how, top_k=top_k, threshold=limit, via="photo"
    )
    face = FaceResult(one.face, one.search)
    return IdentifyResult((face,), one.latency_ms, one.faces - 1, one.warnings)


def annotated(service: RobiService, data: bytes, faces: Sequence[FaceResult]) -> bytes:
    """The photo as JPEG with a numbered box around each face, coloured by its decision."""
    picture = PIL.Image.fromarray(service.pictures.decode(data)[:, :, ::-1].copy())
    scale = min(1.0, _WIDEST / picture.width)
    if scale < 1:
        picture = picture.resize((_WIDEST, round(picture.height * scale)))
    pen = PIL.ImageDraw.Draw(picture)
    line = max(3, picture.width // 250)
    font = PIL.ImageFont.load_default(max(16, picture.width // 40))
    for number, result in enumerate(faces, start=1):
        _draw(pen, result, scale, line, font, str(number) if len(faces) > 1 else "")
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return out.getvalue()


def _draw(
    pen: PIL.ImageDraw.ImageDraw,
    result: FaceResult,
    scale: float,
    line: int,
    font: PIL.ImageFont.ImageFont | PIL.ImageFont.FreeTypeFont,
    number: str,
) -> None:
    box = result.face.box
    x1, y1, x2, y2 = (value * scale for value in (box.x1, box.y1, box.x2, box.y2))
    colour = _COLOUR[result.search.decision]
    pen.rounded_rectangle((x1 - 2, y1 - 2, x2 + 2, y2 + 2), radius=8, outline="white", width=line + 4)
    pen.rounded_rectangle((x1, y1, x2, y2), radius=6, outline=colour, width=line)
    if number:
        left, top, right, bottom = pen.textbbox((x1 + 8, y1 + 6), number, font=font)
        pen.rectangle((left - 6, top - 6, right + 6, bottom + 6), fill=colour)
        pen.text((x1 + 8, y1 + 6), number, fill="white", font=font)
