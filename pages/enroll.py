"""Add a person, or more photos of one."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.errors import NotFound
from core.faces.quality import sentence
from core.inputs import MAX_PHOTOS
from core.live import GOAL
from core.types import Candidate, EnrollResult, Person
from dashboard import enrolling, resources, widgets, words
from dashboard.camera import UNUSABLE, camera
from dashboard.enrolling import Collected

ORIGIN = {"Live": "live", "Take a photo": "shot", "Upload": "file"}  # by tab: each has its own photos

shared = resources.get()
service, settings, live = shared.service, shared.settings, shared.live


# ---------------------------------------------------------------- photos


def show_live() -> None:
    session = enrolling.live_session(live)
    status = camera(session.token, key="enroll_camera", enrolling=True)
    if status in UNUSABLE:
        st.button("Use a photo instead", icon=":material/photo_camera:", on_click=use_photo)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Take a photo now", icon=":material/photo_camera:"):
            session.capture()
        session.auto = st.toggle(
            "Take good photos automatically",
            value=True,
            key="enroll_auto",
            help="Robi takes a photo whenever the picture is good and the pose is a new one.",
        )


def use_photo() -> None:
    st.session_state["enroll_tabs"] = "Upload"


def show_shot() -> None:
    number = enrolling.round_number()
    enrolling.add_shot(service, st.camera_input("Look straight into the camera", key=f"enroll_shot_{number}"))
    st.caption("Take three to five: straight on, and with the head turned a little to each side.")


def show_upload() -> None:
    # Any file may be chosen: a wrong one gets its reason beside the others.
    files = st.file_uploader(
        "Photos of one person",
        accept_multiple_files=True,
        key=f"enroll_files_{enrolling.round_number()}",
        max_upload_size=settings.robi_max_upload_mb,
        help="JPEG, PNG, WebP or BMP; the face alone in the picture, or by far the largest.",
    )
    if len(files) > MAX_PHOTOS:
        st.warning(f"The first {MAX_PHOTOS} photos are used.")
    enrolling.set_files(service, files[:MAX_PHOTOS])


# ---------------------------------------------------------------- who


def ask_who() -> None:
    """An ID left empty is the suggested one: nothing that was typed is ever written over."""
    name = st.text_input(
        "Name", key="enroll_name", live="400ms", placeholder="Ana Ruiz", persist_state="page"
    )
    st.text_input(
        "ID",
        key="enroll_id",
        live="400ms",
        placeholder=suggested(name or "") or "ana-ruiz",
        help="How other systems know this person. Left empty, it is made from the name.",
        persist_state="page",
    )
    for warning in service.name_warnings(name or "") if (name or "").strip() else ():
        ids = f" ID {words.plain(', '.join(warning.user_ids))}." if warning.user_ids else ""
        st.caption(f":orange[?] {words.plain(warning.message)}{ids}")


def suggested(name: str) -> str:
    return service.suggest_user_id(name) if name.strip() else ""


def typed() -> tuple[str, str]:
    """Name and ID of the new person, empty where nothing was said yet."""
    name = (st.session_state.get("enroll_name") or "").strip()
    user_id = (st.session_state.get("enroll_id") or "").strip()
    return name, user_id or suggested(name)


# ---------------------------------------------------------------- verdicts and saving


def show_item(item: Collected) -> None:
    reasons = item.verdict.rejects if item.verdict else ()
    warnings = item.verdict.warnings if item.verdict else ()
    with st.container(border=True, gap="xsmall", height="stretch"):
        if item.verdict and item.verdict.thumbnail:
            st.image(item.verdict.thumbnail, width=88, alt=item.photo)
        if item.problem:
            said = f":red[!] {words.plain(item.problem.message)} {words.plain(item.problem.hint)}"
        elif reasons:
            said = f":red[!] {sentence(reasons[0])}"
        elif warnings:
            said = f":orange[?] Usable. {' '.join(map(sentence, warnings))}"
        else:
            said = ":green[✓] Good"
        st.markdown(f":small[{said}]")
        st.caption(words.plain(item.photo))
        if item.origin != "file":
            st.button(
                "Remove",
                key=f"remove_{item.id}",
                type="tertiary",
                on_click=enrolling.remove,
                args=(live, item),
            )


def show_photos(photos: Sequence[Collected]) -> None:
    good = sum(item.usable for item in photos)
    dots = "●" * min(good, GOAL) + "○" * max(0, GOAL - good)
    st.markdown(f":primary[{dots}] {words.count(good, 'good photo')}")
    if photos:
        with st.grid("auto", min_column_width=120):
            for item in photos:
                show_item(item)
    if good < 3:
        st.caption("Three to five good photos, in slightly different poses, recognise best.")


def step(good: int, name: str) -> str:
    if not good:
        return "Step 1 of 3: take or choose photos"
    return "Step 2 of 3: say who this is" if not name else "Step 3 of 3: save"


def keep(result: EnrollResult | None) -> None:
    if result:
        enrolling.reset(live)
        st.session_state["enroll_done"] = result
        for key in ("enroll_name", "enroll_id"):
            st.session_state.pop(key, None)
        st.rerun()


def show_twin(found: Candidate, photos: Sequence[Collected], user_id: str, name: str | None) -> None:
    who = words.plain(service.called(found.user_id, found.name))
    one = sum(item.usable for item in photos) == 1
    st.warning(
        f"Similarity {words.similarity(found.similarity)}. Is this the same person?",
        title=f"This photo looks like {who}" if one else f"These photos look like {who}",
        icon=":material/group:",
    )
    if st.button(f"Add {'this photo' if one else 'these photos'} to {who}", type="primary", width="stretch"):
        keep(
            widgets.trying(lambda: enrolling.save(service, photos, found.user_id, None, add_to_existing=True))
        )
    ready = bool(user_id and name)
    if st.button(
        "Enroll as a new person anyway",
        disabled=not ready,
        width="stretch",
        help=None if ready else "Enter a name first.",
    ):
        keep(widgets.trying(lambda: enrolling.save(service, photos, user_id, name, allow_duplicate=True)))
    if st.button("Cancel", type="tertiary", width="stretch"):
        enrolling.reset(live)
        st.rerun()


def owner_of(user_id: str) -> Person | None:
    """Who has the ID that was typed, so that nobody is added to by accident."""
    try:
        return service.person(user_id) if user_id else None
    except NotFound:
        return None


def show_save(photos: Sequence[Collected], person: Person | None) -> None:
    name, user_id = (person.name, person.user_id) if person else typed()
    person = person or owner_of(user_id)
    good = sum(item.usable for item in photos)
    st.caption(step(good, name))
    show_photos(photos)
    found = enrolling.twin(service, photos, person.user_id if person else None) if good else None
    if found:
        show_twin(found, photos, user_id, name or None)
        return
    if person:
        st.caption(f"The ID {words.plain(user_id)} belongs to {words.plain(person.name)}.")
    elif good:
        st.caption("Looks like nobody who is enrolled yet.")
    label = f"Add to {words.plain(person.name)}" if person else f"Save {words.plain(name)}".strip()
    if st.button(
        label,
        type="primary",
        disabled=not (good and name and user_id),
        width="stretch",
        icon=":material/check:",
        key="enroll_save",
    ):
        keep(
            widgets.trying(
                lambda: enrolling.save(
                    service, photos, user_id, None if person else name, add_to_existing=person is not None
                )
            )
        )


# ---------------------------------------------------------------- done


def show_done(result: EnrollResult) -> None:
    person = result.person
    name, photos = words.plain(person.name), words.count(len(result.enrolled), "photo")
    what = f"{name} is enrolled" if result.created else f"{name} was given more photos"
    if result.searchable:
        st.success(
            f"{photos} saved. Robi recognises this person from now on.", title=what, icon=":material/check:"
        )
    else:
        late = " and ".join(words.TIER.get(tier, tier) for tier in result.behind)
        st.warning(
            f"{photos} saved, being indexed: {late} will follow by itself.",
            title=what,
            icon=":material/schedule:",
        )
    for rejected in result.rejected:
        st.markdown(f"{words.plain(rejected.photo)}: {words.plain(words.reasons(rejected.reasons))}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Enroll another person", type="primary", icon=":material/person_add:", on_click=start_over)
        st.page_link(
            widgets.page("people"),
            label=f"Open {name}",
            icon=":material/person:",
            query_params={"person": person.user_id},
        )
        st.page_link(
            widgets.page("verify"), label="Try it in Verify", icon=":material/familiar_face_and_zone:"
        )


def start_over() -> None:
    enrolling.reset(live)
    st.query_params.clear()


def known_person() -> Person | None:
    """The person whom `?person=` names, to whom photos are added."""
    user_id = st.query_params.get("person")
    if not user_id:
        return None
    try:
        return service.person(user_id)
    except NotFound:
        return None


def show_form(adding_to: Person | None) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left:
        tabs = st.tabs(list(ORIGIN), key="enroll_tabs", on_change="rerun")
        for tab, show in zip(tabs, (show_live, show_shot, show_upload), strict=True):
            if tab.open:
                with tab:
                    show()
    with right:
        if adding_to is None:
            ask_who()

        @st.fragment(run_every=0.5)
        def beside() -> None:
            show_save(enrolling.collected(live, ORIGIN[st.session_state["enroll_tabs"]]), adding_to)

        beside()


named = known_person()
title = f"Add photos of {words.plain(named.name)}" if named else "Enroll"
widgets.header(title, "Show a face to the camera, or choose photos; Robi says what is good enough.")
if named is None and st.query_params.get("person"):
    st.warning("Nobody is enrolled under this ID; you can enroll a new person here.")
done: EnrollResult | None = st.session_state.get("enroll_done")
if done:
    show_done(done)
else:
    show_form(named)
