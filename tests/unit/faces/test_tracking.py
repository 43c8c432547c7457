from __future__ import annotations

import numpy as np
import pytest

from core.domain.faces import Box
from core.faces.tracking import FORGET_AFTER, MOST_TRACKS, REJOIN_WITHIN, FaceTracker, overlap


def box(x: float, y: float = 100, side: float = 80) -> Box:
    return Box(x, y, x + side, y + side)


@pytest.fixture
def tracker() -> FaceTracker:
    return FaceTracker()


def test_overlap() -> None:
    assert overlap(box(0), box(0)) == pytest.approx(1)
    assert overlap(box(0), box(40)) == pytest.approx(1 / 3)
    assert overlap(box(0), box(80)) == 0
    assert overlap(box(0), box(500, 500)) == 0
    assert overlap(Box(5, 5, 5, 5), Box(5, 5, 5, 5)) == 0


def test_moving_face_keeps_its_id(tracker: FaceTracker) -> None:
    ids = {tracker.update([box(step * 20)], step * 0.05)[0] for step in range(20)}
    assert ids == {1}


def test_ids_follow_the_faces_not_the_order(tracker: FaceTracker) -> None:
    first = tracker.update([box(0), box(300)], 0.0)
    assert tracker.update([box(305), box(5)], 0.05) == first[::-1]


def test_faces_that_pass_each_other_are_paired_by_best_overlap(tracker: FaceTracker) -> None:
    left, right = tracker.update([box(0), box(60)], 0.0)
    assert tracker.update([box(50), box(10)], 0.05) == [right, left]


def test_face_that_blinks_out_comes_back(tracker: FaceTracker) -> None:
    (known,) = tracker.update([box(0)], 0.0)
    assert tracker.update([], FORGET_AFTER / 2) == []
    assert tracker.update([box(5)], FORGET_AFTER * 0.9) == [known]


def test_face_unseen_for_long_is_a_new_one(tracker: FaceTracker) -> None:
    (known,) = tracker.update([box(0)], 0.0)
    assert tracker.update([box(0)], FORGET_AFTER * 1.1) != [known]


def test_ids_are_never_reused(tracker: FaceTracker) -> None:
    seen: list[int] = []
    for step in range(50):
        seen += tracker.update([box(step % 2 * 400)], step * FORGET_AFTER * 2)
    assert len(set(seen)) == 50


def test_more_faces_than_it_follows(tracker: FaceTracker) -> None:
    boxes = [box(index * 100) for index in range(MOST_TRACKS * 2)]
    for step in range(3):
        assert len(set(tracker.update(boxes, step * 0.05))) == len(boxes)
    assert len(tracker.remembered) == MOST_TRACKS


ANA, BEN = np.eye(4, dtype=np.float32)[:2]


def test_a_face_whose_box_jumps_is_known_by_its_likeness(tracker: FaceTracker) -> None:
    (known,) = tracker.update([box(0)], 0.0, [ANA])
    assert tracker.update([box(500)], 0.1, [ANA]) == [known]


def test_a_face_that_was_hidden_is_known_by_its_likeness_for_a_while(tracker: FaceTracker) -> None:
    (known,) = tracker.update([box(0)], 0.0, [ANA])
    assert tracker.update([box(300)], REJOIN_WITHIN * 0.9, [ANA]) == [known]
    assert tracker.update([box(300)], REJOIN_WITHIN * 2.0, [ANA]) != [known]


def test_somebody_else_in_the_same_place_is_somebody_else(tracker: FaceTracker) -> None:
    (known,) = tracker.update([box(0)], 0.0, [ANA])
    (other,) = tracker.update([box(0)], 0.1, [BEN])
    assert other != known
    assert tracker.update([box(5), box(400)], 0.2, [BEN, ANA]) == [other, known]


def test_two_who_change_places_keep_their_ids(tracker: FaceTracker) -> None:
    ana, ben = tracker.update([box(0), box(100)], 0.0, [ANA, BEN])
    assert tracker.update([box(0), box(100)], 0.1, [BEN, ANA]) == [ben, ana]


def test_a_face_that_turns_a_little_with_each_frame_keeps_its_id(tracker: FaceTracker) -> None:
    angles = np.linspace(0, np.pi / 2, 12)
    looks = [(np.cos(a) * ANA + np.sin(a) * BEN).astype(np.float32) for a in angles]
    assert {tracker.update([box(0)], n * 0.1, [look])[0] for n, look in enumerate(looks)} == {1}
