"""Answers to "who is this?" as the REST contract shapes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import PERSON, example
from core.domain.bounds import THRESHOLD, TOP_K
from core.domain.decisions import shown
from core.domain.faces import Box, Face, Quality
from core.domain.recognition import FaceResult, IdentifyResult, VerifyResult
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy

Similarity = Annotated[float, Field(description="Cosine similarity, -1 to 1. Not a probability.")]
HeldBackBy = Annotated[
    list[str], Field(description="Why it is no match, however similar: at most for review. Usually empty.")
]

LeftOut = Annotated[
    list[str],
    Field(description="What of the image was not looked at: `animation` (further frames), `smaller_faces`."),
]


class CandidateAnswer(BaseModel):
    user_id: str
    name: str
    similarity: Similarity
    source: Source

    @classmethod
    def all_of(cls, candidates: Sequence[Candidate], threshold: float) -> list[CandidateAnswer]:
        return [
            cls(user_id=c.user_id, name=c.name, similarity=_shown(c.similarity, threshold), source=c.source)
            for c in candidates
        ]


class QualityAnswer(BaseModel):
    score: float = Field(description="0 to 1, 1 is best.")
    rejects: list[str] = Field(description="Why the face can be no match, however similar.")
    warnings: list[str] = Field(description="What would make the picture better; the rejects first.")
    eye_distance: float = Field(description="Pixels between the eyes.")
    least_eye_distance: float = Field(description="Pixels between the eyes that are needed.")

    @classmethod
    def of(cls, quality: Quality) -> QualityAnswer:
        return cls(
            score=_round(quality.score),
            rejects=[str(reason) for reason in quality.rejects],
            warnings=[str(reason) for reason in (*quality.rejects, *quality.warnings)],
            eye_distance=shown(quality.measures["eye_distance"], quality.least_eye_distance, 1),
            least_eye_distance=quality.least_eye_distance,
        )


class FaceAnswer(BaseModel):
    box: list[float] = Field(description="x1, y1, x2, y2 in pixels of the upright image.")
    detection_score: float
    quality: QualityAnswer
    yaw: float
    pitch: float
    roll: float

    @classmethod
    def of(cls, face: Face) -> FaceAnswer:
        return cls(
            box=_corners(face.box),
            detection_score=_round(face.detection_score),
            quality=QualityAnswer.of(face.quality),
            yaw=_round(face.yaw),
            pitch=_round(face.pitch),
            roll=_round(face.roll),
        )


_CANDIDATE = {**PERSON, "similarity": 0.7431, "source": "both"}
_FACE = {
    "box": [201.4, 88.0, 322.9, 251.7],
    "detection_score": 0.94,
    "quality": {
        "score": 0.88,
        "rejects": [],
        "warnings": [],
        "eye_distance": 52.3,
        "least_eye_distance": 10,
    },
    "yaw": 0.02,
    "pitch": 0.51,
    "roll": -1.3,
}
_LATENCY = {"detect": 5.1, "embed": 6.8, "search": 0.9, "total": 14.2}


class VerifyAnswer(BaseModel):
    model_config = example(
        verified=True,
        decision="match",
        held_back_by=[],
        confidence=0.7431,
        candidates=[_CANDIDATE],
        face=_FACE,
        faces=1,
        strategy="hybrid",
        threshold=0.4,
        degraded=[],
        latency_ms=_LATENCY,
        warnings=[],
    )
    verified: bool
    decision: Decision
    held_back_by: HeldBackBy
    confidence: Similarity | None = Field(
        description="The best similarity with anybody, also of a stranger; null when nobody is enrolled."
    )
    candidates: list[CandidateAnswer] = Field(
        description="Who it may be, best first: nobody below the review band. With `user_id` that person."
    )
    face: FaceAnswer
    faces: int = Field(description="How many faces the image shows; the largest was checked.")
    strategy: Strategy | None = Field(
        description="What searched; null with `user_id`, for then nothing is searched."
    )
    threshold: float
    degraded: list[str] = Field(description="Tiers that should have answered and could not.")
    latency_ms: dict[str, float]
    warnings: LeftOut = []

    @classmethod
    def of(cls, result: VerifyResult) -> VerifyAnswer:
        search = result.search
        return cls(
            verified=result.verified,
            decision=search.decision,
            held_back_by=[str(reason) for reason in search.held_back_by],
            confidence=_confidence(search),
            candidates=CandidateAnswer.all_of(search.proposed, search.threshold),
            face=FaceAnswer.of(result.face),
            faces=result.faces,
            strategy=search.strategy,
            threshold=search.threshold,
            degraded=list(search.degraded),
            latency_ms=dict(result.latency_ms),
            warnings=[str(reason) for reason in result.warnings],
        )


class IdentifiedFace(BaseModel):
    bbox: list[float] = Field(description="x1, y1, x2, y2 in pixels of the upright image.")
    decision: Decision
    held_back_by: HeldBackBy
    confidence: Similarity | None
    candidates: list[CandidateAnswer] = Field(description="As in `/verify`.")
    face: FaceAnswer

    @classmethod
    def of(cls, result: FaceResult) -> IdentifiedFace:
        search = result.search
        return cls(
            bbox=_corners(result.face.box),
            decision=search.decision,
            held_back_by=[str(reason) for reason in search.held_back_by],
            confidence=_confidence(search),
            candidates=CandidateAnswer.all_of(search.proposed, search.threshold),
            face=FaceAnswer.of(result.face),
        )


class IdentifyAnswer(BaseModel):
    model_config = example(
        faces=[
            {
                "bbox": _FACE["box"],
                "decision": "match",
                "held_back_by": [],
                "confidence": 0.7431,
                "candidates": [_CANDIDATE],
                "face": _FACE,
            }
        ],
        latency_ms=_LATENCY,
        faces_left_out=0,
        warnings=[],
    )
    faces: list[IdentifiedFace] = Field(description="Largest first; empty when the image shows no face.")
    latency_ms: dict[str, float]
    faces_left_out: int = Field(0, description="Smaller faces that were not looked up: there are too many.")
    warnings: LeftOut = []

    @classmethod
    def of(cls, result: IdentifyResult) -> IdentifyAnswer:
        return cls(
            faces=[IdentifiedFace.of(face) for face in result.faces],
            latency_ms=dict(result.latency_ms),
            faces_left_out=result.faces_left_out,
            warnings=[str(reason) for reason in result.warnings],
        )


class SearchQuery(BaseModel):
    """A probe as the face pack in use makes it; it need not be normalised."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"embedding": [0.12, -0.05]}})
    embedding: list[float] = Field(max_length=4096)
    strategy: Strategy | None = None
    top_k: Annotated[int, TOP_K] = 5
    threshold: Annotated[float, THRESHOLD] | None = None


class SearchAnswer(BaseModel):
    model_config = example(
        decision="match",
        candidates=[_CANDIDATE],
        strategy="hybrid",
        threshold=0.4,
        degraded=[],
        latency_ms={"hot": 0.2, "cold": 0.7, "merge": 0.05, "join": 0.1, "total": 1.1},
    )
    decision: Decision
    candidates: list[CandidateAnswer] = Field(
        description="The nearest people, best first, also below the review band."
    )
    strategy: Strategy
    threshold: float
    degraded: list[str]
    latency_ms: dict[str, float]

    @classmethod
    def of(cls, result: SearchResult) -> SearchAnswer:
        return cls(
            decision=result.decision,
            candidates=CandidateAnswer.all_of(result.candidates, result.threshold),
            strategy=result.strategy,
            threshold=result.threshold,
            degraded=list(result.degraded),
            latency_ms=_stages(result.timings),
        )


def _round(value: float) -> float:
    return round(float(value), 4)


def _shown(similarity: float, threshold: float) -> float:
    return shown(float(similarity), threshold, 4)


def _corners(box: Box) -> list[float]:
    return [round(float(value), 1) for value in (box.x1, box.y1, box.x2, box.y2)]


def _confidence(search: SearchResult) -> float | None:
    return None if search.best is None else _shown(search.best.similarity, search.threshold)


def _stages(timings: SearchTimings) -> dict[str, float]:
    stages: Mapping[str, float | None] = {
        "hot": timings.hot,
        "cold": timings.cold,
        "merge": timings.merge,
        "join": timings.join,
        "total": timings.total,
    }
    return {name: round(ms, 3) for name, ms in stages.items() if ms is not None}
