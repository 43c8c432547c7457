"""What there has to be once nothing fails any more: ledger, tiers and searches as acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from core.domain.errors import RobiError
from core.domain.search import Strategy
from core.store.tiers.faiss.index import kind_for
from tests.chaos.truth import Known
from tests.unit.store.kit import eventually

if TYPE_CHECKING:
    from tests.chaos.world import World

HEAL_SECONDS = 40.0


def audit(world: World) -> Iterator[str]:
    """Wait until all is well by its own account; then look for oneself. Gives what is not as promised."""
    if not eventually(lambda: _well(world), HEAL_SECONDS):
        yield f"not healed: {[(s.name, s.ok, s.lag, s.error) for s in world.states()]}"
        return
    yield from _ledger(world)
    yield from _tiers(world)
    yield from _searches(world)


def _well(world: World) -> bool:
    store = world.store
    with suppress(RobiError):
        behind = store.sync(world.ledger.feed.head())
        fine = all(s.ok and not s.lag and s.coverage == 1.0 for s in store.states())
        return not behind and fine and _indexed(world) and world.service.monitor.health().status == "ok"
    return False


def _indexed(world: World) -> bool:
    """As it was tuned, or exact where there are too few templates for that."""
    hot = world.store.hot
    assert hot is not None
    setting = world.service.tuning.now.index_type
    return hot.kind in (setting, kind_for(setting, hot.count()))


def _ledger(world: World) -> Iterator[str]:
    listed = {
        person.user_id: person.name
        for person in world.ledger.people.listing(limit=len(world.looks) + 1).items
    }
    found = {user: Known(name, world.ids(user)) for user, name in listed.items()}
    if found != world.people:
        yield f"the ledger holds {found}, acknowledged was {world.people}"


def _tiers(world: World) -> Iterator[str]:
    living = [i for known in world.people.values() for i in known.ids]
    for tier, held in world.store.upkeep.left(living).items():
        if held != len(living):
            yield f"{tier} holds {held} of {len(living)} living templates"
    for tier, held in world.store.upkeep.left(sorted(world.gone)).items():
        if held:
            yield f"{tier} holds {held} erased templates"
    for runtime in world.store.tiers.values():
        drift = runtime.projection.check()
        if not drift.ok:
            yield f"{drift}"


def _searches(world: World) -> Iterator[str]:
    for user in world.people:
        templates = world.ledger.people.templates(user)
        for strategy in Strategy:
            results = world.store.search_batch([t.vector for t in templates], strategy=strategy)
            found = [result.best.template_id if result.best else None for result in results]
            if found != (wanted := [t.template_id for t in templates]):
                yield f"{strategy} found {found} for {wanted}, {results[0].degraded}"
