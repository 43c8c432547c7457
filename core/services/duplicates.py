"""Whether a face is enrolled already, and as whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.domain.errors import Conflict
from core.domain.faces import Face
from core.domain.search import Candidate, SearchResult
from core.services.tuning import Tuner
from core.store.hybrid import HybridVectorStore


class Duplicates:
    """Looks that are no request of anybody's, and count as none."""

    def __init__(self, store: HybridVectorStore, tuning: Tuner) -> None:
        self._store = store
        self._tuning = tuning

    def find(self, faces: Sequence[Face], user_id: str | None) -> Candidate | None:
        """Who these faces are already enrolled as, other than `user_id`; None when nobody."""
        threshold = self._tuning.now.threshold
        found = [
            candidate
            for result in self.resembling(faces)
            for candidate in result.candidates
            if candidate.user_id != user_id and candidate.similarity >= threshold
        ]
        return max(found, key=lambda candidate: candidate.similarity, default=None)

    def refuse(self, faces: Sequence[Face], user_id: str) -> None:
        """
        Raises:
            Conflict: duplicate_person, with who it is in `detail`.
        """
        other = self.find(faces, user_id)
        if other is None:
            return
        raise Conflict(
            "duplicate_person",
            "This person is already enrolled under another name.",
            "Add the photos to that person, or allow the duplicate.",
            detail={"user_id": other.user_id, "name": other.name, "similarity": round(other.similarity, 4)},
        )

    def resembling(self, faces: Sequence[Face]) -> list[SearchResult]:
        """The two people whom each face resembles most."""
        if not faces:
            return []
        probes = np.stack([face.embedding for face in faces])
        return self._store.search_batch(probes, k=2, counted=False)
