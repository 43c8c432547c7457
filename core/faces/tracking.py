"""Follows faces from frame to frame by where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.types import Box

SAME_FACE_OVERLAP = 0.3
"""Intersection over union from which two boxes in successive frames are one face."""
FORGET_AFTER = 1.0
"""Seconds for which a face that is not seen keeps its id."""
MOST_TRACKS = 64


@dataclass(slots=True)
class _Track:
    id: int
    box: Box  # as last seen: what the next frame is compared with
    seen: float


class FaceTracker:
    """Gives faces ids that stay while they move. For one stream; not safe to share between threads."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, boxes: Sequence[Box], at: float) -> list[int]:
        """Take the boxes of the frame at time `at` (seconds, monotonic); the id of each, in their order.

        An id is never given to a second face. Of more than `MOST_TRACKS` faces the longest unseen go first.
        """
        self._tracks = [track for track in self._tracks if at - track.seen <= FORGET_AFTER]
        matched = self._match(boxes)
        ids = [
            self._follow(matched[index], box, at) if index in matched else self._start(box, at)
            for index, box in enumerate(boxes)
        ]
        self._tracks = sorted(self._tracks, key=lambda track: track.seen)[-MOST_TRACKS:]
        return ids

    def _match(self, boxes: Sequence[Box]) -> dict[int, _Track]:
        """Pair boxes and tracks, the best overlap first."""
        pairs = [
            (overlap(box, track.box), index, number)
            for index, box in enumerate(boxes)
            for number, track in enumerate(self._tracks)
        ]
        matched: dict[int, _Track] = {}
        taken: set[int] = set()
        for shared, index, number in sorted(pairs, reverse=True):
            if shared < SAME_FACE_OVERLAP:
                break
            if index not in matched and number not in taken:
                matched[index] = self._tracks[number]
                taken.add(number)
        return matched

    def _follow(self, track: _Track, box: Box, at: float) -> int:
        track.box, track.seen = box, at
        return track.id

    def _start(self, box: Box, at: float) -> int:
        track = _Track(self._next_id, box, at)
        self._next_id += 1
        self._tracks.append(track)
        return track.id


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    shared = Box(max(one.x1, other.x1), max(one.y1, other.y1), min(one.x2, other.x2), min(one.y2, other.y2))
    if shared.width <= 0 or shared.height <= 0:
        return 0.0
    return shared.area / (one.area + other.area - shared.area)
