"""What a name may be made of, what looks like it, and the ID that is made of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from core.domain.folding import fold

_ZWNJ, _ZWJ = "\u200c", "\u200d"
_SELECTORS = "\ufe0e\ufe0f"
_KEYCAP = "\u20e3"
_MOST_MARKS = 8  # on one letter; more of them are drawn over the lines around
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\ufffd")  # blank, or no character
_SYMBOLS = frozenset("`´")  # typed for an apostrophe
_SKIN = re.compile("[\U0001f3fb-\U0001f3ff]")

# Where joiners are spelling: between letters that join (Persian, Urdu, Syriac, Mongolian), and beside the
# virama of an Indic conjunct.
_CURSIVE = frozenset({"ARABIC", "SYRIAC", "MONGOLIAN", "NKO"})
_CONJOINING = frozenset(
    {"DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA"}
    | {"TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA"}
)
_VIRAMA = 9  # a canonical combining class

# Alphabets with letters that look the same. Others are mixed within a word as a matter of course: Japanese
# names, and "A子".
_ALIKE = frozenset(["LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"])


@dataclass(frozen=True, slots=True)
class NameWarning:
    """What an operator should look at before believing a name; it is no error."""

    code: str  # name_exists, name_looks_like, mixed_alphabets
    message: str
    user_ids: tuple[str, ...] = ()  # the people whose name it is, or looks like; at most a few


# ---------------------------------------------------------------- what a name is made of


def foreign(name: str) -> str | None:
    """What is wrong with the characters of a name, as a sentence; None when nothing is.

    Letters, marks, numbers, punctuation, emoji and the space belong. What nobody sees does not: two names
    that look the same must be the same. Joiners stay where a script or an emoji is spelt with them.
    """
    for place, character in enumerate(name):
        if not _belongs(name, place, character):
            return "The name has a character that nobody sees, or that no name has."
    crowd = max((len(list(run)) for marks, run in groupby(name, _is_mark) if marks), default=0)
    if crowd > _MOST_MARKS or _is_mark(name[:1]):
        return "The name has marks without a letter to carry them."
    return None


def _belongs(name: str, place: int, character: str) -> bool:
    before, after = name[:place], name[place + 1 :]
    if character in _UNSEEN:
        return False
    if character in _SELECTORS:
        return _is_emoji(before[-1:]) or (before[-1:] in "0123456789#*" and after[:1] == _KEYCAP)
    if character == _KEYCAP:
        return before.rstrip(_SELECTORS)[-1:].isdigit() or before.rstrip(_SELECTORS)[-1:] in tuple("#*")
    if character == _ZWJ:
        return _joins_emoji(before, after) or _in_conjunct(before, after)
    if character == _ZWNJ:
        return _in_conjunct(before, "") or _between_cursive(before, after)
    category = unicodedata.category(character)
    if category == "So" or category[0] in "LNP" or character == " " or character in _SYMBOLS:
        return True
    if category[0] == "M":
        return category != "Me" and "VARIATION SELECTOR" not in unicodedata.name(character, "")
    return bool(_SKIN.match(character)) and _is_emoji(before.rstrip(_SELECTORS)[-1:])


def _is_mark(character: str) -> bool:
    """Of those that can be piled up: the vowel signs of Indic scripts take a place of their own."""
    return bool(character) and unicodedata.category(character) in ("Mn", "Me")


def _is_emoji(character: str) -> bool:
    return bool(character) and (
        unicodedata.category(character) == "So" or bool(_SKIN.match(character)) or character in "‼⁉〰〽"
    )


def _joins_emoji(before: str, after: str) -> bool:
    return _is_emoji(before.rstrip(_SELECTORS)[-1:]) and _is_emoji(after[:1])


def _in_conjunct(before: str, after: str) -> bool:
    """Beside a virama, as RFC 5892 (appendix A) has it; in Bengali a joiner may also stand before one."""
    if before and unicodedata.combining(before[-1]) == _VIRAMA:
        return script(before[-1]) in _CONJOINING
    return bool(before and after) and (
        unicodedata.combining(after[0]) == _VIRAMA and script(before[-1]) == script(after[0]) in _CONJOINING
    )


def _between_cursive(before: str, after: str) -> bool:
    letter = next((c for c in reversed(before) if not _is_mark(c)), "")
    return bool(letter and after) and script(letter) == script(after[0]) in _CURSIVE


def script(character: str) -> str:
    """The script of a letter, as its Unicode name begins: LATIN, CYRILLIC, ARABIC, CJK."""
    return unicodedata.name(character, "").partition(" ")[0]


# ---------------------------------------------------------------- what looks like it


def mixed_alphabets(name: str) -> tuple[str, ...]:
    """The alphabets that look alike and are mixed within one word of the name; none when there is no such."""
    for word in fold(name).split():
        mixed = {script(c) for c in word if c.isalpha()} & _ALIKE
        if len(mixed) > 1:
            return tuple(sorted(mixed))
    return ()


def skeleton(name: str) -> str:
    """The same for names that look the same: "Anna" in Latin and in Cyrillic letters, "Al" and "A1".

    Every character stands for the one that it can be taken for, as in Unicode's Technical Standard 39, here
    in either case: people write names in both. Latin letters stand for themselves. People of one name, as
    it is folded, have one skeleton.
    """
    return fold("".join(map(_seen_as, fold(name))))


@cache
def _seen_as(character: str) -> str:
    if character.isascii() and not character.isdigit():
        return character
    small, capital = _taken_for(character), _taken_for(character.upper())
    return capital if capital.isascii() and not small.isascii() else small


def _taken_for(character: str) -> str:
    known = _confusables().get(character, ())
    if len(known) != 1:  # nothing looks like it, or it is the one that others stand for
        return character
    other = known[0]
    a_pair = len(_confusables().get(other, ())) == 1  # each is listed as the other's
    return min(character, other) if a_pair else other


@cache
def _confusables() -> dict[str, tuple[str, ...]]:
    from confusable_homoglyphs.confusables import confusables_data  # 2 MB of JSON: only where names are

    return {seen: tuple(one["c"] for one in others) for seen, others in confusables_data.items()}


# ---------------------------------------------------------------- the ID that is made of it


def user_id_from(name: str) -> str:
    """A name in Latin letters and digits: "Łukasz Ruiz" gives `lukasz-ruiz`, "李小龍" `li-xiao-long`.

    A name without a letter or digit gives `person`.
    """
    latin = "".join(_in_latin(name)).lower()
    return re.sub(r"[^a-z0-9]+", "-", latin).strip("-")[:56].strip("-") or "person"


def _in_latin(name: str) -> Iterator[str]:
    from anyascii import anyascii

    for character in unicodedata.normalize("NFC", name):
        category = unicodedata.category(character)
        if category[0] not in "LMN":
            yield "" if fold(f"a{character}a") == "aa" else "-"
            continue
        letters = anyascii(character).replace("'", "").replace("`", "")
        a_syllable = category == "Lo" and script(character) in ("CJK", "HANGUL")
        yield f"-{letters}-" if a_syllable else letters
