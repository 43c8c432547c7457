"""After an erasure no file of the data directory holds a byte of the name or of the vectors."""

import contextlib
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from core.domain.names import skeleton

NAME = "Zoë Quixotabel Öztürk"
OTHER = "Vytautė Unmistakable"
SECONDS = 40.0  # of patience: it takes some six, most of them until the next look at what is due


def traces_of(vector: np.ndarray) -> list[bytes]:
    """As it lies in files (little-endian, also parts of it), and as logs write it (CBOR, each number)."""
    raw = vector.astype("<f4").tobytes()
    return [raw[:32], raw[-32:], *(b"\xfa" + struct.pack(">f", number) for number in vector[:4])]


def spellings_of(name: str) -> list[bytes]:
    folded = {name, name.lower(), name.upper(), skeleton(name)}
    words = {word for text in folded for word in text.split() if len(word) > 6}
    return [word.encode() for word in words] + [ascii(word)[1:-1].encode() for word in words]


def found_in(directory: Path, traces: list[bytes]) -> list[str]:
    held = []
    for folder, _, names in os.walk(directory):  # passes over what is removed meanwhile
        for path in (Path(folder, name) for name in names if "packs" not in Path(folder).parts):
            with contextlib.suppress(FileNotFoundError):  # of the generation that was just replaced
                content = path.read_bytes()
                held += [path.name for trace in traces if trace in content]
    return held


def gone_from(directory, traces: list[bytes]) -> bool:
    end = time.monotonic() + SECONDS
    while found_in(directory, traces) and time.monotonic() < end:
        time.sleep(0.2)
    return not found_in(directory, traces)


@pytest.fixture
def enrolled(service, photos):
    service.enrollment.enroll(
        "quix", NAME, [("a.png", photos["astronaut"])], metadata={"note": "Confidential-7741"}
    )
    return service


def vectors_of(service, user_id):
    return [trace for one in service.ledger.people.templates(user_id) for trace in traces_of(one.vector)]


@pytest.mark.slow
def test_neither_name_nor_vector_of_an_erased_person_is_in_any_file(enrolled, photos):
    service = enrolled
    directory = service.settings.robi_data_dir
    service.enrollment.enroll("tom", "Tom Hanks", [("t.png", photos["hanks"])])
    secrets = [*vectors_of(service, "quix"), *spellings_of(NAME), b"Confidential-7741"]
    kept = vectors_of(service, "tom")
    assert found_in(directory, secrets)
    receipt = service.erasures.erase("quix")
    assert receipt.disk["ledger"].bytes == 0
    assert receipt.disk["qdrant"].bytes == 4 * service.engine.pack.dimension
    assert receipt.disk["qdrant"].gone_by is not None
    assert gone_from(directory, secrets)
    assert found_in(directory, kept), "somebody else's are where they were"


@pytest.mark.slow
def test_a_person_under_another_name_leaves_nothing_of_either(enrolled):
    service = enrolled
    directory = service.settings.robi_data_dir
    service.people.update("quix", name=OTHER)
    secrets = vectors_of(service, "quix") + spellings_of(NAME) + spellings_of(OTHER)
    service.erasures.erase("quix")
    assert gone_from(directory, secrets)


@pytest.mark.slow
def test_a_person_who_was_merged_into_another_leaves_nothing_when_that_one_is_erased(enrolled, photos):
    service = enrolled
    directory = service.settings.robi_data_dir
    service.enrollment.enroll("other", OTHER, [("t.png", photos["hanks"])])
    secrets = vectors_of(service, "quix") + spellings_of(NAME)
    secrets += vectors_of(service, "other") + spellings_of(OTHER)
    service.people.merge("quix", into="other")
    service.erasures.erase("other")
    assert gone_from(directory, secrets)


@pytest.mark.slow
def test_a_person_who_is_enrolled_again_brings_nothing_of_before_back(enrolled, photos):
    service = enrolled
    directory = service.settings.robi_data_dir
    secrets = vectors_of(service, "quix") + spellings_of(NAME)
    service.erasures.erase("quix")
    service.enrollment.enroll("quix", OTHER, [("t.png", photos["hanks"])])
    assert gone_from(directory, secrets)
    service.erasures.erase("quix")
    assert gone_from(directory, secrets + spellings_of(OTHER))
