"""What the API answers: the values of `core.types`, named and shaped as the REST contract says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from core.types import (
    Box,
    Candidate,
    Decision,
    EnrollResult,
    Face,
    FaceResult,
    Health,
    IdentifyResult,
    Page,
    Person,
    Receipt,
    SearchResult,
    SearchTimings,
    Source,
    Strategy,
    VerifyResult,
)

Similarity = Annotated[float, Field(description="Cosine similarity, -1 to 1. Not a probability.")]
_ANA = {"user_id": "ana-ruiz", "name": "Ana Ruiz"}


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": values})


# ---------------------------------------------------------------- errors


class ErrorBody(BaseModel):
    code: str = Field(description="Stable and machine-readable.")
    message: str = Field(description="One sentence: what is wrong.")
    hint: str = Field(description="What to do about it.")
    request_id: str = Field(description="As in the X-Request-ID header, and in Robi's log.")
    detail: dict[str, Any] | None = Field(None, description="With some codes only; absent otherwise.")


class ErrorAnswer(BaseModel):
    model_config = _example(
        error={
            "code": "unknown_person",
            "message": "Nobody is enrolled under this user_id.",
            "hint": "Look the person up in the list of people.",
            "request_id": "5f0c8a2b9d3e4f61",
        }
    )
    error: ErrorBody


# ---------------------------------------------------------------- people


class User(BaseModel):
    model_config = _example(
        **_ANA,
        templates=3,
        created_at="2026-11-23T08:30:00Z",
        updated_at="2026-11-23T08:30:00Z",
        last_matched_at=None,
        metadata={"team": "night"},
    )
    user_id: str
    name: str
    templates: int = Field(description="How many templates (embeddings) the person has.")
    created_at: datetime
    updated_at: datetime
    last_matched_at: datetime | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, person: Person) -> User:
        return cls(
            user_id=person.user_id,
            name=person.name,
            templates=person.templates,
            created_at=person.created_at,
            updated_at=person.updated_at,
            last_matched_at=person.last_matched_at,
            metadata=dict(person.metadata),
        )


class UserPage(BaseModel):
    users: list[User]
    next: str | None = Field(description="The cursor of the next page; null at the end.")
    total: int = Field(description="How many people there are on all pages together.")

    @classmethod
    def of(cls, page: Page[Person]) -> UserPage:
        return cls(users=[User.of(person) for person in page.items], next=page.next, total=page.total)


class UserPatch(BaseModel):
    """At least one of the two; metadata are replaced as a whole."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Ana Ruiz Soto"}})
    name: str | None = None
    metadata: dict[str, Any] | None = None


class ReceiptAnswer(BaseModel):
    model_config = _example(
        user_id="ana-ruiz", templates_erased=3, tiers={"ledger": 0, "qdrant": 0, "faiss": 0}
    )
    user_id: str
    templates_erased: int
    tiers: dict[str, int | None] = Field(
        description="How many of the person's templates each tier still holds; null: it could not be asked."
    )

    @classmethod
    def of(cls, receipt: Receipt) -> ReceiptAnswer:
        return cls(
            user_id=receipt.user_id, templates_erased=receipt.templates_erased, tiers=dict(receipt.left)
        )


# ---------------------------------------------------------------- enrolling


class EnrolledImage(BaseModel):
    image: str = Field(description="The file's name as it was sent.")
    template_id: int
    quality: float = Field(description="0 to 1, 1 is best.")
    warnings: list[str]


class RejectedImage(BaseModel):
    image: str
    reasons: list[str]


class EnrollAnswer(BaseModel):
    model_config = _example(
        user_id="ana-ruiz",
        name="Ana Ruiz",
        created=True,
        enrolled=[{"image": "front.jpg", "template_id": 1, "quality": 0.91, "warnings": []}],
        rejected=[{"image": "group.jpg", "reasons": ["several_faces"]}],
        searchable=True,
        behind=[],
    )
    user_id: str
    name: str
    created: bool = Field(description="False: the templates were added to a person already enrolled.")
    enrolled: list[EnrolledImage]
    rejected: list[RejectedImage]
    searchable: bool = Field(description="True: every strategy finds these templates from now on.")
    behind: list[str] = Field(description="The tiers that have not taken it over yet; they will.")

    @classmethod
    def of(cls, result: EnrollResult) -> EnrollAnswer:
        return cls(
            user_id=result.person.user_id,
            name=result.person.name,
            created=result.created,
            enrolled=[
                EnrolledImage(
                    image=photo.photo,
                    template_id=photo.template_id,
                    quality=round(float(photo.quality), 4),
                    warnings=[str(reason) for reason in photo.warnings],
                )
                for photo in result.enrolled
            ],
            rejected=[
                RejectedImage(image=photo.photo, reasons=[str(reason) for reason in photo.reasons])
                for photo in result.rejected
            ],
            searchable=result.searchable,
            behind=list(result.behind),
        )


# ---------------------------------------------------------------- recognising


class CandidateAnswer(BaseModel):
    user_id: str
    name: str
    similarity: Similarity
    source: Source

    @classmethod
    def all_of(cls, candidates: Sequence[Candidate]) -> list[CandidateAnswer]:
        return [
            cls(user_id=c.user_id, name=c.name, similarity=_round(c.similarity), source=c.source)
            for c in candidates
        ]


class QualityAnswer(BaseModel):
    score: float = Field(description="0 to 1, 1 is best.")
    warnings: list[str]


class FaceAnswer(BaseModel):
    box: list[float] = Field(description="x1, y1, x2, y2 in pixels of the upright image.")
    detection_score: float
    quality: QualityAnswer
    yaw: float
    pitch: float
    roll: float

    @classmethod
    def of(cls, face: Face) -> FaceAnswer:
        reasons = [*face.quality.rejects, *face.quality.warnings]
        return cls(
            box=_corners(face.box),
            detection_score=_round(face.detection_score),
            quality=QualityAnswer(score=_round(face.quality.score), warnings=[str(r) for r in reasons]),
            yaw=_round(face.yaw),
            pitch=_round(face.pitch),
            roll=_round(face.roll),
        )


_CANDIDATE = {**_ANA, "similarity": 0.7431, "source": "both"}
_FACE = {
    "box": [201.4, 88.0, 322.9, 251.7],
    "detection_score": 0.94,
    "quality": {"score": 0.88, "warnings": []},
    "yaw": 0.02,
    "pitch": 0.51,
    "roll": -1.3,
}
_LATENCY = {"detect": 5.1, "embed": 6.8, "search": 0.9, "total": 14.2}


class VerifyAnswer(BaseModel):
    model_config = _example(
        verified=True,
        decision="match",
        confidence=0.7431,
        candidates=[_CANDIDATE],
        face=_FACE,
        faces=1,
        strategy="hybrid",
        threshold=0.4,
        degraded=[],
        latency_ms=_LATENCY,
    )
    verified: bool
    decision: Decision
    confidence: Similarity | None = Field(description="The best similarity; null when nobody was proposed.")
    candidates: list[CandidateAnswer]
    face: FaceAnswer
    faces: int = Field(description="How many faces the image shows; the largest was checked.")
    strategy: Strategy
    threshold: float
    degraded: list[str] = Field(description="Tiers that should have answered and could not.")
    latency_ms: dict[str, float]

    @classmethod
    def of(cls, result: VerifyResult) -> VerifyAnswer:
        search = result.search
        return cls(
            verified=result.verified,
            decision=search.decision,
            confidence=_confidence(search),
            candidates=CandidateAnswer.all_of(search.candidates),
            face=FaceAnswer.of(result.face),
            faces=result.faces,
            strategy=search.strategy,
            threshold=search.threshold,
            degraded=list(search.degraded),
            latency_ms=dict(result.latency_ms),
        )


class IdentifiedFace(BaseModel):
    bbox: list[float] = Field(description="x1, y1, x2, y2 in pixels of the upright image.")
    decision: Decision
    confidence: Similarity | None
    candidates: list[CandidateAnswer]
    face: FaceAnswer

    @classmethod
    def of(cls, result: FaceResult) -> IdentifiedFace:
        return cls(
            bbox=_corners(result.face.box),
            decision=result.search.decision,
            confidence=_confidence(result.search),
            candidates=CandidateAnswer.all_of(result.search.candidates),
            face=FaceAnswer.of(result.face),
        )


class IdentifyAnswer(BaseModel):
    model_config = _example(
        faces=[
            {
                "bbox": _FACE["box"],
                "decision": "match",
                "confidence": 0.7431,
                "candidates": [_CANDIDATE],
                "face": _FACE,
            }
        ],
        latency_ms=_LATENCY,
    )
    faces: list[IdentifiedFace] = Field(description="Largest first; empty when the image shows no face.")
    latency_ms: dict[str, float]

    @classmethod
    def of(cls, result: IdentifyResult) -> IdentifyAnswer:
        return cls(
            faces=[IdentifiedFace.of(face) for face in result.faces], latency_ms=dict(result.latency_ms)
        )


class SearchQuery(BaseModel):
    """A probe as the face pack in use makes it; it need not be normalised."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"embedding": [0.12, -0.05]}})
    embedding: list[float] = Field(max_length=4096)
    strategy: Strategy | None = None
    top_k: int = 5
    threshold: float | None = None


class SearchAnswer(BaseModel):
    model_config = _example(
        decision="match",
        candidates=[_CANDIDATE],
        strategy="hybrid",
        threshold=0.4,
        degraded=[],
        latency_ms={"hot": 0.2, "cold": 0.7, "join": 0.1, "total": 0.9},
    )
    decision: Decision
    candidates: list[CandidateAnswer]
    strategy: Strategy
    threshold: float
    degraded: list[str]
    latency_ms: dict[str, float]

    @classmethod
    def of(cls, result: SearchResult) -> SearchAnswer:
        return cls(
            decision=result.decision,
            candidates=CandidateAnswer.all_of(result.candidates),
            strategy=result.strategy,
            threshold=result.threshold,
            degraded=list(result.degraded),
            latency_ms=_stages(result.timings),
        )


# ---------------------------------------------------------------- the system


class ComponentAnswer(BaseModel):
    status: str = Field(description="ok, degraded, off or unavailable.")
    detail: str
    since: datetime


class HealthAnswer(BaseModel):
    status: str = Field(description="ok, degraded or unavailable.")
    components: dict[str, ComponentAnswer]

    @classmethod
    def of(cls, health: Health) -> HealthAnswer:
        return cls(
            status=health.status,
            components={
                part.name: ComponentAnswer(status=part.status, detail=part.detail, since=part.since)
                for part in health.components
            },
        )


class StatsAnswer(BaseModel):
    """More may be added; what is here stays."""

    model_config = ConfigDict(extra="allow")
    gallery: dict[str, int]
    tiers: dict[str, dict[str, Any]] = Field(description="Size, coverage, seq and lag of each tier.")
    latency: dict[str, Any] = Field(description="p50, p95 and p99 in ms, by strategy and by stage.")
    throughput: dict[str, float]
    hit_rate: dict[str, int | float | None]
    errors: dict[str, int] = Field(description="How often each error code was answered since the start.")
    memory: dict[str, Any]
    gpu: dict[str, Any]


class ColdPerformance(BaseModel):
    """The cold tier in detail; engines add fields of their own."""

    model_config = ConfigDict(extra="allow")
    mode: str
    points: int | None
    latencies_ms: dict[str, Any]
    seq: int
    seq_lag: int


def _round(value: float) -> float:
    return round(float(value), 4)


def _corners(box: Box) -> list[float]:
    return [round(float(value), 1) for value in (box.x1, box.y1, box.x2, box.y2)]


def _confidence(search: SearchResult) -> float | None:
    return None if search.best is None else _round(search.best.similarity)


def _stages(timings: SearchTimings) -> dict[str, float]:
    stages: Mapping[str, float | None] = {
        "hot": timings.hot,
        "cold": timings.cold,
        "join": timings.join,
        "total": timings.total,
    }
    return {name: round(ms, 3) for name, ms in stages.items() if ms is not None}
