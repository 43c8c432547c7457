"""What was put in to enroll somebody is kept, in bounds, and by its own browser tab alone."""

from __future__ import annotations

import time

import pytest

from core.domain.faces import PhotoVerdict, Reason
from dashboard.shared import drafts as module
from dashboard.shared.drafts import Collected, Draft, Drafts


def of(name: str, thumbnail: bytes = b"") -> Draft:
    verdict = PhotoVerdict("a.jpg", None, (Reason.NO_FACE,), (), thumbnail)
    return Draft(name=name, files={"1": Collected("1", "a.jpg", verdict)})


def test_a_draft_is_found_by_its_own_tab_only() -> None:
    drafts = Drafts()
    ana = of("Ana")
    drafts.keep("one/", ana)
    assert drafts.get("one/") is ana
    assert drafts.get("two/") is None
    drafts.drop("one/")
    assert drafts.get("one/") is None
    drafts.close()


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    drafts = Drafts()
    for tab in ("a", "b", "a", "c"):  # b is the one that was not heard of for longest
        drafts.keep(tab, drafts.get(tab) or of(tab))
    assert [drafts.get(tab) is not None for tab in "abc"] == [True, False, True]
    drafts.close()


def test_all_photos_together_take_a_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    drafts = Drafts()
    drafts.keep("a", of("Ana", bytes(6_000)))
    drafts.keep("b", of("Eva", bytes(6_000)))
    assert len(drafts) == 1
    assert drafts.get("b") is not None
    drafts.close()


def test_what_nobody_comes_back_to_is_forgotten_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_S", 0.05)
    drafts = Drafts()
    drafts.keep("a", of("Ana"))
    until = time.monotonic() + 10
    while len(drafts) and time.monotonic() < until:
        time.sleep(0.01)
    assert len(drafts) == 0
    drafts.close()
