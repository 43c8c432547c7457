"""Nobody becomes somebody else by photos: mixed faces, chains of them, look-alikes, photos sent again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations

import cv2
import numpy as np
import pytest

from core.domain.errors import BadInput, Conflict, NotFound, RobiError, Unusable
from core.domain.faces import Purpose
from core.domain.search import Decision, Strategy
from core.domain.templates import NewTemplate
from core.services.photo_rules import compared
from tests.conftest import jpeg, picture


@pytest.fixture(scope="module")
def portraits(engine, photos) -> list[np.ndarray]:
    """Real people, one picture each: the astronaut, Hanks and the group's, cut out and enlarged."""
    found = [picture(photos["astronaut"]), picture(photos["hanks"])]
    group = picture(photos["group"])
    for face in engine.analyze(group).faces:
        side = max(face.box.width, face.box.height)
        x, y = (face.box.x1 + face.box.x2) / 2, (face.box.y1 + face.box.y2) / 2
        top, left = max(0, int(y - side)), max(0, int(x - side))
        cut = group[top : int(y + side), left : int(x + side)]
        found.append(cv2.resize(cut, None, fx=400 / cut.shape[0], fy=400 / cut.shape[0]))
    usable = [
        image for image in found if engine.analyze(image, purpose=Purpose.ENROLL).faces[0].quality.usable
    ]
    assert len(usable) >= 6
    return usable


def blended(engine, one: np.ndarray, other: np.ndarray, share: float) -> bytes:
    """The two faces laid over each other, `share` of the other one's pixels."""
    to, of = (engine.analyze(image, purpose=Purpose.ENROLL).faces[0] for image in (one, other))
    turn, _ = cv2.estimateAffinePartial2D(of.landmarks, to.landmarks)
    laid = cv2.warpAffine(other, turn, one.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return jpeg(cv2.addWeighted(one, 1 - share, laid, share, 0))


def add(service, user_id: str, photo: bytes) -> tuple[str, ...]:
    """Add one photo; why it was refused, empty when it was not."""
    try:
        result = service.enrollment.enroll(user_id, None, [("p.jpg", photo)], add_to_existing=True)
    except Unusable as problem:
        return tuple(problem.detail["rejected"][0]["reasons"])
    return result.rejected[0].reasons if result.rejected else ()


@pytest.mark.parametrize("share", [0.3, 0.4, 0.5, 0.6, 0.7])
@pytest.mark.slow
def test_a_mixed_face_never_brings_the_second_person_in(make_service, engine, portraits, share):
    """Every ordered pair of real people: whether the mix is taken or not, the second one stays out."""
    taken = 0
    pairs = list(permutations(range(len(portraits)), 2))
    service = make_service()
    for first, second in pairs:
        user_id = f"{first}-{second}"
        service.enrollment.enroll(user_id, None, [("a.jpg", jpeg(portraits[first]))], allow_duplicate=True)
        taken += not add(service, user_id, blended(engine, portraits[first], portraits[second], share))
        assert add(service, user_id, jpeg(portraits[second])) == ("different_person",)
        for asked in ({"user_id": user_id}, *({"strategy": strategy} for strategy in Strategy)):
            found = service.recognition.verify(jpeg(portraits[second]), **asked).search
            assert found.decision is Decision.UNKNOWN, (first, second, asked, found.best)
        service.erasures.erase(user_id)
    assert share > 0.5 or taken, "no mix was ever taken: this test proves nothing"


def test_a_chain_of_mixed_faces_leads_nowhere(service, engine, portraits):
    """Each step a little more of the second person: what was added before speaks for nobody."""
    first, second = portraits[:2]
    service.enrollment.enroll("victim", "Victim", [("a.jpg", jpeg(first))])
    for percent in range(10, 100, 5):
        add(service, "victim", blended(engine, first, second, percent / 100))
    assert service.people.person("victim").templates > 1  # the first steps do resemble the victim
    assert add(service, "victim", jpeg(second)) == ("different_person",)
    assert service.recognition.verify(jpeg(second)).search.decision is Decision.UNKNOWN
    assert service.recognition.verify(jpeg(first)).search.decision is Decision.MATCH


def test_a_mixed_face_among_the_first_photos_brings_nobody_in(service, engine, portraits):
    first, second = portraits[:2]
    mixed = blended(engine, first, second, 0.5)
    sent = [("mixed", mixed), ("first", jpeg(first)), ("second", jpeg(second))]
    result = service.enrollment.enroll("somebody", None, sent)
    assert len(result.enrolled) < 3
    kept = {photo.photo for photo in result.enrolled}
    assert not {"first", "second"} <= kept


def test_most_of_the_first_photos_must_agree(service):
    """Two of three that vouch are enough, one of two is not; an unvouched one counts for nothing."""
    face = service.pictures.analyze(service.pictures.decode(_photo()), Purpose.ENROLL).faces[0]
    like, unlike = face.embedding, _orthogonal_to(face.embedding)
    service.ledger.people.enroll("half", "Half", [_template(like), _template(unlike)])
    service.ledger.people.enroll(
        "most", "Most", [_template(_turned(like, 0.9)), _template(like), _template(unlike)]
    )
    service.ledger.people.enroll("late", "Late", [_template(unlike)])
    service.ledger.people.add_templates("late", [_template(_turned(like, 0.8))] * 3)
    service.store.sync(service.ledger.feed.head())
    assert add(service, "half", _photo(quality=60)) == ("different_person",)
    assert add(service, "late", _photo(quality=60)) == ("different_person",)
    service.erasures.erase("half")
    service.erasures.erase("late")
    assert "different_person" not in add(service, "most", _photo(quality=60))


@pytest.mark.parametrize(("angle", "belongs"), [(50, False), (45, True)])  # agrees with two, three of four
def test_a_first_photo_must_agree_with_more_than_half_of_the_others(service, angle, belongs):
    face = service.pictures.analyze(service.pictures.decode(_photo()), Purpose.ENROLL).faces[0]
    beside = _orthogonal_to(face.embedding)
    turns = [np.deg2rad(degrees) for degrees in (0, -10, -20, -30, angle)]
    faces = [
        replace(face, embedding=(np.cos(turn) * face.embedding + np.sin(turn) * beside).astype(np.float32))
        for turn in turns
    ]
    assert compared(faces, 0.4).belongs == (True, True, True, True, belongs)


def test_a_photo_that_fits_two_people_is_refused_and_says_so(service):
    face = service.pictures.analyze(service.pictures.decode(_photo()), Purpose.ENROLL).faces[0]
    service.ledger.people.enroll("one", "One", [_template(_turned(face.embedding, 0.80, seed=1))])
    service.ledger.people.enroll("twin", "Twin", [_template(_turned(face.embedding, 0.78, seed=2))])
    service.store.sync(service.ledger.feed.head())
    assert add(service, "one", _photo()) == ("fits_two_people",)
    assert service.people.person("one").templates == 1
    service.erasures.erase("twin")
    assert add(service, "one", _photo()) == ()


def test_a_photo_that_fits_somebody_else_better_is_refused(service):
    """It agrees with the person's own photos, and is another's all the same."""
    face = service.pictures.analyze(service.pictures.decode(_photo()), Purpose.ENROLL).faces[0]
    service.ledger.people.enroll("one", "One", [_template(_turned(face.embedding, 0.50, seed=1))])
    service.ledger.people.enroll("sister", "Sister", [_template(_turned(face.embedding, 0.80, seed=2))])
    service.store.sync(service.ledger.feed.head())
    assert add(service, "one", _photo()) == ("different_person",)
    assert add(service, "sister", _photo()) == ()


def test_confirmed_look_alikes_need_their_own_margin(service):
    face = service.pictures.analyze(service.pictures.decode(_photo()), Purpose.ENROLL).faces[0]
    service.ledger.people.enroll("one", "One", [_template(_turned(face.embedding, 0.80, seed=1))])
    service.ledger.people.enroll("twin", "Twin", [_template(_turned(face.embedding, 0.70, seed=2))])
    service.store.sync(service.ledger.feed.head())
    service.tuning.confirm_pair("one", "twin", 0.2)
    assert add(service, "one", _photo()) == ("fits_two_people",)
    service.tuning.forget_pair("one", "twin")
    assert add(service, "one", _photo()) == ()


def test_photos_added_later_still_help_to_recognise_the_person(service):
    """They lift what resembles the person already; alone they mean nothing."""
    face = service.pictures.analyze(service.pictures.decode(_photo()), Purpose.ENROLL).faces[0]
    service.ledger.people.enroll("one", "One", [_template(_turned(face.embedding, 0.38))])
    service.store.sync(service.ledger.feed.head())
    assert service.recognition.verify(_photo()).search.decision is Decision.REVIEW
    service.ledger.people.add_templates("one", [_template(_turned(face.embedding, 0.70, seed=1))])
    service.store.sync(service.ledger.feed.head())
    assert service.recognition.verify(_photo()).search.decision is Decision.MATCH
    assert service.recognition.verify(_photo(), user_id="one").verified


# ---------------------------------------------------------------- the same again


def test_one_photo_sent_twenty_times_at_once_is_one_template(service, photos):
    def send(number: int) -> str:
        try:
            service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
        except RobiError as problem:
            return f"{problem.code} {problem.detail.get('same_photos')}"
        return "enrolled"

    with ThreadPoolExecutor(20) as pool:
        outcomes = sorted(pool.map(send, range(20)))
    assert outcomes == ["enrolled", *["person_exists True"] * 19]
    assert service.people.counts().templates == 1


def test_a_photo_that_is_there_already_is_reported_and_not_stored(service, photos):
    twice = [("a", photos["astronaut"]), ("again", photos["astronaut"])]
    first = service.enrollment.enroll("eileen", "Eileen", twice)
    assert [photo.photo for photo in first.enrolled] == ["a"]
    assert [(photo.photo, photo.reasons) for photo in first.rejected] == [("again", ("already_there",))]
    saved_again = cv2.imencode(".bmp", picture(photos["astronaut"]))[1]
    more = service.enrollment.enroll("eileen", None, [("b", saved_again.tobytes())], add_to_existing=True)
    assert (more.enrolled, more.searchable, more.created) == ((), True, False)
    assert more.rejected[0].reasons == ("already_there",)
    assert service.people.counts().templates == 1


# ---------------------------------------------------------------- acting on what is no longer so


def test_nobody_erased_comes_back_by_adding_a_photo(service, photos, variants):
    service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
    verdict = service.pictures.inspect("b.jpg", variants["astronaut"])
    service.erasures.erase("eileen")
    with pytest.raises(NotFound) as problem:
        service.enrollment.enroll_verdicts("eileen", None, [verdict], add_to_existing=True)
    assert problem.value.code == "unknown_person"
    assert service.people.counts().people == 0


def test_an_erasure_between_the_look_and_the_writing_is_noticed(service, photos, variants, monkeypatch):
    service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
    look = service.store.search_batch

    def erase_then(*arguments, **options):
        found = look(*arguments, **options)
        service.ledger.people.erase("eileen")
        return found

    monkeypatch.setattr(service.store, "search_batch", erase_then)
    with pytest.raises(NotFound):
        service.enrollment.enroll("eileen", None, [("b.jpg", variants["astronaut"])], add_to_existing=True)
    assert service.people.counts().people == 0


def test_somebody_enrolled_between_the_look_and_the_writing_is_not_written_over(
    service, photos, variants, monkeypatch
):
    look = service.store.search_batch

    def enroll_then(*arguments, **options):
        found = look(*arguments, **options)
        face = service.pictures.analyze(service.pictures.decode(photos["hanks"]), Purpose.ENROLL).faces[0]
        service.ledger.people.enroll("new", "Tom", [_template(face.embedding)])
        return found

    monkeypatch.setattr(service.store, "search_batch", enroll_then)
    with pytest.raises(Conflict) as problem:
        service.enrollment.enroll("new", "Eileen", [("a.png", photos["astronaut"])])
    assert problem.value.code == "person_exists"
    assert service.people.person("new").name == "Tom"


# ---------------------------------------------------------------- whose threshold


def test_nobody_asks_for_less_than_the_threshold_in_effect(service, photos):
    service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
    for ask in (service.recognition.verify, service.recognition.identify):
        with pytest.raises(BadInput) as problem:
            ask(photos["hanks"], threshold=0.01)
        assert problem.value.code == "threshold_too_low"
    assert service.recognition.verify(photos["astronaut"], threshold=0.9).search.threshold == 0.9
    event = service.events.listing(kind="verified").items[0]
    assert event.detail["decided_by"] == {"threshold": 0.9, "own": True}


def test_the_server_can_allow_a_looser_threshold(make_service, photos):
    service = make_service(robi_allow_looser_threshold=True)
    service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
    assert service.recognition.verify(photos["astronaut"], threshold=0.01).search.threshold == 0.01


def test_a_threshold_raised_meanwhile_holds_for_options_made_before(service, photos):
    service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
    options, usual = service.options.checked(threshold=0.5), service.options.checked()
    faces = service.pictures.analyze(service.pictures.decode(photos["hanks"]), Purpose.VERIFY).faces
    service.tuning.tune({"threshold": 0.6}, "stricter")
    assert service.matching.recognise(faces, options)[0].threshold == 0.6
    assert service.matching.recognise(faces, usual)[0].threshold == 0.6


def _template(vector: np.ndarray) -> NewTemplate:
    return NewTemplate(vector, 0.9, "upload")


def _photo(quality: int = 92) -> bytes:
    from core.services.demo import demo_photos

    return jpeg(picture(demo_photos()[2].path.read_bytes()), quality)


def _orthogonal_to(vector: np.ndarray, seed: int = 0) -> np.ndarray:
    other = np.random.default_rng(seed).standard_normal(vector.shape).astype(np.float32)
    other -= (other @ vector) * vector
    return other / np.linalg.norm(other)


def _turned(vector: np.ndarray, similarity: float, seed: int = 0) -> np.ndarray:
    """A unit vector with this similarity to `vector`."""
    return similarity * vector + np.sqrt(1 - similarity**2) * _orthogonal_to(vector, seed)
