"""Live sessions fed with real pictures, without a browser."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.domain.errors import Busy
from core.domain.faces import Image, PhotoVerdict, Purpose, Reason
from core.domain.recognition import VerifyOptions
from core.domain.search import Decision, Strategy
from core.domain.templates import NewTemplate
from core.faces import images
from core.faces.pose import DOWN_ABOVE, TURN_FROM, UP_BELOW, Pose
from core.faces.quality import PITCH_FRONT, limits_for
from core.live import LiveSessions, enrolling, track_decision
from core.live import sessions as registry
from tests.conftest import jpeg, picture

OPTIONS = VerifyOptions(Strategy.HYBRID, 0.40)
AGREE = track_decision.AGREE
BLANK = jpeg(np.full((480, 640, 3), 127, np.uint8))


@pytest.fixture
def sessions(service) -> LiveSessions:
    return LiveSessions(service)


@pytest.fixture(scope="module")
def astronaut(photos) -> Image:
    """The astronaut as a camera would show her: 640×480, the face in the middle."""
    return cv2.resize(picture(photos["astronaut"])[0:320, 0:427], (640, 480))


def enroll(service, photos):
    service.enrollment.enroll("eileen", "Eileen Collins", [("a.png", photos["astronaut"])])


def look(session, frame, times=AGREE):
    """The answer to the last of as many frames as it takes to decide."""
    return [session.process(frame) for _ in range(times)][-1]


def test_a_face_is_drawn_with_name_similarity_and_decision(service, sessions, photos, astronaut):
    enroll(service, photos)
    session = sessions.open_verify(OPTIONS)
    for _ in range(AGREE - 1):
        (face,) = session.process(jpeg(astronaut))["faces"]
        assert (face["label"], face["decision"], face["similarity"]) == ("", None, None)
    answer = session.process(jpeg(astronaut))
    (face,) = answer["faces"]
    assert (face["track"], face["number"]) == (1, 1)
    assert (face["label"], face["decision"]) == ("Eileen Collins", "match")
    assert face["similarity"] > 0.6
    x, y, width, height = face["box"]
    assert 0 < x < x + width < 1
    assert 0 < y < y + height < 1


def test_the_snapshot_has_candidates_timings_and_a_steady_track(service, sessions, photos, astronaut):
    enroll(service, photos)
    session = sessions.open_verify(OPTIONS)
    tracks = set()
    for _ in range(4):
        session.process(jpeg(astronaut))
        tracks.add(session.snapshot().faces[0].track)
    snapshot = session.snapshot()
    assert len(tracks) == 1
    assert snapshot.connected
    assert snapshot.faces[0].search.best.user_id == "eileen"
    assert set(snapshot.latency_ms) == {"detect", "embed", "search", "total"}


def test_a_visit_is_put_on_record_once_and_only_when_steady(service, sessions, photos, astronaut):
    enroll(service, photos)
    session = sessions.open_verify(OPTIONS)
    for count in range(1, 8):
        session.process(jpeg(astronaut))
        recorded = [e for e in service.events.listing().items if e.kind == "verified"]
        assert len(recorded) == (count >= 3)
    assert recorded[0].detail["mode"] == "live"


def test_options_take_effect_on_the_next_frame(service, sessions, photos, astronaut):
    enroll(service, photos)
    session = sessions.open_verify(OPTIONS)
    (before,) = look(session, jpeg(astronaut))["faces"]
    assert before["decision"] == "match"
    assert 0.96 < before["similarity"] < 0.999
    session.options = VerifyOptions(Strategy.QDRANT_ONLY, 0.999)
    (after,) = session.process(jpeg(astronaut))["faces"]
    assert (after["decision"], after["label"]) == ("review", "Check: Eileen Collins?")
    assert session.snapshot().faces[0].search.strategy is Strategy.QDRANT_ONLY


def test_an_erased_person_is_unknown_on_the_next_frame(service, sessions, photos, astronaut):
    enroll(service, photos)
    session = sessions.open_verify(OPTIONS)
    assert look(session, jpeg(astronaut))["faces"][0]["decision"] == "match"
    service.erasures.erase("eileen")
    assert session.process(jpeg(astronaut))["faces"][0]["decision"] == "unknown"


def test_an_erased_person_is_not_shown_while_the_next_frame_is_awaited(service, sessions, photos, astronaut):
    enroll(service, photos)
    session = sessions.open_verify(OPTIONS)
    look(session, jpeg(astronaut))
    assert session.snapshot().faces[0].search.best.user_id == "eileen"
    service.erasures.erase("eileen")
    (face,) = session.snapshot().faces
    assert (face.search.candidates, face.search.decision) == ((), Decision.UNKNOWN)


def test_one_to_one_with_a_person_erased_meanwhile_says_so(service, sessions, photos, astronaut):
    enroll(service, photos)
    session = sessions.open_verify(VerifyOptions(Strategy.HYBRID, 0.40, user_id="eileen"))
    assert look(session, jpeg(astronaut))["faces"][0]["decision"] == "match"
    service.erasures.erase("eileen")
    answer = session.process(jpeg(astronaut))
    assert (answer["type"], answer["code"]) == ("error", "unknown_person")
    assert session.snapshot().error.code == "unknown_person"


@pytest.mark.parametrize("frame", [b"", b"no image", BLANK[:200]])
def test_a_broken_frame_is_answered_with_a_code_and_the_session_goes_on(sessions, frame):
    session = sessions.open_verify(OPTIONS)
    answer = session.process(frame)
    assert answer["type"] == "error"
    assert answer["code"]
    assert session.process(BLANK) == {
        "type": "result",
        "faces": [],
        "coach": None,
        "captured": 0,
        "goal": 0,
    }


def test_enrolling_coaches_an_empty_view(sessions):
    session = sessions.open_enroll()
    answer = session.process(BLANK)
    assert answer["coach"]["ok"] is False
    assert "face" in answer["coach"]["text"].lower()
    assert session.snapshot().samples == ()


def test_enrolling_takes_a_still_face_once_per_pose_by_itself(sessions, astronaut):
    session = sessions.open_enroll()
    answer = look(session, jpeg(astronaut), 6)
    snapshot = session.snapshot()
    assert len(snapshot.samples) == 1
    assert snapshot.samples[0].face is not None
    assert picture(snapshot.samples[0].thumbnail).shape == (160, 160, 3)
    assert answer["coach"]["ok"]


def test_only_a_frame_that_is_kept_gets_a_thumbnail(service, sessions, astronaut, monkeypatch):
    made: list[bytes] = []
    make = images.thumbnail

    def counted(*args, **options):
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr(images, "thumbnail", counted)
    session = sessions.open_enroll()
    for _ in range(6):
        session.process(jpeg(astronaut))
    (kept,) = session.snapshot().samples
    assert made == [kept.thumbnail]


def test_the_button_takes_the_next_usable_frame_whatever_its_pose(sessions, astronaut):
    session = sessions.open_enroll()
    session.auto = False
    for expected in (0, 1, 2):
        session.process(jpeg(astronaut))
        assert len(session.snapshot().samples) == expected
        session.capture()
    session.process(BLANK)
    assert len(session.snapshot().samples) == 2
    session.remove(0)
    assert len(session.snapshot().samples) == 1
    session.clear()
    assert session.snapshot().samples == ()


def test_the_button_takes_no_more_photos_than_can_be_enrolled(service, sessions, astronaut, monkeypatch):
    monkeypatch.setattr(enrolling, "MAX_PHOTOS", 3)
    session = sessions.open_enroll()
    session.auto = False
    for _ in range(5):
        session.capture()
        answer = session.process(jpeg(astronaut))
    assert answer["captured"] == 3
    assert answer["coach"] == {"text": "All photos taken", "ok": True}
    session.remove(0)
    session.process(jpeg(astronaut))
    assert len(session.snapshot().samples) == 2  # a press that came too late is forgotten


def test_idle_sessions_end_although_nobody_opens_another(service, sessions, monkeypatch):
    session = sessions.open_enroll()
    monkeypatch.setattr(registry, "RELEASE_S", -1.0)
    assert sessions.get(session.token) is session
    service.monitor.snapshot()  # as the recorder does every few seconds
    assert sessions.get(session.token) is None


def test_a_moving_face_is_asked_to_hold_still(sessions, astronaut):
    session = sessions.open_enroll()
    for shift in (0, 60, 0, 60):
        answer = session.process(jpeg(np.roll(astronaut, shift, axis=1)))
    assert session.snapshot().samples == ()
    assert answer["coach"]["text"] == "Hold still"


def test_several_people_are_asked_to_leave_one(sessions, photos):
    session = sessions.open_enroll()
    answer = session.process(photos["group"])
    assert session.snapshot().samples == ()
    assert "one" in answer["coach"]["text"].lower()


def test_somebody_else_cannot_add_photos_to_the_same_enrollment(sessions, photos, astronaut):
    session = sessions.open_enroll()
    for _ in range(3):
        session.process(jpeg(astronaut))
    session.capture()
    answer = session.process(photos["hanks"])
    assert len(session.snapshot().samples) == 1
    assert "somebody else" in answer["coach"]["text"]


def test_what_was_captured_can_be_enrolled(service, sessions, astronaut):
    session = sessions.open_enroll()
    for _ in range(3):
        session.process(jpeg(astronaut))
    result = service.enrollment.enroll_verdicts("eileen", "Eileen Collins", session.snapshot().samples)
    assert result.searchable
    assert service.recognition.verify(jpeg(astronaut)).search.best.user_id == "eileen"


def test_sessions_are_bounded_and_idle_ones_make_room(sessions, monkeypatch):
    monkeypatch.setattr(registry, "MAX_SESSIONS", 2)
    first = sessions.open_enroll()
    sessions.open_verify(OPTIONS)
    with pytest.raises(Busy):
        sessions.open_enroll()
    monkeypatch.setattr(registry, "RELEASE_S", -1.0)
    third = sessions.open_enroll()
    assert sessions.get(first.token) is None
    monkeypatch.setattr(registry, "RELEASE_S", 60.0)
    assert sessions.get(third.token) is third
    sessions.close(third.token)
    assert sessions.get(third.token) is None


def test_a_track_that_is_not_recognised_is_unknown(service, sessions, astronaut):
    session = sessions.open_verify(OPTIONS)
    look(session, jpeg(astronaut))
    assert session.snapshot().faces[0].search.decision is Decision.UNKNOWN


def test_look_alikes_still_need_their_margin_when_somebody_else_in_view_was_erased(
    service, sessions, photos, astronaut
):
    enroll(service, photos)
    seen = service.ledger.people.templates("eileen")[0].vector
    aside = np.roll(seen, 1) - (np.roll(seen, 1) @ seen) * seen
    twin = 0.9 * seen + np.sqrt(1 - 0.9**2) * aside / np.linalg.norm(aside)
    for user_id, vector in (("twin", twin), ("gone", -0.1 * seen + aside)):
        service.ledger.people.enroll(user_id, user_id, [NewTemplate(vector.astype(np.float32), 0.9, "api")])
    service.store.sync(service.ledger.feed.head())
    service.tuning.confirm_pair("eileen", "twin", margin=0.5)
    session = sessions.open_verify(OPTIONS)
    look(session, jpeg(astronaut))
    (face,) = session.snapshot().faces
    assert face.search.decision is Decision.REVIEW
    assert {c.user_id for c in face.search.candidates} == {"eileen", "twin", "gone"}
    service.erasures.erase("gone")
    (face,) = session.snapshot().faces
    assert [c.user_id for c in face.search.candidates] == ["eileen", "twin"]
    assert face.search.decision is Decision.REVIEW


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def coached(service, clock):
    return enrolling.EnrollLive(service, clock=clock)


def turned(service, image, *, yaw=0.0, pitch=0.57, warnings=(), rejects=()):
    """The verdict on a picture whose head were turned like that."""
    pictures = service.pictures
    verdict = type(pictures).judge(pictures, "x", image)  # also where a test has another answer
    face = replace(verdict.face, yaw=yaw, pitch=pitch)
    return replace(verdict, face=None if rejects else face, warnings=warnings, rejects=rejects)


@pytest.fixture
def see(service, astronaut, monkeypatch):
    """Shows a session frames of the astronaut with a verdict of the test's own; returns the coaching."""

    def look(session, verdict, times=2):
        monkeypatch.setattr(service.pictures, "judge", lambda *_, **__: verdict)
        for _ in range(times):
            answer = session.process(jpeg(astronaut))
        return answer["coach"]["text"]

    return look


def test_a_photo_with_a_warning_is_taken_only_in_the_end_and_replaced_by_a_better_one(
    service, astronaut, see
):
    clock = Clock()
    session = coached(service, clock)
    good = turned(service, astronaut)
    poor = replace(good, warnings=(Reason.TOO_DARK,))
    see(session, poor)
    assert session.samples == ()
    clock.now += 6
    see(session, poor)
    assert [sample.verdict.warnings for sample in session.samples] == [(Reason.TOO_DARK,)]
    see(session, good)
    assert [sample.verdict.warnings for sample in session.samples] == [()]


def test_a_photo_that_somebody_took_by_hand_stays(service, astronaut, see):
    clock = Clock()
    session = coached(service, clock)
    good = turned(service, astronaut)
    session.capture()
    see(session, replace(good, warnings=(Reason.TOO_DARK,)))
    see(session, good)
    assert [sample.by_hand for sample in session.samples] == [True]


def test_a_turn_that_was_asked_for_is_no_fault_and_one_too_far_is_not_called_looking_away(
    service, astronaut, see
):
    session = coached(service, Clock())
    assert see(session, turned(service, astronaut), times=3) == "Turn a little to your left"
    too_far = turned(service, astronaut, rejects=(Reason.TURNED_AWAY,))
    assert see(session, too_far) == "Not so far: turn back a little towards the camera"
    see(session, turned(service, astronaut, yaw=0.25, warnings=(Reason.TURNED_AWAY,)))
    assert [(s.pose, s.verdict.warnings) for s in session.samples] == [(Pose.FRONT, ()), (Pose.LEFT, ())]


def test_the_turns_that_are_asked_for_lie_within_what_is_accepted():
    limits = limits_for("open", Purpose.ENROLL)
    assert limits.yaw[1] > TURN_FROM + 0.05
    assert limits.pitch[1] > PITCH_FRONT - UP_BELOW + 0.05
    assert limits.pitch[1] > DOWN_ABOVE - PITCH_FRONT + 0.05


def test_who_cannot_take_a_pose_hears_that_it_may_be_saved(service, astronaut, see):
    clock = Clock()
    session = coached(service, clock)
    front = turned(service, astronaut)
    see(session, front)
    clock.now += 9
    assert see(session, front) == "You may save now, or turn a little to your left"
    session = coached(service, clock)
    for yaw in (0.0, 0.15, -0.15):
        told = see(session, turned(service, astronaut, yaw=yaw), times=3)
    assert told == "You may save now, or lift your chin a little"


def test_the_button_is_for_who_is_in_view_and_not_for_whoever_comes_next(service, astronaut, see):
    clock = Clock()
    session = coached(service, clock)
    session.auto = False
    nobody = PhotoVerdict("x", None, (Reason.NO_FACE,), ())
    see(session, nobody)
    assert session.cannot_take() == "No face found. Show the whole face, facing the camera."
    session.capture()
    see(session, nobody)
    clock.now += 2.5
    assert see(session, nobody).startswith("No photo was taken. No face found.")
    see(session, turned(service, astronaut))
    assert session.samples == ()
    assert session.cannot_take() is None


def test_a_renewed_session_goes_on_from_its_photos(service, astronaut, see):
    first = coached(service, Clock())
    see(first, turned(service, astronaut))
    second = enrolling.EnrollLive(service, first.samples)
    second.capture()
    see(second, turned(service, astronaut), times=1)
    assert [sample.verdict.photo for sample in second.samples] == ["Camera 1", "Camera 2"]
    second.drop("Camera 1")
    assert [sample.verdict.photo for sample in second.samples] == ["Camera 2"]
