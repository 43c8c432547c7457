"""The values that cross Robi's boundaries: small, frozen, and free of behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

Image = NDArray[np.uint8]
"""A picture, shape (height, width, 3), channels in BGR order as OpenCV has them."""

Embedding = NDArray[np.float32]
"""One face as a vector, shape (dimension,), float32, L2-normalised."""

Embeddings = NDArray[np.float32]
"""Several faces, shape (n, dimension), float32, each row L2-normalised."""


class Strategy(StrEnum):
    """How a probe is searched for in the two vector tiers."""

    HYBRID = "hybrid"  # both tiers at once, merged
    FAISS_FIRST = "faiss_first"  # the hot tier, then the cold one when that is not enough
    QDRANT_ONLY = "qdrant_only"  # the cold tier alone


class Decision(StrEnum):
    """What a similarity and a threshold amount to."""

    MATCH = "match"
    REVIEW = "review"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """Where a candidate was found."""

    FAISS = "faiss"
    QDRANT = "qdrant"
    BOTH = "both"
    LEDGER = "ledger"  # 1:1 compares with the person's own templates; nothing is searched


class Purpose(StrEnum):
    """What a photo is for: enrolling asks for more than verifying does."""

    ENROLL = "enroll"
    VERIFY = "verify"


class Reason(StrEnum):
    """Why a photo is poor or unusable. The sentence for each is in `core.faces.quality`."""

    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    FACE_TOO_SMALL = "face_too_small"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    TURNED_AWAY = "turned_away"
    TILTED = "tilted"
    CUT_OFF = "cut_off"
    LOW_QUALITY = "low_quality"
    DIFFERENT_PERSON = "different_person"  # does not show the person whom the other photos show
    SAME_PERSON_TWICE = "same_person_twice"  # another face of the picture is more like the same person
    FITS_TWO_PEOPLE = "fits_two_people"  # two enrolled people resemble it about equally
    ON_ITS_SIDE = "on_its_side"  # the picture had to be turned before anybody was found
    DAMAGED = "damaged"  # part of the face is missing in the file
    ALREADY_THERE = "already_there"  # the very photo is enrolled, or was sent twice
    ANIMATION = "animation"  # of which the first picture was looked at
    SMALLER_FACES = "smaller_faces"  # were left out


# ---------------------------------------------------------------- faces


@dataclass(frozen=True, slots=True)
class PackInfo:
    """The face models in use. A gallery is bound to `id`, `digest` and `dimension`."""

    id: str
    digest: str
    dimension: int
    licence: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the image it was found in; may reach past the border."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a face is for recognition.

    `score` is 0..1 (1 is best). Any entry in `rejects` makes the face unusable for the purpose it
    was judged for; `warnings` do not. `measures` holds the numbers behind both.
    """

    score: float
    rejects: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    least_eye_distance: float = 0.0  # in pixels: what the purpose asks of `measures["eye_distance"]`

    @property
    def usable(self) -> bool:
        return not self.rejects


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face found in an image."""

    box: Box
    landmarks: NDArray[np.float32]  # (5, 2): left eye, right eye, nose, mouth corners, in pixels
    detection_score: float
    embedding: Embedding
    quality: Quality
    yaw: float  # nose offset from the eyes' middle, in inter-eye distances; > 0: towards image right
    pitch: float  # nose position between eyes (0) and mouth (1)
    roll: float  # degrees, > 0: clockwise


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """All faces of one image, largest first, and what finding them cost.

    Boxes and landmarks are in the image as it came, also where it had to be turned to find anybody.
    """

    faces: tuple[Face, ...]
    width: int
    height: int
    detect_ms: float
    embed_ms: float
    quarter_turns: int = 0  # anticlockwise, until the faces are upright
    luminance: float | None = None  # mean of the whole image, 0..1, where there is no face
    faces_left_out: int = 0  # smaller ones, beyond as many as are looked at


@dataclass(frozen=True, slots=True, eq=False)
class PhotoVerdict:
    """Whether one photo can be enrolled: `face` is set exactly if there are no `rejects`."""

    photo: str  # the caller's name for the photo
    face: Face | None
    rejects: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    thumbnail: bytes | None = None  # JPEG of the face, for the screen; stored only if images are kept


# ---------------------------------------------------------------- ledger


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


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled identity."""

    user_id: str
    name: str
    templates: int
    created_at: datetime  # UTC, as every time in Robi
    updated_at: datetime
    last_matched_at: datetime | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
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
class Page(Generic[T]):
    """One page of a listing; `next` is the cursor of the page after it, None at the end."""

    items: tuple[T, ...]
    next: str | None
    total: int


@dataclass(frozen=True, slots=True)
class Enrollment:
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
class NewEvent:
    """An event about to be kept. `detail` is JSON-ready, without names and biometric data."""

    at: datetime
    kind: str
    user_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `name` is the person's present one; None when they are erased.

    `user_id` and `name_then` are what they had when it happened, `user_id_now` is under what they are found.
    """

    id: int
    at: datetime
    kind: str
    user_id: str | None
    name: str | None
    detail: Mapping[str, Any]
    name_then: str | None = None
    user_id_now: str | None = None


# ---------------------------------------------------------------- store


class Hit(NamedTuple):  # made by the thousand: a tuple takes a third of the time
    """A template that a tier proposes. The ledger decides whether it still exists and whose it is."""

    template_id: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person proposed for a probe, with the best similarity (cosine, -1..1) of their templates."""

    user_id: str
    name: str
    similarity: float
    source: Source
    template_id: int


@dataclass(frozen=True, slots=True)
class SearchTimings:
    """Milliseconds on a monotonic clock; a stage that did not run is None."""

    total: float
    hot: float | None = None
    cold: float | None = None
    merge: float | None = None
    join: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Distinct people, best first, and how they were found."""

    candidates: tuple[Candidate, ...]
    decision: Decision
    strategy: Strategy
    threshold: float
    tiers: tuple[str, ...]  # the tiers that answered
    degraded: tuple[str, ...]  # the tiers that should have answered and could not
    cache_top1_wrong: bool  # the hot tier's best person was not the final best
    timings: SearchTimings
    review_floor: float = -1.0  # similarity below which nobody is proposed
    held_back_by: tuple[Reason, ...] = ()  # why it is no match, however similar

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None

    @property
    def proposed(self) -> tuple[Candidate, ...]:
        """The candidates to name: those down to the review band, and in 1:1 the person who was asked about.

        Who comes below is a stranger's nearest neighbour, and would be taken for a suspect.
        """
        return tuple(
            c for c in self.candidates if c.source is Source.LEDGER or c.similarity >= self.review_floor
        )


@dataclass(frozen=True, slots=True)
class TierState:
    """Where one vector tier stands against the ledger."""

    name: str  # "faiss" or "qdrant"
    kind: str  # "Flat", "SQfp16", "edge", "server", ...
    ok: bool
    templates: int
    seq: int
    lag: int  # changes committed and not yet applied
    coverage: float  # share of the gallery's templates in this tier, 0..1
    since: datetime  # of the present `ok`
    answers: bool  # searches ask it: also while it is behind, or short of something that was asked for
    progress: float | None = None  # 0..1 while it loads; None otherwise
    error: str | None = None  # in an operator's words


# ---------------------------------------------------------------- use-cases


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How faces are checked: against everybody (1:N), or with `user_id` against that person only (1:1).

    None is what is tuned at the moment of each check.
    """

    strategy: Strategy | None = None
    threshold: float | None = None
    user_id: str | None = None
    top_k: int = 5


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


@dataclass(frozen=True, slots=True, eq=False)
class FaceResult:
    """One face of a picture and who it may be."""

    face: Face
    search: SearchResult


@dataclass(frozen=True, slots=True, eq=False)
class VerifyResult:
    """The largest face of a picture, checked 1:N or, when `user_id` was given, 1:1."""

    face: Face
    faces: int  # in the picture
    search: SearchResult
    verified: bool
    latency_ms: Mapping[str, float]  # detect, embed, search, total
    warnings: tuple[Reason, ...] = ()  # about the picture: what of it was not looked at

    @property
    def confidence(self) -> float | None:
        """The best similarity; None when nobody was proposed."""
        best = self.search.best
        return best.similarity if best else None


@dataclass(frozen=True, slots=True, eq=False)
class IdentifyResult:
    faces: tuple[FaceResult, ...]
    latency_ms: Mapping[str, float]
    faces_left_out: int = 0  # smaller ones, beyond as many as are looked up
    warnings: tuple[Reason, ...] = ()  # about the picture: what of it was not looked at


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


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    name: str  # faces, faiss, qdrant, ledger
    status: str  # ok, warming, degraded, off, unavailable
    detail: str  # one sentence for an operator
    since: datetime
    progress: float | None = None  # 0..1 while warming
    last_error: str | None = None  # what was wrong last, also when it has passed
    last_error_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Health:
    status: str  # ok, degraded, unavailable
    components: tuple[ComponentHealth, ...]
