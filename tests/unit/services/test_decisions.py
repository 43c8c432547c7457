"""What a picture does not bear out is no match, by every way in; and nobody is named beside "unknown"."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.schemas.recognition import IdentifyAnswer, SearchAnswer, VerifyAnswer
from core.calibration.preview import preview, recent_decisions
from core.domain.decisions import TOLERANCE, held_back, reaches, settled, shown
from core.domain.faces import Box, Face, Quality, Reason
from core.domain.recognition import VerifyOptions
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.faces.quality import advice
from core.live import LiveSessions
from dashboard.shared import words
from tests.conftest import jpeg, picture


def small(photo: bytes, face_width: float, canvas: tuple[int, int] = (240, 320)) -> bytes:
    """The photo as seen from afar: its face, which is `face_width` of the whole, in a grey picture."""
    image = cv2.resize(picture(photo), None, fx=face_width, fy=face_width, interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    top, left = (canvas[0] - height) // 2, (canvas[1] - width) // 2
    seen = np.full((*canvas, 3), 127, np.uint8)
    seen[top : top + height, left : left + width] = image
    return cv2.imencode(".png", seen)[1].tobytes()


@pytest.fixture(scope="session")
def far(photos) -> bytes:
    """A face 20 pixels wide: similar enough, with too few pixels between the eyes."""
    return small(photos["hanks"], 20 / 80.5)


@pytest.fixture(scope="session")
def twice(photos, variants) -> bytes:
    """One person in one picture two times, the better one on the right."""
    left, right = (cv2.resize(picture(p), (512, 512)) for p in (variants["astronaut"], photos["astronaut"]))
    return jpeg(np.hstack([left, right]))


@pytest.fixture
def known(service, photos):
    service.enrollment.enroll("tom", "Tom Hanks", [("t.png", photos["hanks"])])
    service.enrollment.enroll("eileen", "Eileen Collins", [("a.png", photos["astronaut"])])
    return service


# ---------------------------------------------------------------- unfit faces


@pytest.mark.parametrize("user_id", [None, "tom"])
def test_a_face_that_quality_rejects_is_for_review_however_similar(known, far, user_id):
    found = known.recognition.verify(far, user_id=user_id)
    assert found.face.quality.rejects == (Reason.FACE_TOO_SMALL,)
    assert found.search.best.user_id == "tom"
    assert found.search.best.similarity > known.tuning.now.threshold + 0.1
    assert not found.verified
    assert found.search.decision is Decision.REVIEW
    assert found.search.held_back_by == (Reason.FACE_TOO_SMALL,)
    (face,) = known.recognition.identify(far).faces
    assert (face.search.decision, face.search.held_back_by) == (Decision.REVIEW, (Reason.FACE_TOO_SMALL,))
    assert known.people.person("tom").last_matched_at is None


def test_fourteen_pixels_are_nobody_for_certain(known, photos):
    found = known.recognition.verify(small(photos["astronaut"], 14 / 86))
    assert found.search.best.similarity > known.tuning.now.threshold
    assert (found.verified, found.search.decision) == (False, Decision.REVIEW)


def test_a_live_camera_holds_the_same_face_back(known, far):
    session = LiveSessions(known).open_verify(VerifyOptions(Strategy.HYBRID, known.tuning.now.threshold))
    for _ in range(4):
        (face,) = session.process(far)["faces"]
    assert face["decision"] == "review"
    (seen,) = session.snapshot().faces
    assert seen.search.held_back_by == (Reason.FACE_TOO_SMALL,)
    assert "10 are needed" in seen.note
    known.erasures.erase("eileen")  # the rest of the answer is decided anew, and stays held back
    assert session.snapshot().faces[0].search.decision is Decision.REVIEW


@pytest.mark.parametrize(("measured", "said"), [(9.04, 9), (9.5, 9), (9.97, 9), (6.2, 6)])
def test_what_was_measured_is_not_rounded_to_what_is_needed(measured, said):
    quality = Quality(0.5, (Reason.FACE_TOO_SMALL,), (), {"eye_distance": measured}, 10)
    assert advice(quality).endswith(f"The eyes are {said} pixels apart; 10 are needed.")


def test_how_small_a_face_may_be_is_tuned_and_holds_at_once(known, far):
    session = LiveSessions(known).open_verify(VerifyOptions(Strategy.HYBRID, known.tuning.now.threshold))
    assert not known.recognition.verify(far).verified
    known.tuning.tune({"min_eye_distance": 5}, "The camera at the gate is far away.")
    assert known.recognition.verify(far).verified
    assert [session.process(far) for _ in range(3)][-1]["faces"][0]["decision"] == "match"
    known.tuning.tune({"min_eye_distance": 30}, "It was moved.")
    found = known.recognition.verify(far)
    assert (found.verified, found.face.quality.least_eye_distance) == (False, 30)


def test_how_small_a_face_may_be_is_a_setting(make_service, photos, far):
    service = make_service(face_min_eye_distance=5)
    service.enrollment.enroll("tom", "Tom Hanks", [("t.png", photos["hanks"])])
    assert service.recognition.verify(far).verified


def test_enrolling_asks_for_as_large_a_face_as_ever(known, far):
    known.tuning.tune({"min_eye_distance": 0}, "Anything goes.")
    assert Reason.FACE_TOO_SMALL in known.pictures.inspect("far.jpg", far).rejects


def test_rest_says_why_and_what_was_measured(known, far):
    body = VerifyAnswer.of(known.recognition.verify(far)).model_dump(mode="json")
    assert (body["verified"], body["decision"]) == (False, "review")
    assert body["held_back_by"] == ["face_too_small"]
    quality = body["face"]["quality"]
    assert quality["rejects"] == ["face_too_small"]
    assert quality["eye_distance"] < quality["least_eye_distance"] == 10
    (face,) = IdentifyAnswer.of(known.recognition.identify(far)).model_dump(mode="json")["faces"]
    assert (face["decision"], face["held_back_by"]) == ("review", ["face_too_small"])


def test_what_was_held_back_is_on_record_and_a_preview_knows_it(known, far):
    known.recognition.verify(far)
    (event,) = known.events.listing(kind="verified").items
    assert (event.detail["decision"], event.detail["held_back_by"]) == ("review", ["face_too_small"])
    decided = recent_decisions(known.ledger)
    for threshold in (known.tuning.now.threshold, 0.2):
        tried = preview(decided, known.store.rule(threshold), known.tuning.now.margin)
        assert (tried.changes, tried.unchanged, tried.unknown) == (0, 1, 0)


# ---------------------------------------------------------------- one person twice


def test_of_two_faces_that_match_one_person_the_less_similar_is_for_review(known, twice):
    one, other = sorted(
        (f.search for f in known.recognition.identify(twice).faces), key=lambda s: -s.best.similarity
    )
    assert {one.best.user_id, other.best.user_id} == {"eileen"}
    assert other.best.similarity > known.tuning.now.threshold
    assert (one.decision, one.held_back_by) == (Decision.MATCH, ())
    assert (other.decision, other.held_back_by) == (Decision.REVIEW, (Reason.SAME_PERSON_TWICE,))


def test_a_live_camera_does_not_match_one_person_twice(known, twice):
    session = LiveSessions(known).open_verify(
        VerifyOptions(Strategy.HYBRID, known.tuning.now.threshold, "eileen")
    )
    answer = [session.process(twice) for _ in range(3)][-1]
    assert sorted(face["decision"] for face in answer["faces"]) == ["match", "review"]


faces_of_a_picture = st.lists(
    st.tuples(
        st.sampled_from(["ana", "ben", "cleo"]),
        st.floats(0.0, 1.0, width=32),
        st.sampled_from([(), (Reason.BLURRED,)]),
    ),
    max_size=8,
)


@given(faces_of_a_picture)
def test_a_person_is_matched_at_most_once_by_the_best_face_that_is_fit(drawn):
    faces = [face_of(rejects) for _, _, rejects in drawn]
    searches = [search_of(user_id, similarity) for user_id, similarity, _ in drawn]
    decided = settled(faces, searches)
    assert [s.candidates for s in decided] == [s.candidates for s in searches]
    for user_id in {user_id for user_id, _, _ in drawn}:
        able = [s for u, s, rejects in drawn if u == user_id and not rejects and reaches(s, 0.4)]
        matched = [
            s.best.similarity for s in decided if s.decision is Decision.MATCH and s.best.user_id == user_id
        ]
        assert matched == ([max(able)] if able else [])
    for before, after in zip(searches, decided, strict=True):
        if after.decision is not before.decision:
            assert (before.decision, after.decision) == (Decision.MATCH, Decision.REVIEW)
            assert after.held_back_by


def face_of(rejects: tuple[Reason, ...]) -> Face:
    nowhere = np.zeros((5, 2), np.float32)
    return Face(Box(0, 0, 1, 1), nowhere, 0.9, np.zeros(4, np.float32), Quality(0.9, rejects), 0, 0, 0)


def search_of(user_id: str, similarity: float) -> SearchResult:
    candidate = Candidate(user_id, user_id.title(), similarity, Source.BOTH, 1)
    decision = Decision.MATCH if reaches(similarity, 0.4) else Decision.UNKNOWN
    return SearchResult((candidate,), decision, Strategy.HYBRID, 0.4, (), (), False, SearchTimings(1.0))


def test_without_a_reason_nothing_is_held_back():
    match = search_of("ana", 0.9)
    assert held_back(match, ()) is match


# ---------------------------------------------------------------- who is named


def test_beside_unknown_nobody_is_named(known, photos):
    found = known.recognition.identify(photos["group"])
    assert all(face.search.candidates for face in found.faces)  # somebody is always the nearest
    answers = [*IdentifyAnswer.of(found).faces, VerifyAnswer.of(known.recognition.verify(photos["group"]))]
    assert len(answers) == 7
    for answer in answers:
        assert (answer.decision, answer.candidates) == (Decision.UNKNOWN, [])
        assert -1 < answer.confidence < known.tuning.now.review_floor


def test_runners_up_below_the_review_band_are_not_named(known, photos):
    found = known.recognition.verify(photos["astronaut"])
    assert [c.user_id for c in found.search.candidates] == ["eileen", "tom"]
    assert [c.user_id for c in VerifyAnswer.of(found).candidates] == ["eileen"]


def test_one_to_one_and_an_engineers_search_still_say_how_similar(known, photos):
    one = VerifyAnswer.of(known.recognition.verify(photos["astronaut"], user_id="tom"))
    assert (one.decision, [c.user_id for c in one.candidates]) == (Decision.UNKNOWN, ["tom"])
    found = SearchAnswer.of(known.matching.search(known.ledger.people.templates("tom")[0].vector))
    assert [c.user_id for c in found.candidates] == ["tom", "eileen"]


# ---------------------------------------------------------------- how it is shown

SIMILARITY = st.floats(-1.0, 1.0, width=32)


@given(SIMILARITY, st.integers(1, 99), st.integers(-2000, 2000))
def test_what_is_shown_reaches_the_threshold_exactly_if_it_did(anywhere, percent, nudge):
    threshold = percent / 100
    for similarity in (anywhere, threshold + nudge * 1e-6):
        reached = reaches(similarity, threshold)
        for decimals in (2, 4):
            near = shown(similarity, threshold, decimals)
            assert (near >= threshold) == reached
            assert abs(near - similarity) <= 10**-decimals + TOLERANCE
        said = float(words.similarity(similarity, threshold))
        assert (said >= float(words.threshold(threshold))) == reached


@given(SIMILARITY, st.floats(0.01, 0.99))
def test_a_threshold_of_many_decimals_is_kept_to_as_well(similarity, threshold):
    assert (shown(similarity, threshold, 2) >= threshold) == reaches(similarity, threshold)


def test_a_face_just_below_the_threshold_does_not_seem_to_reach_it(known):
    seen = known.ledger.people.templates("tom")[0].vector
    aside = np.roll(seen, 1) - (np.roll(seen, 1) @ seen) * seen
    aside /= np.linalg.norm(aside)
    probe = (0.39998 * seen + np.sqrt(1 - 0.39998**2) * aside).tolist()
    answer = SearchAnswer.of(known.matching.search(probe))
    assert (answer.decision, answer.candidates[0].similarity) == (Decision.REVIEW, 0.3999)
    assert words.similarity(0.39998, 0.40) == "0.39"
    known.events.note(known.matching.search(probe), "1:N")
    (event,) = known.events.listing(kind="verified").items
    assert event.detail["similarity"] == 0.3999
