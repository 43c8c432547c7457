from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.errors import BadInput
from core.domain.folding import fold
from core.domain.names import mixed_alphabets, skeleton, user_id_from
from core.domain.validation import checked_name, checked_user_id, label

INVENTED = settings(max_examples=300, deadline=None, database=None, derandomize=True)


@pytest.mark.parametrize(
    "name",
    [
        "An\u200ba",  # zero-width space
        "An\u200da",  # a joiner between letters that do not join
        "An\u200ca",
        "Ana\u200c",
        "A\u202eanA",  # right-to-left override
        "A\u2066na\u2069",  # isolates
        "\ufeffAna",
        "A\u00adna",  # soft hyphen
        "A\u2060na",
        "A\u3164na",  # Hangul fillers
        "A\u115fna",
        "A\u2800na",  # Braille blank
        "A\ufe0fna",  # presentation selector on a letter
        "A\U000e0100na",
        "A\U000e0061na",  # a tag
        "A\ue000na",  # private use
        "A\u0378na",  # unassigned
        "A\ufffcna",
        "A\u0085\u0000na",
        "A" + "\u0301" * 20,  # drawn over the lines above
        "\u0301Ana",
        "1\u20e4",
    ],
    ids=ascii,
)
def test_what_nobody_sees_is_refused_in_names(name: str) -> None:
    with pytest.raises(BadInput) as problem:
        checked_name(name)
    assert problem.value.code == "invalid_name"


@pytest.mark.parametrize(
    "name",
    [
        "علی\u200cرضا",  # Persian
        "क्\u200dष",  # Devanagari half form
        "ന്\u200d",  # Malayalam chillu
        "র\u200d্যাব",  # Bengali
        "ශ්\u200dරී",  # Sinhala
        "Ana \U0001f600",
        "\U0001f469\U0001f3fd\u200d\U0001f4bb Bo",  # woman, skin tone, joiner, computer
        "\u2764\ufe0f Eva",
        "1\ufe0f\u20e3 Ana",
        "\U0001f1ea\U0001f1f8 Ana",
        "Nguyễn Thị Hà",
        "שָׁלוֹם",
        "O`Brien",
    ],
)
def test_what_scripts_and_emoji_are_spelt_with_is_welcome(name: str) -> None:
    assert checked_name(name) == unicodedata.normalize("NFC", name)


@INVENTED
@given(st.text())
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@INVENTED
@given(st.text())
def test_every_name_gives_an_id_that_can_be_used(text: str) -> None:
    assert checked_user_id(f"{user_id_from(text)}-1000000")


@INVENTED
@given(st.text(min_size=1, max_size=30))
def test_people_of_one_name_have_one_skeleton(text: str) -> None:
    for other in (text.upper(), text.lower(), unicodedata.normalize("NFD", text)):
        if fold(other) == fold(text):
            assert skeleton(other) == skeleton(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Anna", "\u0410nn\u0430"), ("Coco", "\u0421\u043e\u0441\u043e"), ("Al", "A1"), ("Bob", "\u0412ob")],
)
def test_names_that_look_the_same_have_one_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize("names", [("Ana", "Anna"), ("Gail", "Gali"), ("Юлия", "Юля"), ("李", "王")])
def test_other_names_have_other_skeletons(names: tuple[str, str]) -> None:
    assert skeleton(names[0]) != skeleton(names[1])


@pytest.mark.parametrize(
    ("name", "mixed"),
    [
        ("\u0410nna", ("CYRILLIC", "LATIN")),
        ("Anna Иванова", ()),  # two words, each of one alphabet
        ("Иванова", ()),
        ("A子", ()),
        ("山田さくら", ()),
    ],
)
def test_alphabets_mixed_within_a_word_are_noticed(name: str, mixed: tuple[str, ...]) -> None:
    assert mixed_alphabets(name) == mixed


def test_the_name_of_a_file_is_one_line_that_can_be_seen() -> None:
    assert label("a\u202egpj.exe\x00\n b.png", "image 1") == "agpj.exe b.png"
    assert label("\u200b", "image 1") == "image 1"
