"""One decision for one track: steady on noise, changed by evidence, on record once."""

from __future__ import annotations

import time
from itertools import count, groupby
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.decisions import Rule
from core.domain.faces import Box, Face, Quality, Reason
from core.domain.recognition import VerifyOptions
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.domain.templates import NewTemplate
from core.live import LiveSessions, verifying
from core.live.track_decision import AGREE, OVERTURN_S, TrackDecision, Verdict
from tests.conftest import jpeg, picture

RULE = Rule(threshold=0.40, margin=0.0, review_band=0.10)
DIMENSION = 128
ANA, BEN = np.eye(DIMENSION, dtype=np.float32)[:2]


def face(embedding, score=0.8, rejects=()) -> Face:
    quality = Quality(score, rejects=tuple(rejects))
    return Face(Box(0, 0, 9, 9), np.zeros((5, 2), np.float32), 0.9, embedding, quality, 0.0, 0.6, 0.0)


def found(**similarities: float) -> SearchResult:
    people = sorted(similarities.items(), key=lambda item: -item[1])
    candidates = tuple(Candidate(who, who.title(), near, Source.BOTH, 1) for who, near in people)
    decision = RULE.decide([near for _, near in people])
    timings = SearchTimings(total=0.0)
    floor = RULE.review_floor
    return SearchResult(candidates, decision, Strategy.HYBRID, RULE.threshold, (), (), False, timings, floor)


def like(similarity: float, noise=None, *, to=ANA) -> np.ndarray:
    """An embedding with this similarity to one person, and noise that has none."""
    rest = np.zeros(DIMENSION) if noise is None else noise * (ANA + BEN == 0)
    rest[5] += 2.0
    rest *= np.sqrt(1 - similarity**2) / np.linalg.norm(rest)
    return (similarity * to + rest).astype(np.float32)


def watched(frames, every=0.1):
    """The verdict after each frame, of a gallery of Ana and Ben."""
    track, said = TrackDecision(), []
    for number, seen in enumerate(frames):
        at = number * every
        probe = track.weigh(seen, at).embedding
        track.see(found(ana=float(probe @ ANA), ben=float(probe @ BEN)), at)
        said.append(Verdict.of(track.settled) if track.settled else None)
    return said


def changes(said) -> int:
    """How often the label changed after it was first decided."""
    return len(list(groupby(v for v in said if v is not None))) - 1


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    limit=st.sampled_from([RULE.threshold, RULE.review_floor]),
    off=st.floats(-0.03, 0.03),
    spread=st.floats(0.005, 0.06),
    every=st.sampled_from([0.05, 0.1, 0.2]),
)
def test_a_stranger_near_a_limit_changes_labels_at_most_once(seed, limit, off, spread, every):
    dice = np.random.default_rng(seed)
    frames = [
        face(
            like(
                float(np.clip(limit + off + dice.normal(0, spread), 0, 0.9)), dice.normal(0, 0.1, DIMENSION)
            ),
            score=float(dice.uniform(0.3, 0.9)),
        )
        for _ in range(round(4.0 / every))
    ]
    assert changes(watched(frames, every)) <= 1


def test_the_same_frames_decided_one_by_one_flicker():
    dice = np.random.default_rng(1)
    said = [Verdict.of(found(ana=0.40 + dice.normal(0, 0.02))) for _ in range(40)]
    assert changes(said) > 10


def test_nothing_is_decided_until_enough_frames_agree():
    said = watched([face(like(0.7))] * (AGREE + 1))
    assert said == [None] * (AGREE - 1) + [(Decision.MATCH, "ana")] * 2


def test_a_decision_follows_evidence_that_stays():
    far, near = face(like(0.15)), face(like(0.75))
    said = watched([far] * 10 + [near] * 40)
    assert said[9] == (Decision.UNKNOWN, None)
    assert said[-1] == (Decision.MATCH, "ana")
    assert changes(said) <= 2  # by way of a review


def test_moments_change_nothing():
    near, poor = face(like(0.6)), face(like(0.0))
    said = watched(([near] * 12 + [poor] * 2) * 4)
    assert set(said[AGREE:]) == {(Decision.MATCH, "ana")}


def test_somebody_else_takes_over_only_when_they_lead_clearly_and_stay():
    ana, ben = face(like(0.6)), face(like(0.7, to=BEN))
    said = watched([ana] * 20 + [ben] * 60)
    assert said[19] == (Decision.MATCH, "ana")
    assert said[19 + round(OVERTURN_S / 0.1)] == (Decision.MATCH, "ana")
    assert said[-1] == (Decision.MATCH, "ben")


def test_frames_unfit_to_be_recognised_by_hardly_count_beside_one_that_is_fit():
    fit, blurred = face(like(0.6)), face(like(0.1), rejects=[Reason.BLURRED])
    track = TrackDecision()
    track.weigh(fit, 0.0)
    for number in range(1, 6):
        seen = track.weigh(blurred, number * 0.1)
    assert float(seen.embedding @ ANA) > 0.5
    assert seen.quality.usable
    assert track.weigh(blurred, 10.0).quality.rejects == (Reason.BLURRED,)  # the good one is long ago


def test_after_other_limits_the_next_search_decides_at_once():
    track = TrackDecision()
    for number in range(AGREE):
        track.see(found(ana=0.45), number * 0.1)
    assert track.settled.decision is Decision.MATCH
    track.reopen()
    assert track.settled is None
    track.see(found(ana=0.35), 0.4)
    assert track.settled.decision is Decision.REVIEW


# ---------------------------------------------------------------- real frames


@pytest.fixture
def clock(monkeypatch):
    """Ten frames a second, however fast this machine is."""
    ticks = count()
    told = SimpleNamespace(monotonic=lambda: next(ticks) * 0.1, perf_counter=time.perf_counter)
    monkeypatch.setattr(verifying, "time", told)


@pytest.fixture(scope="module")
def scene(photos):
    return cv2.resize(picture(photos["astronaut"])[0:320, 0:427], (640, 480))


def filmed(scene, dice) -> bytes:
    """The scene as the next frame of a camera: moved, turned, of another light, noisy."""
    turn = cv2.getRotationMatrix2D((320, 240), dice.normal(0, 2.0), 1 + dice.normal(0, 0.02))
    turn[:, 2] += dice.normal(0, 4.0, 2)
    frame = cv2.warpAffine(scene, turn, (640, 480), borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    frame = frame * dice.uniform(0.7, 1.2) + dice.normal(0, dice.uniform(2, 14), frame.shape)
    return jpeg(np.clip(frame, 0, 255).astype(np.uint8))


def enroll_like(service, seen, similarity):
    """Somebody to whom `seen` has this similarity."""
    aside = np.roll(seen, 1) - (np.roll(seen, 1) @ seen) * seen
    vector = similarity * seen + np.sqrt(1 - similarity**2) * aside / np.linalg.norm(aside)
    service.ledger.people.enroll("ana", "Ana", [NewTemplate(vector.astype(np.float32), 0.9, "api")])
    service.store.sync(service.ledger.feed.head())


def records(service):
    service.journal.flush()
    return [e.detail["decision"] for e in service.events.listing(kind="verified").items]


@pytest.mark.parametrize("limit", ["threshold", "floor"])
@pytest.mark.slow
def test_a_stranger_who_stands_still_is_one_label_and_one_event(service, scene, clock, limit):
    rule = service.store.rule()
    probe = service.recognition.verify(jpeg(scene)).face.embedding
    enroll_like(service, probe, rule.threshold if limit == "threshold" else rule.review_floor)
    session = LiveSessions(service).open_verify(VerifyOptions(Strategy.HYBRID, None))
    dice = np.random.default_rng(7)
    drawn, panel, tracks, alone = [], [], set(), []
    for _ in range(40):
        frame = filmed(scene, dice)
        (answer,) = session.process(frame)["faces"]
        (seen,) = session.snapshot().faces
        drawn.append(answer["label"] or None)
        panel.append(Verdict.of(seen.search) if seen.search else None)
        tracks.add(answer["track"])
        alone.append(service.recognition.verify(frame).search.decision)
        assert answer["decision"] == (seen.search.decision if seen.search else None)
    assert len(tracks) == 1
    assert len(list(groupby(alone))) > 5, "these frames flicker when each decides by itself"
    assert changes(drawn) <= 1
    assert changes(panel) <= 1
    records(service)
    live = [e for e in service.events.listing(kind="verified", limit=500).items if e.detail["mode"] == "live"]
    assert len(live) == 1


def test_a_review_that_becomes_a_match_takes_its_own_place_on_record(service, scene, clock, photos):
    session = LiveSessions(service).open_verify(VerifyOptions(Strategy.HYBRID, None))
    for _ in range(5):
        session.process(jpeg(scene))
    assert records(service) == ["unknown"]
    service.enrollment.enroll("eileen", "Eileen Collins", [("a.png", photos["astronaut"])])
    for _ in range(25):
        session.process(jpeg(scene))
    assert records(service) == ["match"]
    assert service.people.person("eileen").last_matched_at is not None


def test_a_face_that_is_hidden_for_moments_or_jumps_is_the_same_visit(service, scene, clock):
    session = LiveSessions(service).open_verify(VerifyOptions(Strategy.HYBRID, None))
    blank = jpeg(np.full((480, 640, 3), 127, np.uint8))
    for frame in [jpeg(scene)] * 5 + [blank] * 20 + [jpeg(np.roll(scene, 200, axis=1))] * 5:
        answer = session.process(frame)
    assert [f["track"] for f in answer["faces"]] == [1]
    assert records(service) == ["unknown"]


def test_numbers_stay_with_their_faces_and_are_given_again(service, photos, clock):
    session = LiveSessions(service).open_verify(VerifyOptions(Strategy.HYBRID, None))
    group = picture(photos["group"])
    first = session.process(jpeg(group))["faces"]
    assert sorted(f["number"] for f in first) == [1, 2, 3, 4, 5, 6]
    again = session.process(jpeg(group))["faces"]
    assert {f["track"]: f["number"] for f in again} == {f["track"]: f["number"] for f in first}
