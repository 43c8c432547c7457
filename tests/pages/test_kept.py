"""What a page keeps in its session is resolved again when it is shown: nobody who is gone is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from core.ledger.ledger import Ledger
from core.services.service import RobiService
from tests.pages.conftest import words_of
from tests.pages.test_verify import check_photo

NAME, USER_ID = "Eileen Collins", "eileen-collins"


def trace_photo(at: AppTest, data: bytes) -> AppTest:
    at.session_state["strategies_tabs"] = "One photo"
    at.run()
    at.file_uploader(key="strategies_file").upload("probe.jpg", data)
    at.run()
    assert not at.exception
    return at


PAGES = pytest.mark.parametrize(
    ("name", "show", "kept"),
    [("verify", check_photo, "checked_photo"), ("strategies", trace_photo, "strategies_traced")],
)


@pytest.fixture
def elsewhere(demo: RobiService) -> Iterator[Ledger]:
    """The ledger as another process has it: nobody tells this one's pages what it does."""
    ledger = Ledger.open(demo.settings.robi_data_dir / "ledger.db", demo.engine.pack)
    yield ledger
    ledger.close()


@PAGES
def test_who_was_erased_in_another_process_is_named_nowhere(
    open_page: Callable[..., AppTest],
    variants: dict[str, bytes],
    elsewhere: Ledger,
    name: str,
    show: Callable[..., AppTest],
    kept: str,
) -> None:
    at = show(open_page(name), variants["astronaut"])
    assert NAME in words_of(at)
    elsewhere.people.erase(USER_ID)
    at.run()
    assert not at.exception
    assert NAME not in words_of(at)
    assert NAME not in repr(at.session_state[kept])


@PAGES
def test_who_was_renamed_in_another_process_has_the_name_of_now(
    open_page: Callable[..., AppTest],
    variants: dict[str, bytes],
    elsewhere: Ledger,
    name: str,
    show: Callable[..., AppTest],
    kept: str,
) -> None:
    at = show(open_page(name), variants["astronaut"])
    elsewhere.people.update(USER_ID, name="Eileen Lind")
    at.run()
    assert "Eileen Lind" in words_of(at)
    assert NAME not in words_of(at)
    assert NAME not in repr(at.session_state[kept])


@PAGES
def test_who_was_merged_is_who_they_are_now(
    open_page: Callable[..., AppTest],
    demo: RobiService,
    variants: dict[str, bytes],
    name: str,
    show: Callable[..., AppTest],
    kept: str,
) -> None:
    at = show(open_page(name), variants["astronaut"])
    demo.people.merge(USER_ID, "demo-3")
    at.run()
    assert "Demo Person 3" in words_of(at)
    assert NAME not in words_of(at)


def test_looking_again_puts_nothing_on_record(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes], elsewhere: Ledger
) -> None:
    at = check_photo(open_page("verify"), variants["astronaut"])
    elsewhere.people.erase(USER_ID)
    at.run()
    assert demo.events.listing(kind="verified").total == 1
