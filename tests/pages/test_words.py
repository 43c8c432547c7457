"""How Robi says times, numbers and names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from core.domain.faces import Reason
from core.domain.search import Source, Strategy
from dashboard.shared import words

NOW = datetime(2026, 11, 23, 14, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(hours=-3), "in 3 h"),
        (timedelta(minutes=-3), "in 3 min"),
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=20), "just now"),
        (timedelta(seconds=100), "2 min ago"),
        (timedelta(hours=3), "3 h ago"),
        (timedelta(days=5), "5 days ago"),
    ],
)
def test_ago(before: timedelta, said: str) -> None:
    assert words.ago(NOW - before, NOW) == said


def test_clock_is_in_the_readers_time_zone() -> None:
    berlin = words.zone("Europe/Berlin")
    assert words.clock(NOW, NOW, berlin) == "15:02"
    assert words.clock(NOW - timedelta(days=20), NOW, berlin) == "3 Nov 15:02"
    assert words.clock(NOW - timedelta(days=400), NOW, berlin) == "19 Oct 2025 16:02"


@pytest.mark.parametrize("name", [None, "", "Nowhere/Land", "../../etc/passwd"])
def test_an_unknown_zone_is_utc(name: str | None) -> None:
    assert words.zone(name) is UTC


def test_similarity_has_two_decimals_and_is_no_percentage() -> None:
    assert [words.similarity(v) for v in (0.744, 1.0, -0.031, None)] == ["0.74", "1.00", "-0.03", "–"]


def test_plain_leaves_no_markdown_alive() -> None:
    said = words.plain("**a** :red[b] [c](d) `e` $f$ <g> #h")
    assert "\\*\\*a" in said
    assert ":color[\\:]red\\[b" in said
    assert re.sub(r":color\[\\(.)\]|\\(.)", r"\1\2", said) == "**a** :red[b] [c](d) `e` $f$ <g> #h"


@pytest.mark.parametrize(
    "text",
    [
        ":material/delete:",
        "a:streamlit:b",
        ":smile:",
        "http://a.b",
        "ana@b.cd",
        "www.a.b",
        "WWW.a.b",
        "--",
        "->",
        "<-",
        "<->",
        ">=",
        "<=",
        "~=",
    ],
)
def test_plain_cuts_what_streamlit_looks_for_in_the_text_itself(text: str) -> None:
    pieces = re.split(r":color\[\\(.)\]", words.plain(text))
    assert "".join(pieces).replace("\\", "") == text
    known = r":[\w/+-]+:|https?://|@\w|www\.|<->|--|->|<-|>=|<=|~="
    assert not [piece for piece in pieces if re.search(known, piece.replace("\\", ""), re.IGNORECASE)]


def test_counts() -> None:
    assert words.count(1, "person", "people") == "1 person"
    assert words.count(1204, "person", "people") == "1,204 people"


def test_everything_has_a_word() -> None:
    assert set(words.REASON) == set(Reason)
    assert set(words.STRATEGY) == set(Strategy)
    assert set(words.SOURCE) == set(Source)
    assert words.reasons(["blurred", "image_truncated"]) == "blurred, image truncated"
