"""How numbers are said, wherever people read them."""

from __future__ import annotations


def count(number: int, one: str, many: str | None = None) -> str:
    """`1,204 people`, `1 photo`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
