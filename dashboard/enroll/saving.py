"""Who it is, whether they are enrolled already, and saving."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.domain.people import Person
from core.domain.search import Candidate
from core.services.service import RobiService
from dashboard.enroll import enrolling, photos
from dashboard.enroll.enrolling import ADDING, ID, NAME, PLACE, Together, Wish
from dashboard.shared import resources, widgets, words
from dashboard.shared.drafts import Collected, Draft

_FACE = 112


def ask_who(service: RobiService) -> None:
    """The fields for name and ID. The suggested ID is the placeholder: it never overwrites what was typed."""
    name = st.text_input(
        "Name",
        key=enrolling.field(NAME),
        live="400ms",
        placeholder="Ana Ruiz",
        persist_state="page",
        on_change=widgets.forget_problem,
        args=(PLACE,),
    )
    st.text_input(
        "ID",
        key=enrolling.field(ID),
        live="400ms",
        placeholder=_suggested(service, name or "") or "ana-ruiz",
        help="How other systems know this person. Left empty, it is made from the name.",
        persist_state="page",
        on_change=widgets.forget_problem,
        args=(PLACE,),
    )
    for warning in service.names.warnings(name or "") if (name or "").strip() else ():
        ids = f" ID {words.plain(', '.join(warning.user_ids))}." if warning.user_ids else ""
        st.caption(f":orange[?] {words.plain(warning.message)}{ids}")


def _suggested(service: RobiService, name: str) -> str:
    return service.names.suggest_user_id(name) if name.strip() else ""


def _typed(service: RobiService) -> tuple[str, str]:
    """Name and ID of the new person, empty where nothing was said yet."""
    name, user_id = enrolling.typed(NAME).strip(), enrolling.typed(ID).strip()
    return name, user_id or _suggested(service, name)


class Saving:
    """The part of the page that refreshes itself: photos of one source, and what can be done with them."""

    def __init__(self, tab: str, target: str, draft: Draft, source: str, named: Person | None) -> None:
        self.shared = resources.get()
        self.service = self.shared.service
        self.tab, self.target, self.draft, self.named = tab, target, draft, named
        self.collected = draft.photos(source)
        self.together: Together = enrolling.look_together(self.service, self.collected)
        self.good = self.together.good
        self.via = "upload" if source == "file" else "webcam"
        self.name, self.user_id = (named.name, named.user_id) if named else _typed(self.service)

    def show(self) -> None:
        st.caption(self._step())
        photos.show_count(self.together)
        self._show_action()
        widgets.show_problem(PLACE)
        photos.show_all(self.shared.live, self.draft, self.collected, self.together)
        if not self.draft.empty:
            st.button(
                "Discard and start over",
                type="tertiary",
                icon=":material/delete:",
                key="enroll_discard",
                on_click=enrolling.discard,
                args=(self.tab, self.target),
            )

    def _step(self) -> str:
        if not self.good:
            return "Step 1 of 3: take or choose photos"
        return "Step 2 of 3: say who this is" if not self.name else "Step 3 of 3: save"

    def _show_action(self) -> None:
        owner = self.named or enrolling.person(self.service, self.user_id)
        found = (
            enrolling.twin(self.service, self.good, owner.user_id if owner else None) if self.good else None
        )
        adding = enrolling.person(self.service, st.session_state.get(ADDING))
        if self.good and adding:
            self._confirm(adding)
        elif found:
            self._show_twin(found)
        elif self.named:
            self._save_button(f"Add to {words.plain(self.named.name)}", self._add_to(self.named))
        elif owner:
            st.caption(f"The ID {words.plain(self.user_id)} belongs to {words.plain(owner.name)}.")
            self._ask_to_add(owner, f"Add to {words.plain(owner.name)} …")
        else:
            if self.good:
                st.caption("Looks like nobody who is enrolled yet.")
            self._save_button(f"Save {words.plain(self.name)}".strip(), self._new())

    # ------------------------------------------------------------ what the buttons promise

    def _new(self, *, allow_duplicate: bool = False) -> Wish:
        return Wish(
            self.tab,
            self.target,
            self.good,
            self.via,
            self.user_id,
            self.name,
            add_to_existing=False,
            allow_duplicate=allow_duplicate,
        )

    def _add_to(self, person: Person) -> Wish:
        return Wish(
            self.tab, self.target, self.good, self.via, person.user_id, person.name, add_to_existing=True
        )

    def _save_button(self, label: str, wish: Wish) -> None:
        st.button(
            label,
            type="primary",
            disabled=not (wish.photos and wish.name and wish.user_id),
            width="stretch",
            icon=":material/check:",
            key="enroll_save",
            on_click=enrolling.save,
            args=(wish,),
        )

    def _ask_to_add(self, person: Person, label: str) -> None:
        st.button(
            label,
            width="stretch",
            key="enroll_add",
            disabled=not self.good,
            on_click=_ask,
            args=(person.user_id,),
        )

    # ------------------------------------------------------------ somebody who is enrolled already

    def _show_twin(self, found: Candidate) -> None:
        """Asks whether this is the enrolled person. Neither button is primary: the operator is to look."""
        person = enrolling.person(self.service, found.user_id)
        if person is None:
            return
        who = words.plain(self.service.names.called(person.user_id, person.name))
        one = len(self.good) == 1
        with st.container(border=True, key="enroll_twin"):
            st.markdown(f"**{'This photo looks' if one else 'These photos look'} like {who}**")
            self._faces(self.good, person, found.template_id)
            threshold = self.service.tuning.now.threshold
            alike = words.alikeness(found.similarity, threshold)
            number = words.similarity(found.similarity, threshold)
            st.markdown(f"{alike} Similarity {number}. **Is this the same person?**")
            these = "this photo" if one else "these photos"
            self._ask_to_add(person, f"Yes: add {these} to {who} …")
            if self.named is None:
                ready = bool(self.user_id and self.name)
                st.button(
                    f"No: enroll {words.plain(self.name)} as somebody else"
                    if ready
                    else "No: enroll as a new person",
                    key="enroll_anew",
                    disabled=not ready,
                    width="stretch",
                    help=None if ready else "Enter a name first.",
                    on_click=enrolling.save,
                    args=(self._new(allow_duplicate=True),),
                )

    def _confirm(self, person: Person) -> None:
        who = words.plain(person.name)
        with st.container(border=True, key="enroll_confirm"):
            st.markdown(
                f"**Add {words.count(len(self.good), 'photo')} to {who} ({words.plain(person.user_id)})?**"
            )
            self._faces(self.good, person, None)
            st.caption("Only photos that match most of those that began this person are taken.")
            self._save_button(f"Add to {who}", self._add_to(person))
            st.button("Back", width="stretch", key="enroll_back", on_click=_ask, args=(None,))

    def _faces(self, good: Sequence[Collected], person: Person, template_id: int | None) -> None:
        """The new photo beside one that is enrolled, where photos are kept."""
        infos = self.service.people.templates(person.user_id)
        kept = [info for info in infos if info.thumbnail]
        shown = next((info for info in kept if info.template_id == template_id), kept[0] if kept else None)
        with st.container(horizontal=True):  # columns would stand below each other on a phone
            _face(good[0].verdict.thumbnail if good[0].verdict else None, "New photo")
            _face(shown.thumbnail if shown else None, person.name)


def _face(thumbnail: bytes | None, caption: str) -> None:
    with st.container(width=_FACE, gap="xsmall"):
        if thumbnail:
            st.image(thumbnail, width=_FACE, alt=caption)
        else:
            st.html('<div class="robi-no-photo">No photo is kept. Compare with the person.</div>')
        st.caption(words.plain(caption))


def _ask(user_id: str | None) -> None:
    """Have the page ask whether photos are really to be added to this person; None: no longer."""
    widgets.forget_problem(PLACE)
    if user_id is None:
        st.session_state.pop(ADDING, None)
    else:
        st.session_state[ADDING] = user_id
