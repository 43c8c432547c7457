"""The gallery in two dimensions, by principal components."""

from __future__ import annotations

import numpy as np

from core.calibration.faces import Read
from core.calibration.model import Floats
from core.calibration.people import Map
from core.calibration.progress import Step, nothing
from core.domain.errors import Unusable
from core.ledger.ledger import Ledger

LIMIT = 50_000
_AT_ONCE = 8192
FEWEST = 3  # templates: two points always lie on one line


def embedding_map(
    ledger: Ledger, gallery: Read, *, limit: int = LIMIT, seed: int = 0, step: Step = nothing
) -> Map:
    """Up to `limit` templates, of whole people drawn at random when there are more.

    The axes are the two directions in which these templates vary most (PCA by scikit-learn); near on the map
    need not be alike, as the map shows only the `explained` share of how they differ.

    Raises:
        Unusable: `not_enough_templates`.
    """
    faces = gallery.faces
    rows = faces.whole_people(limit, np.random.default_rng(seed))
    if len(rows) < FEWEST:
        raise Unusable(
            "not_enough_templates", f"A map needs at least {FEWEST} photos.", "Enroll some more people."
        )
    step(0.1)
    owners = ledger.people.template_owners(faces.ids[rows].tolist())
    rows = rows[[template in owners for template in faces.ids[rows].tolist()]]  # not who was erased meanwhile
    step(0.4)
    points, explained = _components(faces.vectors[rows], seed)
    of = [owners[template] for template in faces.ids[rows].tolist()]
    step(1.0)
    return Map(
        points=points,
        template_ids=faces.ids[rows],
        persons=faces.person[rows],
        user_ids=tuple(owner.user_id for owner in of),
        names=tuple(owner.name for owner in of),
        quality=np.array([owner.quality for owner in of], np.float32),
        explained=explained,
        gallery_templates=gallery.templates,
    )


def similarity_to(ledger: Ledger, shown: Map, user_id: str) -> Floats:
    """The similarity of each point's template to the best template of one person; NaN where it has gone.

    Raises:
        NotFound: `unknown_person`.
    """
    ledger.people.one(user_id)
    own = np.stack([template.vector for template in ledger.people.templates(user_id)])
    found = np.full(len(shown.template_ids), np.nan, np.float32)
    for first in range(0, len(found), _AT_ONCE):
        part = shown.template_ids[first : first + _AT_ONCE].tolist()
        there = ledger.feed.resolve(part)
        known = [place for place, template in enumerate(part) if template in there]
        if known:
            vectors = np.stack([there[part[place]].vector for place in known])
            found[np.array(known) + first] = (vectors @ own.T).max(axis=1)
    return found


def _components(vectors: Floats, seed: int) -> tuple[Floats, tuple[float, float]]:
    from sklearn.decomposition import PCA  # heavy to import, and only maps need it

    pca = PCA(2, svd_solver="covariance_eigh", random_state=seed)
    points = pca.fit_transform(vectors).astype(np.float32)
    first, second = pca.explained_variance_ratio_.tolist()
    return points, (first, second)
