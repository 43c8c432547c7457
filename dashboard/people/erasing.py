"""Erasing a person, and the receipt that tells what is left of them."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from core.domain.people import Person, Receipt
from core.services.service import RobiService
from dashboard.shared import resources, widgets, words


def _service() -> RobiService:
    return resources.get().service


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
            receipt = widgets.trying(lambda: _service().erasures.erase(person.user_id))
            if receipt:
                st.switch_page(widgets.page("people"), query_params={"receipt": str(receipt.event)})


def find_receipt(number: str) -> None:
    """The receipt of an erasure: it has an address, and tells what is left at this moment."""
    receipt = widgets.trying(
        lambda: _service().erasures.receipt(int(number) if number.isdecimal() and len(number) < 19 else 0)
    )
    if receipt:
        show_receipt(receipt)


def show_receipt(receipt: Receipt) -> None:
    left = receipt.left
    ledger, qdrant, cache = (_left_in(left.get(tier, 0)) for tier in ("ledger", "qdrant", "faiss"))
    text = f"{ledger} left in the ledger, {qdrant} in Qdrant, {cache} in the cache."
    on_disk = _left_on_disk(receipt)
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


def _left_on_disk(receipt: Receipt) -> str:
    """One sentence about vectors that are deleted, but not yet overwritten in the files of a tier."""
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


def _left_in(number: int | None) -> str:
    return "not known" if number is None else str(number)
