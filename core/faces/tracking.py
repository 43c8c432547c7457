"""Follows faces from frame to frame by where they are, and by whom they look like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.domain.faces import Box, Embedding

SAME_FACE_OVERLAP = 0.3
"""Intersection over union from which two boxes in successive frames are one face."""
FORGET_AFTER = 1.5
"""Seconds for which a face that is not seen is looked for where it was."""
REJOIN_WITHIN = 5.0
"""Seconds for which a face that is not seen is known again by its likeness, wherever it comes back."""
SAME_LIKENESS = 0.5
"""Cosine similarity from which a face that was out of sight is the one from before."""
OTHER_LIKENESS = 0.2
"""Cosine similarity below which two faces in one place are two people. One face's successive frames are
far above it, also when it turns; two people's are seldom."""
MOST_TRACKS = 64


@dataclass(slots=True)
class _Track:
    id: int
    box: Box  # as last seen: what the next frame is compared with
    seen: float
    embedding: Embedding | None

    def likeness(self, embedding: Embedding | None) -> float | None:
        if embedding is None or self.embedding is None:
            return None
        return float(self.embedding @ embedding)


class FaceTracker:
    """Gives faces ids that stay while they move. For one stream; not safe to share between threads."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next_id = 1

    @property
    def remembered(self) -> set[int]:
        """The ids that may still be given again."""
        return {track.id for track in self._tracks}

    def update(self, boxes: Sequence[Box], at: float, embeddings: Sequence[Embedding] = ()) -> list[int]:
        """Take the faces of the frame at time `at` (seconds, monotonic); the id of each, in their order.

        With `embeddings`, one a box, a face keeps its id although its box jumped or it was hidden for
        moments, and a second person who steps into its place gets one of their own. An id is never given
        to a second face. Of more than `MOST_TRACKS` faces the longest unseen go first.
        """
        looks: Sequence[Embedding | None] = embeddings or [None] * len(boxes)
        self._tracks = [track for track in self._tracks if at - track.seen <= REJOIN_WITHIN]
        matched = self._match(boxes, looks, at)
        ids = [
            self._follow(matched[index], box, at, look) if index in matched else self._start(box, at, look)
            for index, (box, look) in enumerate(zip(boxes, looks, strict=True))
        ]
        self._tracks = sorted(self._tracks, key=lambda track: track.seen)[-MOST_TRACKS:]
        return ids

    def _match(self, boxes: Sequence[Box], looks: Sequence[Embedding | None], at: float) -> dict[int, _Track]:
        """Pair faces and tracks: by place first, the best overlap first, then by likeness."""
        by_place, by_likeness = [], []
        for index, (box, look) in enumerate(zip(boxes, looks, strict=True)):
            for number, track in enumerate(self._tracks):
                like = track.likeness(look)
                shared = overlap(box, track.box) if at - track.seen <= FORGET_AFTER else 0.0
                if shared >= SAME_FACE_OVERLAP and (like is None or like >= OTHER_LIKENESS):
                    by_place.append((shared, index, number))
                if like is not None and like >= SAME_LIKENESS:
                    by_likeness.append((like, index, number))
        matched: dict[int, _Track] = {}
        self._pair(by_place, matched)
        self._pair(by_likeness, matched)
        return matched

    def _pair(self, pairs: Iterable[tuple[float, int, int]], matched: dict[int, _Track]) -> None:
        """Add to `matched` what is still free on both sides, the best first."""
        taken = {track.id for track in matched.values()}
        for _, index, number in sorted(pairs, reverse=True):
            track = self._tracks[number]
            if index not in matched and track.id not in taken:
                matched[index] = track
                taken.add(track.id)

    def _follow(self, track: _Track, box: Box, at: float, look: Embedding | None) -> int:
        track.box, track.seen, track.embedding = box, at, look
        return track.id

    def _start(self, box: Box, at: float, look: Embedding | None) -> int:
        track = _Track(self._next_id, box, at, look)
        self._next_id += 1
        self._tracks.append(track)
        return track.id


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    shared = Box(max(one.x1, other.x1), max(one.y1, other.y1), min(one.x2, other.x2), min(one.y2, other.y2))
    if shared.width <= 0 or shared.height <= 0:
        return 0.0
    return shared.area / (one.area + other.area - shared.area)
