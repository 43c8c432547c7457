"""Find, rename and erase people."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from core.domain.errors import NotFound
from core.domain.listing import Page
from core.domain.people import Person, Receipt
from core.domain.templates import TemplateInfo
from core.domain.validation import MAX_NAME, MAX_QUERY
from dashboard.events import history
from dashboard.shared import resources, widgets, words

PER_PAGE = 25
_VIEW = "people_view"
_SEARCHED = "people_searched"  # what the list is left with, to find it so again

service = resources.get().service


# ---------------------------------------------------------------- one person


@st.dialog("Rename", icon=":material/edit:")
def rename(person: Person) -> None:
    with st.form("rename", border=False):  # in a form, Enter saves
        name = st.text_input("Name", value=person.name, max_chars=MAX_NAME)
        saved = st.form_submit_button("Save", type="primary")
    if saved:
        renamed = widgets.trying(lambda: service.people.update(person.user_id, name=name))
        if renamed is None:
            return
        widgets.flash(f"{words.plain(person.name)} is now called {words.plain(renamed.name)}.")
        st.rerun()


@st.dialog("Erase this person?", icon=":material/delete:")
def erase(person: Person) -> None:
    st.markdown(
        f"**{words.plain(person.name)}** and {words.count(person.templates, 'photo')} will be erased "
        "everywhere, at once and for good. Robi will not recognise this person any more."
    )
    with st.container(horizontal=True):
        if st.button("Keep", type="primary", key="erase_not"):
            st.rerun()
        if st.button("Erase", icon=":material/delete:", key="erase_now"):
            receipt = widgets.trying(lambda: service.erasures.erase(person.user_id))
            if receipt:
                st.switch_page(widgets.page("people"), query_params={"receipt": str(receipt.event)})


def left_in(number: int | None) -> str:
    return "not known" if number is None else str(number)


def find_receipt(number: str) -> None:
    """The receipt of an erasure: it has an address, and tells what is left at this moment."""
    receipt = widgets.trying(
        lambda: service.erasures.receipt(int(number) if number.isdecimal() and len(number) < 19 else 0)
    )
    if receipt:
        show_receipt(receipt)


def left_on_disk(receipt: Receipt) -> str:
    """One sentence: deleted is not overwritten, and a receipt that were silent of it would say too much."""
    parts = [part for part in receipt.disk.values() if part.bytes != 0]
    if not parts:
        return "Nothing of them is left in the files."
    moments = [part.gone_by for part in parts if part.bytes and part.gone_by]
    if any(part.bytes is None for part in parts):
        return "Whether the files still hold something of them is not known at the moment."
    now = datetime.now(UTC)
    size = f"{sum(part.bytes or 0 for part in parts):,} bytes"
    if len(moments) < len(parts):
        return f"The files still hold up to {size} of them until they are next tidied up."
    until = words.clock(max(moments), now, widgets.here())
    return f"The files still hold up to {size} of them, until {until} at the latest."


def show_receipt(receipt: Receipt) -> None:
    left = receipt.left
    ledger, qdrant, cache = (left_in(left.get(tier, 0)) for tier in ("ledger", "qdrant", "faiss"))
    text = f"{ledger} left in the ledger, {qdrant} in Qdrant, {cache} in the cache."
    on_disk = left_on_disk(receipt)
    title = f"The person with ID {words.plain(receipt.user_id)} was erased"
    photos = words.count(receipt.templates_erased, "photo")
    if all(number == 0 for number in left.values()):
        st.success(f"{photos} erased: {text} {on_disk}", title=title, icon=":material/check:")
    else:
        st.warning(
            f"{photos} erased: {text} Robi will not propose this person any more; "
            f"what is left is removed as soon as that part answers. {on_disk}",
            title=title,
            icon=":material/schedule:",
        )


def show_photos(infos: tuple[TemplateInfo, ...]) -> None:
    st.header("Photos", anchor=False)
    via = {"webcam": "camera", "upload": "upload", "api": "API", "demo": "demo gallery"}
    with st.grid("auto", min_column_width=150):
        for number, info in enumerate(infos, start=1):
            with st.container(border=True):
                if info.thumbnail:
                    st.image(info.thumbnail, width="stretch", alt=f"Photo {number}")
                st.progress(info.quality, text=f"Photo {number} · quality {info.quality:.2f}")
                st.html(
                    f'<span class="robi-quiet">{via.get(info.via, words.escape(info.via))} · '
                    f"{widgets.when(info.created_at)}</span>"
                )
    if not any(info.thumbnail for info in infos):
        st.caption(
            "No picture of these photos was kept."
            if service.settings.robi_keep_images
            else "Pictures are not kept. Whoever runs Robi can have a small one of each photo kept: "
            "ROBI_KEEP_IMAGES on the Settings page."
        )


def show_person(person: Person) -> None:
    with (
        widgets.header(person_title(person), f"ID {words.plain(person.user_id)}"),
        st.container(horizontal=True, horizontal_alignment="right"),
    ):
        if st.button("Add photos", icon=":material/add_a_photo:", type="primary"):
            st.switch_page(widgets.page("enroll"), query_params={"person": person.user_id})
        more = st.menu_button("More", ["Rename", "Erase"], key="person_more")
        if more == "Rename":
            rename(person)
        elif more == "Erase":
            erase(person)
    back()
    matched = widgets.when(person.last_matched_at, never="never yet")
    st.html(f"Enrolled {widgets.when(person.created_at)} · last recognised {matched}")
    if person.photo_asked_at:
        show_request(person)
    show_photos(service.people.templates(person.user_id))
    events = service.events.listing(limit=10, user_id=person.user_id).items
    if events:
        st.header("What happened", anchor=False)
        with st.container(border=True):
            history.show(events)


def show_request(person: Person) -> None:
    so_far = (
        "There is only one photo so far"
        if person.templates == 1
        else "The photos so far match each other poorly"
    )
    st.info(
        f"{so_far}. Add one with good light, facing the camera.",
        title="A better photo is wanted.",
        icon=":material/add_a_photo:",
    )
    if st.button("Not needed", key="photo_not_needed"):
        withdrawn = widgets.trying(lambda: service.people.ask_for_photo(person.user_id, asked=False))
        if withdrawn:
            st.rerun()


def back() -> None:
    with st.container(key="people_back"):
        st.page_link(
            widgets.page("people"),
            label="All people",
            icon=":material/arrow_back:",
            query_params=st.session_state.get(_SEARCHED, {}),
        )


def person_title(person: Person) -> str:
    return words.plain(person.name)


# ---------------------------------------------------------------- everybody


def back_to_first() -> None:
    st.session_state["people_trail"] = [None]


def show_row(person: Person) -> None:
    seen = person.last_matched_at
    recognised = f"recognised {words.ago(seen, datetime.now(UTC))}" if seen else "not recognised yet"
    about = f"{words.plain(person.user_id)} · {words.count(person.templates, 'photo')} · {recognised}"
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap=None
    ):
        st.page_link(
            widgets.page("people"),
            label=f"**{words.plain(person.name)}**",
            icon=":material/person:",
            query_params={"person": person.user_id},
        )
        with st.container(horizontal=True, width="content", gap="xsmall", vertical_alignment="center"):
            if person.photo_asked_at:  # beside the caption, whose text is paler than a badge may be
                st.badge("new photo wanted", icon=":material/add_a_photo:", color="orange")
            st.caption(about, width="content")


@st.fragment
def everybody() -> None:
    trail = st.session_state.setdefault("people_trail", [None])
    query = st.text_input(
        "Search",
        type="search",
        live="250ms",
        placeholder="Name or ID",
        key="q",
        bind="query-params",
        icon=":material/search:",
        label_visibility="collapsed",
        on_change=back_to_first,
        max_chars=MAX_QUERY,
    )
    st.session_state[_SEARCHED] = {"q": query} if query else {}
    found: Page[Person] = service.people.listing(query=query or "", limit=PER_PAGE, cursor=trail[-1])
    if not found.items:
        st.markdown(f"Nobody is called “{words.plain(query or '')}”, and no ID looks like it.")
        return
    with st.container(border=True, gap="xsmall", key="people_list"):
        for person in found.items:
            show_row(person)
    noun = words.count(found.total, "person", "people")
    widgets.pager("people_trail", found, noun, PER_PAGE)


def show_address(view: str) -> None:
    """Streamlit leaves the browser's address as it was when a link leads to the page that it is on."""
    if st.session_state.get(_VIEW, view) != view:
        st.query_params.update(st.query_params.to_dict())
    st.session_state[_VIEW] = view


wanted = st.query_params.get("person")
show_address(f"person {wanted}" if wanted else "list")
if wanted:
    try:
        chosen = service.people.person(wanted)
    except NotFound:
        widgets.header("Person not found", "Nobody is enrolled under this ID; they may have been erased.")
        back()
    else:
        show_person(chosen)
else:
    empty = service.people.counts().people == 0
    with widgets.header(
        "People", "Everybody whom Robi can recognise. Open a person to rename or erase them."
    ):
        if not empty and st.button("Enroll a person", type="primary", icon=":material/person_add:"):
            st.switch_page(widgets.page("enroll"))
    if "receipt" in st.query_params:
        find_receipt(st.query_params["receipt"])
    if empty:
        widgets.nobody_yet("Nobody is enrolled yet.")
    else:
        everybody()
