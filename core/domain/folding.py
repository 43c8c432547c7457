"""One spelling for comparing names, IDs and queries, by what Unicode says of each character."""

from __future__ import annotations

import unicodedata

# A new number when the folding changes: what a ledger has stored is then folded again when it is opened.
# Another Unicode table is another folding too.
VERSION = f"2/{unicodedata.unidata_version}"

# Marks are told apart by their canonical combining class: a property of every mark, in every script. What
# people leave out when they write is dropped: overlays (1), nuktas (7), Hebrew points (10-26), Arabic and
# Syriac vowels (27-36), and all that is attached, above or below (200-240). What makes another word stays:
# the vowel signs and candrabindus of Indic scripts (0), kana voicing (8), viramas (9), and the vowels and
# tones of Thai, Lao and Tibetan (84-132).
_LEFT_OUT = frozenset({1, 7, *range(10, 37), *range(200, 241)})

_APOSTROPHES = "'’‘‛ʹʼʻʽʾʿˈ`´′‵״׳ꞌ＇"
_BETWEEN_WORDS = "·•‧・⸱˗"  # beside every hyphen and dash
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # letters and marks that nobody sees
_LETTERS = {
    "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ı": "i", "ŋ": "ng", "ə": "e", "ĸ": "k", "ƒ": "f",
    "ء": "", "ٱ": "ا", "ة": "ه", "ى": "ي", "ی": "ي", "ے": "ي", "ک": "ك", "ہ": "ه", "ھ": "ه", "ە": "ه",
    "ـ": "",
}  # fmt: skip


class _Folding(dict[int, str]):
    """What each character is compared as, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _folded(chr(code))
        return folded


_FIRST = str.maketrans(dict.fromkeys(_APOSTROPHES, ""))  # before NFKC makes of `´` a space and a mark
_FOLDING = _Folding()


def fold(text: str) -> str:
    """The same for "ÁNA" and "ana", "Łukasz" and "lukasz", "O’Brien" and "obrien", "Jean-Luc" and "jean luc".

    Marks, invisible characters, apostrophes and letter forms that people leave out are left out; hyphens are
    spaces. Folding again changes nothing.
    """
    known = unicodedata.normalize("NFKC", text.translate(_FIRST)).casefold()
    bare = unicodedata.normalize("NFKD", known).translate(_FOLDING)
    return " ".join(unicodedata.normalize("NFKC", bare).split())


def _folded(character: str) -> str:
    if character in _LETTERS:
        return _LETTERS[character]
    category = unicodedata.category(character)
    if category == "Pd" or character in _BETWEEN_WORDS:
        return " "
    if category == "Cf" or character in _APOSTROPHES or character in _INVISIBLE:
        return ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category == "Mn":
        dropped = unicodedata.combining(character) in _LEFT_OUT or "VARIATION" in unicodedata.name(character)
        return "" if dropped else character
    return _plain_letter(character) if category[0] == "L" else character


def _plain_letter(character: str) -> str:
    """The letter without what Unicode calls its stroke, hook or the like, or its form at a word's end."""
    name = unicodedata.name(character, "")
    plain = name.partition(" WITH ")[0].replace("HEBREW LETTER FINAL ", "HEBREW LETTER ")
    if plain == name:
        return character
    try:
        bare = unicodedata.lookup(plain)
    except KeyError:
        return character
    return unicodedata.normalize("NFKD", bare).translate(_FOLDING)
