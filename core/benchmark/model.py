"""The values of a comparison of search settings: what is asked for, what was measured, what differs.

All are frozen and free of behaviour, names and biometric data. Times are milliseconds unless the name says
otherwise; intervals are of 95% confidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core.config.settings import IndexType
from core.domain.errors import RobiError
from core.domain.faces import Embeddings
from core.domain.search import SearchResult, Strategy

SIMILARITY = 0.72  # of a perturbed probe to its template: the median genuine pair of the open pack
STRANGERS = 0.2  # share of probes who are nobody in the gallery
CONCURRENCIES = (1, 8, 32, 100)  # clients at once that can be chosen
COVERAGES = (1.0, 0.5, 0.1)  # shares of the templates in the hot tier that can be chosen


class ProbeKind(StrEnum):
    GALLERY = "gallery"  # templates of the gallery, changed to look like another photo; and strangers
    PHOTOS = "photos"  # the faces of uploaded photos
    RECENT = "recent"  # the newest real probes; only where ROBI_KEEP_PROBES keeps them


@dataclass(frozen=True, slots=True)
class ProbeSource:
    """Where probes come from. A kept run has no `embeddings`, whatever its kind."""

    kind: ProbeKind = ProbeKind.GALLERY
    similarity: float = SIMILARITY  # of `gallery` probes to their templates
    strangers: float = STRANGERS  # share of `gallery` probes in random directions
    embeddings: Embeddings | None = field(default=None, repr=False, compare=False)  # of `photos`


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the comparison. What a strategy does not use is ignored: `qdrant_only` has no hot tier."""

    strategy: Strategy
    coverage: float = 1.0  # share of the gallery's templates in the hot tier, by whole people
    index_type: IndexType = "auto"
    nprobe: int = 64  # lists of an IVF index that a search looks into
    search_ef: int = 128  # neighbours considered in Qdrant's graph


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to compare. Every setting gets the same `count` probes at each concurrency."""

    settings: tuple[Setting, ...]
    name: str = ""
    probes: ProbeSource = ProbeSource()
    count: int = 300
    k: int = 5
    threshold: float | None = None  # None: the one in effect
    concurrencies: tuple[int, ...] = (1,)
    seed: int = 0
    time_limit_s: float = 300.0  # a run that reaches it is kept with what is complete, and says so


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; an end that the sample cannot support is None."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Ecdf:
    """`share[i]` of the searches took at most `ms[i]`. Steps up; thinned out where there are very many."""

    ms: tuple[float, ...]
    share: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One setting at one concurrency. Estimates are None when nothing (known) was answered."""

    setting: Setting
    concurrency: int
    n: int  # searches answered
    failures: Mapping[str, int]  # searches that got an error, by its code
    latency: Ecdf  # from submitting a search to its answer, as in the live metrics
    p50: Estimate | None
    p95: Estimate | None
    p99: Estimate | None
    throughput_per_s: Estimate | None
    recall_at_1: Estimate | None  # of probes whom the oracle proposes somebody for: it is the first candidate
    recall_at_5: Estimate | None  # of the oracle's five nearest people, those among the candidates; k >= 5
    agreement: Estimate | None  # same decision, and same person if there is one, as the oracle's
    wrong_cache_top1: Estimate | None  # the hot tier named somebody else first; None where it is empty
    stages: Mapping[str, float]  # mean ms of those that ran: hot, cold, merge, join
    sources: Mapping[str, float]  # share of accepted winners by source
    hot_kind: str | None  # the index that was measured, such as "PQfs"; None without a hot tier
    hot_templates: int
    memory_bytes: int  # of the hot tier


@dataclass(frozen=True, slots=True)
class MachineNote:
    cores: int
    memory_bytes: int
    platform: str
    versions: Mapping[str, str]  # python, numpy, faiss, qdrant, robi


@dataclass(frozen=True, slots=True)
class Run:
    """A finished comparison. `id` is 0 until it is kept."""

    id: int
    name: str
    at: datetime  # when it began
    duration_s: float
    complete: bool  # False: the time limit ended it; what is here is complete
    request: RunRequest  # its `threshold` is the one that was used, its probes come without embeddings
    machine: MachineNote
    gallery_people: int
    gallery_templates: int
    dimension: int
    pack: str
    rows: tuple[Measurement, ...]
    pareto: tuple[int, ...]  # rows that no other of the same concurrency beats at p95 and recall@1
    notes: tuple[str, ...] = ()  # what a reader should know, in sentences


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A kept run as the list shows it."""

    id: int
    name: str
    at: datetime
    duration_s: float
    complete: bool
    probes: ProbeKind
    count: int
    settings: int
    concurrencies: tuple[int, ...]
    gallery_templates: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the last run ended: exactly one of the three."""

    run: Run | None = None
    error: RobiError | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Gain:
    """One figure of two runs. `low` and `high` bound `b - a`; `word` says what can be said of b."""

    a: float
    b: float
    low: float | None
    high: float | None
    word: str  # "faster", "slower", "better", "worse", "more", "fewer" or "no difference shown"


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting at one concurrency in two runs."""

    setting: Setting
    concurrency: int
    p50: Gain | None
    p95: Gain | None
    recall_at_1: Gain | None
    agreement: Gain | None
    throughput_per_s: Gain | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side. `notes` say what else differs: the machine, the gallery, the probes."""

    a: RunSummary
    b: RunSummary
    rows: tuple[Difference, ...]
    only_a: tuple[tuple[Setting, int], ...]  # settings with concurrencies that only one run has
    only_b: tuple[tuple[Setting, int], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageSpan:
    """A stage on the timeline; `start_ms` counts from when the photo's analysis began."""

    stage: str  # detect, embed, hot, cold, merge or join
    start_ms: float
    duration_ms: float


@dataclass(frozen=True, slots=True)
class TracedSearch:
    """One strategy: its answer, or why there is none."""

    result: SearchResult | None
    error: RobiError | None
    spans: tuple[StageSpan, ...]  # in order of their start; some run at once
    total_ms: float  # from the beginning of detecting to the answer


@dataclass(frozen=True, slots=True)
class Traced:
    searches: Mapping[Strategy, TracedSearch]


@dataclass(frozen=True, slots=True)
class RecordedScores:
    """What is known of real probes where their embeddings are not kept: the newest decisions on record."""

    similarities: tuple[float, ...]  # of the best candidates, newest first
    decisions: Mapping[str, int]
