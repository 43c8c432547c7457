"""Embeddings of enrolled people, and the changes of the gallery that the tiers follow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Embedding, Embeddings


class ChangeKind(StrEnum):
    PUT = "put"
    DROP = "drop"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One step of the change feed. `person` is the ledger's own number, never the `user_id`.

    A put whose template has since been erased comes without its vector: apply it as a drop.
    """

    seq: int
    kind: ChangeKind
    template_id: int
    person: int
    vector: Embedding | None


@dataclass(frozen=True, slots=True, eq=False)
class NewTemplate:
    """A template about to be enrolled.

    `vouched` is for the ledger to set: only the photos that began a person say who that is. What was added
    later may resemble them; it never speaks for the next photo, or a chain of look-alikes could lead to
    somebody else.
    """

    vector: Embedding
    quality: float
    via: str  # "webcam", "upload", "api", "demo"
    thumbnail: bytes | None = None
    vouched: bool = True


class StoredTemplate(NamedTuple):  # a tuple for speed, as Hit; compare two by their ids
    """A template as the ledger keeps it, with the person it belongs to."""

    template_id: int
    person: int
    user_id: str
    name: str
    vector: Embedding
    vouched: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class HotSet:
    """The templates that belong in the hot tier, as they stood at `seq`.

    The arrays are longer than `count` by the room that was asked for; people's templates are side by side.
    """

    seq: int
    ids: NDArray[np.int64]
    persons: NDArray[np.int64]
    vectors: Embeddings
    count: int
    gallery: int  # templates in the whole gallery at `seq`


@dataclass(frozen=True, slots=True)
class TemplateInfo:
    """What a person's page shows of one template."""

    template_id: int
    quality: float
    via: str
    created_at: datetime
    thumbnail: bytes | None


class TemplateBlock(NamedTuple):
    """Some templates side by side: ids and persons (n,), vectors (n, dimension)."""

    ids: NDArray[np.int64]
    persons: NDArray[np.int64]
    vectors: Embeddings


class TemplateOwner(NamedTuple):  # a tuple for speed: there may be fifty thousand
    """Whose a template is. `asked`: a better photo was asked for, and none was enrolled since."""

    user_id: str
    name: str
    quality: float
    asked: bool
