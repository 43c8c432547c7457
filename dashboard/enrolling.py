"""The photos of the person being enrolled: captured live, taken one by one, or uploaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.typing import UploadedFile

from core.errors import RobiError
from core.live import EnrollLive, LiveSessions
from core.service import RobiService
from core.types import Candidate, EnrollResult, PhotoVerdict

_SHOTS, _FILES, _TOKEN, _ROUND = "enroll_shots", "enroll_files", "enroll_token", "enroll_round"


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """A photo with its verdict, or with the `problem` that kept it from being looked at."""

    id: str
    photo: str
    origin: str  # "live", "shot" or "file"
    verdict: PhotoVerdict | None = None
    problem: RobiError | None = None

    @property
    def usable(self) -> bool:
        return bool(self.verdict and self.verdict.face)


def live_session(live: LiveSessions) -> EnrollLive:
    """This tab's capturing session; a new one when the old one has expired."""
    session = live.get(st.session_state.get(_TOKEN, ""))
    if not isinstance(session, EnrollLive):
        session = live.open_enroll()
        st.session_state[_TOKEN] = session.token
    return session


def round_number() -> int:
    """Changes with every person, so that file inputs begin empty."""
    return int(st.session_state.setdefault(_ROUND, 0))


def add_shot(service: RobiService, file: UploadedFile | None) -> None:
    """Look at a newly taken photo; every shot is kept until it is removed."""
    shots: dict[str, Collected] = st.session_state.setdefault(_SHOTS, {})
    seen: set[str] = st.session_state.setdefault("enroll_shots_seen", set())
    if file is not None and file.file_id not in seen:
        seen.add(file.file_id)
        shots[file.file_id] = _inspect(service, file, f"Photo {len(seen)}", "shot")


def set_files(service: RobiService, files: Sequence[UploadedFile]) -> None:
    """Look at files that were not looked at before, and forget those taken away."""
    known: dict[str, Collected] = st.session_state.get(_FILES, {})
    st.session_state[_FILES] = {
        file.file_id: known.get(file.file_id) or _inspect(service, file, file.name, "file") for file in files
    }


def collected(live: LiveSessions, origin: str) -> tuple[Collected, ...]:
    """The photos of one source. They are kept apart, for the camera may see somebody else."""
    if origin == "shot":
        return tuple(st.session_state.get(_SHOTS, {}).values())
    if origin == "file":
        return tuple(st.session_state.get(_FILES, {}).values())
    session = live.get(st.session_state.get(_TOKEN, ""))
    samples = session.snapshot().samples if isinstance(session, EnrollLive) else ()
    return tuple(Collected(f"live-{v.photo}", v.photo, "live", v) for v in samples)


def remove(live: LiveSessions, item: Collected) -> None:
    """Drop a photo that the camera took; files are taken away in the file input."""
    session = live.get(st.session_state.get(_TOKEN, ""))
    if item.origin == "shot":
        st.session_state[_SHOTS].pop(item.id, None)
    elif isinstance(session, EnrollLive):
        for index, verdict in enumerate(session.snapshot().samples):
            if verdict.photo == item.photo:
                session.remove(index)


def reset(live: LiveSessions) -> None:
    """Begin with the next person."""
    token = st.session_state.pop(_TOKEN, None)
    if token:
        live.close(token)
    for key in (_SHOTS, _FILES, "enroll_shots_seen", "enroll_done", "enroll_twin"):
        st.session_state.pop(key, None)
    st.session_state[_ROUND] = round_number() + 1


def twin(service: RobiService, photos: Sequence[Collected], user_id: str | None) -> Candidate | None:
    """Who these photos are enrolled as already; searched again only when the photos change."""
    faces = [item.verdict.face for item in photos if item.verdict and item.verdict.face]
    asked = (tuple(item.id for item in photos if item.usable), user_id)
    known = st.session_state.get("enroll_twin")
    if known and known[0] == asked:
        return known[1]  # type: ignore[no-any-return]
    found = service.duplicate_of(faces, user_id)
    st.session_state["enroll_twin"] = (asked, found)
    return found


def save(
    service: RobiService,
    photos: Sequence[Collected],
    user_id: str,
    name: str | None,
    *,
    add_to_existing: bool = False,
    allow_duplicate: bool = False,
) -> EnrollResult:
    """Enroll all photos; raises what `RobiService.enroll_verdicts` raises."""
    verdicts = [item.verdict for item in photos if item.verdict]
    via = "webcam" if any(item.origin != "file" and item.usable for item in photos) else "upload"
    return service.enroll_verdicts(
        user_id,
        name,
        verdicts,
        add_to_existing=add_to_existing,
        allow_duplicate=allow_duplicate,
        via=via,
    )


def _inspect(service: RobiService, file: UploadedFile, photo: str, origin: str) -> Collected:
    try:
        return Collected(file.file_id, photo, origin, verdict=service.inspect(photo, file.getvalue()))
    except RobiError as problem:
        return Collected(file.file_id, photo, origin, problem=problem)
