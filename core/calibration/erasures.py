"""Keeps what was studied true to erasures: whoever is erased is shown nowhere, also not from memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from core.calibration.people import Map, Study
from core.domain.templates import TemplateOwner
from core.ledger.ledger import Ledger


def living(ledger: Ledger, study: Study) -> Study:
    """The study with names as they are now, and without templates that are gone: also by a merger."""
    ids = {template for pair in study.pairs for template in (pair.a_template, pair.b_template)}
    ids |= {weak.template_id for weak in study.weak}
    if study.map is not None:
        ids |= set(study.map.template_ids.tolist())
    owners = ledger.people.template_owners(ids)
    return replace(
        study,
        pairs=tuple(pair for pair in study.pairs if pair.a_template in owners and pair.b_template in owners),
        weak=tuple(
            replace(weak, name=owners[weak.template_id].name, asked=owners[weak.template_id].asked)
            for weak in study.weak
            if weak.template_id in owners
        ),
        map=None if study.map is None else _map(study.map, owners),
    )


def _map(shown: Map, owners: Mapping[int, TemplateOwner]) -> Map:
    kept = np.array([template in owners for template in shown.template_ids.tolist()], bool)
    of = [owners[template] for template in shown.template_ids[kept].tolist()]
    return replace(
        shown,
        points=shown.points[kept],
        template_ids=shown.template_ids[kept],
        persons=shown.persons[kept],
        quality=shown.quality[kept],
        user_ids=tuple(owner.user_id for owner in of),
        names=tuple(owner.name for owner in of),
    )
