"""Enrolling on a page, apart from how it is drawn: the draft of this tab, its photos, and saving them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.typing import UploadedFile

from core.domain.errors import BadInput, NotFound, RobiError, Unusable
from core.domain.people import EnrollResult, Person
from core.domain.search import Candidate
from core.domain.validation import MAX_PHOTOS, label
from core.live import EnrollLive, LiveSessions
from core.services.service import RobiService
from dashboard.shared import resources, widgets, words
from dashboard.shared.drafts import Collected, Draft

PLACE, CAMERA = "enroll", "enroll_camera"  # where problems are shown
NAME, ID = "enroll_name", "enroll_id"  # of the fields; see `field`
DONE, ADDING = "enroll_done", "enroll_adding"
_DRAFTS, _ROUND, _TWIN = "enroll_drafts", "enroll_round", "enroll_twin"
_FIELDS = "enroll_fields"


# ---------------------------------------------------------------- the draft


def open_draft(tab: str, target: str) -> Draft:
    """This tab's draft for one person, or for a new one without `target`; the fields are filled from it."""
    mine: dict[str, Draft] = st.session_state.setdefault(_DRAFTS, {})
    draft = mine.get(target)
    if tab and (draft is None or draft.empty):
        draft = resources.get().drafts.get(_key(tab, target)) or draft
    draft = mine[target] = draft or Draft()
    for key, value in ((field(NAME), draft.name), (field(ID), draft.user_id)):
        if value and not st.session_state.get(key):
            st.session_state[key] = value
    return draft


def field(name: str) -> str:
    """The widget key of a field: new after a discard, or the browser would send the old text again."""
    discarded = st.session_state.get(_FIELDS, 0)
    return f"{name}_{discarded}" if discarded else name


def typed(name: str) -> str:
    """What stands in a field."""
    return str(st.session_state.get(field(name)) or "")


def is_open(draft: Draft, target: str) -> bool:
    """Whether this is still the draft of the page, and none was discarded or begun since."""
    return st.session_state.get(_DRAFTS, {}).get(target) is draft


def keep_draft(tab: str, target: str, draft: Draft) -> None:
    """Note what stands in the fields, and keep it all for when the page is loaded anew."""
    draft.name, draft.user_id = typed(NAME), typed(ID)
    if tab and not draft.empty:
        resources.get().drafts.keep(_key(tab, target), draft)


def discard(tab: str, target: str) -> None:
    """Forget all that was put in, and begin with the next person."""
    shared = resources.get()
    draft = st.session_state.get(_DRAFTS, {}).pop(target, None)
    if draft is not None:
        shared.live.close(draft.token)
    shared.drafts.drop(_key(tab, target))
    for key in (DONE, ADDING, _TWIN):
        st.session_state.pop(key, None)
    st.session_state[_FIELDS] = st.session_state.get(_FIELDS, 0) + 1
    for place in (PLACE, CAMERA):
        widgets.forget_problem(place)
    st.session_state[_ROUND] = round_number() + 1


def _key(tab: str, target: str) -> str:
    return f"{tab}/{target}"


def round_number() -> int:
    """Part of the keys of file inputs: it changes once their photos are in the draft, so that they empty."""
    return int(st.session_state.setdefault(_ROUND, 0))


# ---------------------------------------------------------------- photos


def live_session(live: LiveSessions, draft: Draft) -> EnrollLive:
    """This tab's capturing session; a new one, with the photos so far, when the old one has expired."""
    session = live.get(draft.token)
    if not isinstance(session, EnrollLive):
        session = live.open_enroll(draft.samples)
        draft.token = session.token
    return session


def look_at_camera(live: LiveSessions, draft: Draft) -> None:
    """Take over what the camera took: the draft outlives its session."""
    session = live.get(draft.token)
    if isinstance(session, EnrollLive):
        session.snapshot()  # a session that nobody looks at is closed
        draft.samples = session.samples


def take_photo(session: EnrollLive) -> None:
    """Take a photo of who is in view. With nobody there it says so, and takes none of whoever comes next."""
    why_not = session.cannot_take()
    widgets.forget_problem(CAMERA)
    if why_not is None:
        session.capture()
    else:
        widgets.keep_problem(CAMERA, Unusable("no_usable_photo", "No photo was taken.", why_not))


def add(service: RobiService, draft: Draft, source: str, files: Sequence[UploadedFile]) -> bool:
    """Look at new photos and keep them; whether there were any."""
    if not files:
        return False
    photos = draft.shots if source == "shot" else draft.files
    room = MAX_PHOTOS - len(photos)
    for file in files[:room]:
        draft.number += 1
        named = f"Photo {draft.number}" if source == "shot" else label(file.name, "photo")
        item = _inspect(service, file, named)
        photos[item.id] = item
    widgets.forget_problem(PLACE)
    if len(files) > room:
        problem = BadInput(
            "too_many_images", f"At most {MAX_PHOTOS} photos are used.", "Remove those you do not need."
        )
        widgets.keep_problem(PLACE, problem)
    st.session_state[_ROUND] = round_number() + 1
    return True


def remove(live: LiveSessions, draft: Draft, item: Collected) -> None:
    draft.shots.pop(item.id, None)
    draft.files.pop(item.id, None)
    session = live.get(draft.token)
    kept = tuple(sample for sample in draft.samples if sample.verdict is not item.verdict)
    if isinstance(session, EnrollLive) and len(kept) < len(draft.samples):
        session.drop(item.photo)
    draft.samples = kept
    widgets.forget_problem(PLACE)


def _inspect(service: RobiService, file: UploadedFile, photo: str) -> Collected:
    try:
        return Collected(file.file_id, photo, verdict=service.pictures.inspect(photo, file.getvalue()))
    except RobiError as problem:
        return Collected(file.file_id, photo, problem=problem)


# ---------------------------------------------------------------- looking at them together


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """Photos compared with each other."""

    people: int  # how many people the usable photos show
    strangers: frozenset[str]  # ids of photos that show somebody else than most do
    twice: frozenset[str]  # ids of photos that are an earlier one once more
    good: tuple[Collected, ...]  # those that will be saved


def look_together(service: RobiService, photos: Sequence[Collected]) -> Together:
    usable = [item for item in photos if item.usable]
    found = service.enrollment.compare_photos(
        [item.verdict.face for item in usable if item.verdict and item.verdict.face]
    )
    strangers = frozenset(item.id for item, is_of in zip(usable, found.belongs, strict=True) if not is_of)
    twice = frozenset(item.id for item, is_new in zip(usable, found.new, strict=True) if not is_new)
    good = tuple(item for item in usable if item.id not in strangers | twice)
    return Together(found.people, strangers, twice, good)


def twin(service: RobiService, photos: Sequence[Collected], user_id: str | None) -> Candidate | None:
    """The enrolled person whom these photos show, if any.

    Searched for only when the photos have changed, or when the person found before has been erased.
    """
    faces = [item.verdict.face for item in photos if item.verdict and item.verdict.face]
    asked = (tuple(item.id for item in photos), user_id)
    known = st.session_state.get(_TWIN)
    if known and known[0] == asked and (known[1] is None or person(service, known[1].user_id)):
        return known[1]  # type: ignore[no-any-return]
    found = service.duplicates.find(faces, user_id)
    st.session_state[_TWIN] = (asked, found)
    return found


def person(service: RobiService, user_id: str | None) -> Person | None:
    """Who has this ID; None when nobody has."""
    try:
        return service.people.person(user_id) if user_id else None
    except NotFound:
        return None


# ---------------------------------------------------------------- saving


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """What a button will save, fixed when it is drawn: pressing it saves what was on the screen."""

    tab: str
    target: str  # of the draft
    photos: tuple[Collected, ...]
    via: str
    user_id: str
    name: str
    add_to_existing: bool
    allow_duplicate: bool = False


def save(wish: Wish) -> None:
    """Enroll; the draft is dropped when that succeeds and kept when it fails."""
    result = widgets.attempt(PLACE, lambda: _save(resources.get().service, wish))
    if result is not None:
        discard(wish.tab, wish.target)
        st.session_state[DONE] = result


def _save(service: RobiService, wish: Wish) -> EnrollResult:
    try:
        return service.enrollment.enroll_verdicts(
            wish.user_id,
            None if wish.add_to_existing else wish.name,
            [item.verdict for item in wish.photos if item.verdict],
            add_to_existing=wish.add_to_existing,
            allow_duplicate=wish.allow_duplicate,
            via=wish.via,
        )
    except NotFound as gone:
        raise NotFound(
            gone.code,
            f"{words.plain(wish.name)} was erased meanwhile.",
            "Nothing was saved, and the photos are still here. To enroll a new person, enter a name.",
        ) from gone
