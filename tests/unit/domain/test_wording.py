"""Numbers as people read them."""

from __future__ import annotations

import pytest

from core.domain.wording import count


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 people"), (1, "1 person"), (2, "2 people"), (1204, "1,204 people")]
)
def test_one_is_not_many(number: int, said: str):
    assert count(number, "person", "people") == said


def test_most_words_only_get_an_s():
    assert (count(1, "template"), count(3, "template")) == ("1 template", "3 templates")
