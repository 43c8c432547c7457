"""People, and what was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from core.domain.faces import Reason
from core.domain.json_values import Json


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled identity."""

    user_id: str
    name: str
    templates: int
    created_at: datetime  # UTC, as every time in Robi
    updated_at: datetime
    last_matched_at: datetime | None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    photo_asked_at: datetime | None = None  # a better photo was asked for, and none was enrolled since


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people who look alike and are two all the same; the one with the smaller number comes first."""

    persons: tuple[int, int]
    user_ids: tuple[str, str]
    names: tuple[str, str]
    margin: float  # lead over the other one that a match of either needs
    at: datetime


@dataclass(frozen=True, slots=True)
class CommittedEnrollment:
    """A committed enrollment: it is durable, and in every tier whose seq has reached `seq`."""

    person: Person
    template_ids: tuple[int, ...]
    seq: int
    created: bool


@dataclass(frozen=True, slots=True)
class Erasure:
    """A committed erasure."""

    user_id: str
    name: str
    template_ids: tuple[int, ...]
    seq: int
    event: int  # the one that tells of it


@dataclass(frozen=True, slots=True)
class Merger:
    """Two people became one: `person` has `template_ids` in place of the other's `gone`."""

    person: Person
    template_ids: tuple[int, ...]
    gone: tuple[int, ...]
    seq: int


@dataclass(frozen=True, slots=True)
class GalleryCounts:
    people: int
    templates: int


@dataclass(frozen=True, slots=True)
class EnrolledPhoto:
    photo: str
    template_id: int
    quality: float
    warnings: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class RejectedPhoto:
    photo: str
    reasons: tuple[str, ...]  # `Reason` codes, or the error code of a file that is no usable image


@dataclass(frozen=True, slots=True)
class EnrollResult:
    person: Person
    enrolled: tuple[EnrolledPhoto, ...]
    rejected: tuple[RejectedPhoto, ...]
    searchable: bool
    behind: tuple[str, ...]  # the tiers that have not applied it yet
    created: bool


@dataclass(frozen=True, slots=True)
class OnDisk:
    """How much of erased vectors may still lie in the files of a tier that does not hold them any more."""

    bytes: int | None  # None: it could not be asked
    gone_by: datetime | None = None  # None: the tier does not say


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an erasure: how many of the person's templates each tier still holds."""

    user_id: str
    name: str | None  # only in the answer to the erasing: it is kept nowhere
    templates_erased: int
    left: Mapping[str, int | None]  # ledger, qdrant, faiss; None: that tier could not be asked
    disk: Mapping[str, OnDisk]  # ledger, qdrant; for files, where deleting and overwriting are two things
    event: int = 0  # the erasure's, by which the receipt can be asked for again
