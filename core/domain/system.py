"""How the parts of Robi are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime


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


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    name: str  # faces, faiss, qdrant, ledger; backup, where backups are scheduled
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


@dataclass(frozen=True, slots=True)
class ServerNode:
    """One node of a vector server, as Robi sees it from outside."""

    url: str
    answers: bool
    since: datetime  # of the present `answers`
    failures: int  # in a row


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy of one part of a collection."""

    shard: int
    node: str  # its URL where it is known, its address among the nodes otherwise
    state: str  # in the server's word: Active, Dead, Partial, …


@dataclass(frozen=True, slots=True)
class ShardTransfer:
    """A part on its way from one node to another."""

    shard: int
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class ServerState:
    """How a vector server stands, as of a few seconds ago at most; nothing of it before it first answered."""

    nodes: tuple[ServerNode, ...]
    status: str | None = None  # green, yellow (optimising), grey (optimisation is pending), red
    unindexed: int | None = None  # vectors that the graph does not have yet
    wanted: int = 1  # copies of each shard
    replicas: tuple[Replica, ...] = ()
    transfers: tuple[ShardTransfer, ...] = ()
    notes: tuple[str, ...] = ()  # what an operator should know

    @property
    def lost(self) -> str | None:
        """Which copies are missing, in an operator's words; None when none is, or nobody answers at all."""
        silent = [node.url for node in self.nodes if not node.answers]
        if len(silent) == len(self.nodes):
            return None
        if silent:
            do, them = ("does", "it") if len(silent) == 1 else ("do", "them")
            return f"{' and '.join(silent)} {do} not answer; start {them} again"
        dead = sorted({(one.node, one.shard) for one in self.replicas if one.state == "Dead"})
        if dead:
            nodes = dict.fromkeys(node for node, _ in dead)
            told = [f"{node} (shard {', '.join(str(s) for n, s in dead if n == node)})" for node in nodes]
            return " and ".join(told)
        held = sorted(Counter(one.shard for one in self.replicas).items())
        short = [
            f"shard {shard} has {count} of {self.wanted}" for shard, count in held if count < self.wanted
        ]
        return ", ".join(short) or None
