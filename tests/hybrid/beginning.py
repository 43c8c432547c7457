"""Sections 1 and 2: an empty product, and everybody enrolled into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from core.domain.errors import BadInput, Conflict
from core.domain.search import Decision, Strategy
from core.domain.templates import StoredTemplate
from core.metrics import percentiles
from tests.hybrid.people import EACH, strangers_of
from tests.hybrid.report import Promise, Section, none, same
from tests.hybrid.run import Run

DUPLICATES = 5  # people who try to be enrolled a second time


def initialization(run: Run) -> Section:
    """An empty product: healthy, answering, and firm with what it cannot use."""
    service = run.service
    health = service.monitor.health()
    probe = strangers_of(run.rng, 1, service.engine.pack.dimension)[0]
    answers = {strategy: run.search(probe, strategy) for strategy in Strategy}
    parts = [(part.name, part.status, part.detail) for part in health.components]
    return Section(
        "Initialization and health",
        (
            same("The product is healthy", "ok", health.status),
            none("Every component is healthy", [name for name, status, _ in parts if status != "ok"]),
            same("The gallery is empty", 0, service.ledger.feed.counts().people),
            none(
                "Every strategy answers that it knows nobody",
                [s for s, r in answers.items() if r.candidates or r.decision is not Decision.UNKNOWN],
            ),
            _refused("A probe that is no embedding is refused", lambda: service.matching.search([0.0, 1.0])),
            _refused(
                "An unknown strategy is refused",
                lambda: service.matching.search(probe, strategy="fastest"),
            ),
        ),
        {"health": health.status, "components": {name: status for name, status, _ in parts}},
        (("component", "status", "detail"), *parts),
    )


def _refused(words: str, call: Callable[[], object]) -> Promise:
    try:
        call()
    except BadInput:
        return Promise(words, kept=True)
    return Promise(words, kept=False, found="it was accepted")


def enrollment(run: Run) -> Section:
    """Everybody, one by one as the product enrolls."""
    unsearchable: list[str] = []
    ms: list[float] = []
    for number, (user_id, templates) in enumerate(run.people, 1):
        started = time.perf_counter()
        if not run.enroll(user_id, templates).searchable:
            unsearchable.append(user_id)
        ms.append(1e3 * (time.perf_counter() - started))
        run.progress("enrolling", number, len(run.people))
    figures = {
        "people": len(run.people),
        "templates": EACH * len(run.people),
        "cosine within a person": round(run.people.cosine(), 4),
        "seconds": round(sum(ms) / 1e3, 2),
        "people_per_s": round(1e3 * len(ms) / sum(ms), 1),
        **{f"{name}_ms": value for name, value in percentiles(ms).items()},
    }
    return Section(
        "Bulk enrollment",
        (
            none("Everybody is searchable when their enrollment returns", unsearchable),
            none("The ledger holds every template as it was given", _altered(run)),
            none("Both tiers hold every template, and nothing else", uneven(run)),
            none("Nobody is enrolled again under another ID", _enrolled_again(run)),
        ),
        figures,
        (tuple(figures), tuple(map(str, figures.values()))),
    )


def everything(run: Run) -> Iterable[StoredTemplate]:
    """Every template in the ledger."""
    _seq, ids = run.service.ledger.feed.template_ids()
    return run.service.ledger.feed.resolve(ids.tolist()).values()


def _altered(run: Run) -> list[str]:
    """Who is not in the ledger, or is there with other vectors."""
    kept: dict[str, list[np.ndarray]] = {}
    for template in everything(run):
        kept.setdefault(template.user_id, []).append(template.vector)
    return [
        user_id
        for user_id, given in run.people
        if len(kept.get(user_id, ())) != EACH or not np.allclose(kept[user_id], given, atol=1e-6)
    ]


def uneven(run: Run) -> list[str]:
    """Tiers that are behind, or hold another number of templates than was enrolled.

    Of a gallery larger than its cache the hot tier holds no more than the cache.
    """
    gallery, room = run.account.templates(), run.room
    wrong: list[str] = []
    for tier in run.service.store.states():
        wanted = gallery
        if tier.name == "faiss" and gallery > room:
            wanted = min(room, tier.templates)
        if tier.lag or not tier.ok or tier.templates != wanted:
            wrong.append(f"{tier.name} holds {tier.templates} of {wanted}, {tier.lag} changes behind")
    return wrong


def _enrolled_again(run: Run) -> list[str]:
    again: list[str] = []
    for number, (user_id, templates) in zip(range(DUPLICATES), run.people, strict=False):
        try:
            run.enroll(f"again-{number}", templates, allow_duplicate=False)
        except Conflict:
            continue
        again.append(user_id)
    return again
