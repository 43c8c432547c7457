"""Which photos of an enrollment go together: pure rules over faces and their embeddings.

A photo must be new, and show the person: the first ones agree with each other, a later one agrees with those
that say who the person is, and resembles nobody else as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.domain.faces import Embedding, Face
from core.domain.search import Decision, SearchResult

SAME_PHOTO = 0.999
"""Similarity from which two photos are one: another frame of one film stays below, another file of one
picture (scaled, compressed again) above."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How photos of one enrollment fit together, flags in their order."""

    people: int  # how many the photos show
    belongs: tuple[bool, ...]  # to the person of most photos
    new: tuple[bool, ...]  # not the very photo of an earlier one


def compared(faces: Sequence[Face], threshold: float) -> Compared:
    """How photos fit together. Where nobody has more of them than another, none is said to belong."""
    new = not_twice(faces, ())
    groups = _groups(faces, threshold)
    sizes = sorted((groups.count(group) for group in set(groups)), reverse=True)
    tied = len(sizes) > 1 and sizes[0] == sizes[1]
    belongs = [False] * len(faces) if tied else of_one_person(faces, threshold)
    return Compared(len(sizes), tuple(belongs), tuple(new))


def not_twice(faces: Sequence[Face], known: Sequence[Embedding]) -> list[bool]:
    """For each face, whether its photo is neither among `known` nor came earlier."""
    there = list(known)
    new: list[bool] = []
    for face in faces:
        is_new = not there or float(np.max(np.stack(there) @ face.embedding)) < SAME_PHOTO
        new.append(is_new)
        if is_new:
            there.append(face.embedding)
    return new


def of_one_person(faces: Sequence[Face], threshold: float) -> list[bool]:
    """For each face, whether it shows the person of the photo that most others agree with.

    One photo that resembles two people brings nobody in: a face must agree with more than half of the others.
    """
    if not faces:
        return []
    vectors = np.stack([face.embedding for face in faces])
    agree = vectors @ vectors.T >= threshold
    scores = [(int(agree[n].sum()), faces[n].quality.score) for n in range(len(faces))]
    centre = max(range(len(faces)), key=scores.__getitem__)
    group = agree[centre]
    with_group = (agree & group).sum(axis=1) - group  # a face is no witness for itself
    others = group.sum() - group
    return [bool(group[n] and (2 * with_group[n] > others[n] or not others[n])) for n in range(len(faces))]


def is_vouched(face: Face, vouched: Sequence[Embedding], threshold: float) -> bool:
    """Whether a face reaches the threshold against more than half of the templates that say who it is."""
    agreeing = sum(float(vector @ face.embedding) >= threshold for vector in vouched)
    return 2 * agreeing > len(vouched)


def median_similarity(face: Face, vouched: Sequence[Embedding]) -> float:
    """How much a face resembles the templates that say who it is."""
    return float(np.median(np.stack(vouched) @ face.embedding))


def fits_two(result: SearchResult) -> bool:
    """Whether two enrolled people resemble a face so much alike that it may be either's.

    It reaches the threshold, and yet is no match: the second person is too near, also by the margin of a
    confirmed pair.
    """
    best = result.best
    return best is not None and best.similarity >= result.threshold and result.decision is not Decision.MATCH


def of_another(result: SearchResult, user_id: str) -> bool:
    """Whether a face is somebody else's by far, however well it agrees with this person's photos too."""
    best = result.best
    return best is not None and best.similarity >= result.threshold and best.user_id != user_id


def _groups(faces: Sequence[Face], threshold: float) -> list[int]:
    """For each face the number of its group: whoever agrees with one of a group is of it."""
    groups = list(range(len(faces)))
    for n, face in enumerate(faces):
        for m in range(n):
            if groups[n] != groups[m] and float(faces[m].embedding @ face.embedding) >= threshold:
                groups = [groups[m] if group == groups[n] else group for group in groups]
    return groups
