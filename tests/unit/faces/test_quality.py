from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.domain.faces import Analysis, Box, Image, Purpose, Reason
from core.faces.engine import FaceEngine
from core.faces.images import crop
from core.faces.quality import SENTENCES, Limits, assess, judge_photo, limits_for, sentence, subject

GOOD = {
    "eye_distance": 60.0,
    "sharpness": 200.0,
    "luminance": 0.5,
    "overexposed": 0.0,
    "underexposed": 0.02,
    "roll": 0.0,
    "yaw": 0.0,
    "pitch": 0.57,
    "visible": 1.0,
    "detection": 0.93,
    "missing": 0.0,
    "norm": 13.5,
}
LIMITS = limits_for("open", Purpose.ENROLL)


def test_good_measures_raise_nothing() -> None:
    quality = assess(GOOD, LIMITS)
    assert quality.usable
    assert quality.warnings == ()


@pytest.mark.parametrize(
    ("measure", "warned", "rejected", "reason"),
    [
        ("eye_distance", 39, 23, Reason.FACE_TOO_SMALL),
        ("sharpness", 34, 14, Reason.BLURRED),
        ("luminance", 0.19, 0.09, Reason.TOO_DARK),
        ("luminance", 0.81, 0.91, Reason.TOO_BRIGHT),
        ("overexposed", 0.06, 0.21, Reason.TOO_BRIGHT),
        ("underexposed", 0.21, 0.91, Reason.TOO_DARK),
        ("roll", -16, -31, Reason.TILTED),
        ("yaw", -0.21, -0.36, Reason.TURNED_AWAY),
        ("yaw", 0.21, 0.36, Reason.TURNED_AWAY),
        ("pitch", 0.39, 0.29, Reason.TURNED_AWAY),
        ("pitch", 0.75, 0.85, Reason.TURNED_AWAY),
        ("visible", 0.96, 0.84, Reason.CUT_OFF),
        ("norm", 11.9, 9.9, Reason.LOW_QUALITY),
    ],
)
def test_each_limit_warns_then_rejects(measure: str, warned: float, rejected: float, reason: Reason) -> None:
    warning, rejection = (assess({**GOOD, measure: value}, LIMITS) for value in (warned, rejected))
    assert (warning.rejects, warning.warnings) == ((), (reason,))
    assert (rejection.rejects, rejection.warnings) == ((reason,), ())


def test_a_reason_is_given_once_and_at_its_worst() -> None:
    quality = assess({**GOOD, "yaw": 0.25, "pitch": 0.9}, LIMITS)
    assert (quality.rejects, quality.warnings) == ((Reason.TURNED_AWAY,), ())


def test_score_rises_with_the_norm() -> None:
    scores = [assess({**GOOD, "norm": norm}, LIMITS).score for norm in (5, 8, 10, 12, 14, 16)]
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0, 1)


def test_norm_of_an_unmeasured_pack_is_not_judged() -> None:
    quality = assess({**GOOD, "norm": 1.0}, limits_for("buffalo_l", Purpose.ENROLL))
    assert quality.usable
    assert quality.score == pytest.approx(GOOD["detection"])


def test_verifying_is_never_stricter_than_enrolling() -> None:
    enroll, verify = (limits_for("open", purpose) for purpose in (Purpose.ENROLL, Purpose.VERIFY))
    random = np.random.default_rng(3)
    for _ in range(300):
        measures = {name: value * random.uniform(0, 2) for name, value in GOOD.items()}
        assert set(assess(measures, verify).rejects) <= set(assess(measures, enroll).rejects)


def test_every_reason_has_a_short_sentence() -> None:
    assert set(SENTENCES) == set(Reason)
    for reason in Reason:
        assert sentence(reason).endswith(".")
        assert len(sentence(reason)) <= 70


# ---------------------------------------------------------------- real photos


def reasons(engine: FaceEngine, image: Image) -> set[Reason]:
    quality = engine.analyze(image, purpose=Purpose.ENROLL).faces[0].quality
    return {*quality.rejects, *quality.warnings}


def test_photos_that_can_be_enrolled(engine: FaceEngine, astronaut: Image, close_up: Image) -> None:
    for image in (astronaut, close_up):
        assert judge_photo("photo", engine.analyze(image, purpose=Purpose.ENROLL)).face is not None


@pytest.mark.parametrize("margin", [0.35, 0.6])
def test_everyone_of_the_group_but_the_profile_can_be_enrolled(
    engine: FaceEngine, group: Image, margin: float
) -> None:
    verdicts = {
        round(face.box.x1): judge_photo(
            "photo", engine.analyze(crop(group, face.box, margin), purpose=Purpose.ENROLL)
        )
        for face in engine.analyze(group).faces
    }
    refused = {x: verdict.rejects for x, verdict in verdicts.items() if verdict.face is None}
    assert len(verdicts) == 6
    assert list(refused.values()) == [(Reason.TURNED_AWAY,)]
    assert 850 < next(iter(refused)) < 950  # the man standing, who looks to the side


def test_dark_photo(engine: FaceEngine, astronaut: Image) -> None:
    found = reasons(engine, (astronaut * 0.2).astype(np.uint8))
    assert Reason.TOO_DARK in found
    assert Reason.BLURRED not in found


def test_bright_photo(engine: FaceEngine, astronaut: Image) -> None:
    assert Reason.TOO_BRIGHT in reasons(engine, np.clip(astronaut * 2.2, 0, 255).astype(np.uint8))


def test_blurred_photo(engine: FaceEngine, astronaut: Image) -> None:
    assert Reason.BLURRED in reasons(engine, cv2.GaussianBlur(astronaut, (0, 0), 4).astype(np.uint8))


def test_noisy_photo_is_not_taken_for_a_sharp_one(engine: FaceEngine, astronaut: Image) -> None:
    noise = np.random.default_rng(1).normal(0, 35, astronaut.shape)
    assert Reason.LOW_QUALITY in reasons(engine, np.clip(astronaut + noise, 0, 255).astype(np.uint8))


def test_tilted_photo(engine: FaceEngine, astronaut: Image) -> None:
    turned = cv2.warpAffine(astronaut, cv2.getRotationMatrix2D((224, 122), 28, 1), (512, 512))
    assert Reason.TILTED in reasons(engine, turned)


def test_face_at_the_border_is_cut_off(engine: FaceEngine, astronaut: Image) -> None:
    assert Reason.CUT_OFF in reasons(engine, astronaut[:, 205:])


def test_turned_face(engine: FaceEngine, group: Image) -> None:
    standing = next(face for face in engine.analyze(group).faces if 850 < face.box.x1 < 950)
    assert Reason.TURNED_AWAY in standing.quality.rejects


# ---------------------------------------------------------------- whole photos


def test_photo_without_a_face() -> None:
    verdict = judge_photo("wall.jpg", Analysis((), 640, 480, 1.0, 0.0))
    assert (verdict.photo, verdict.face, verdict.rejects) == ("wall.jpg", None, (Reason.NO_FACE,))


@pytest.mark.parametrize(("share", "refused"), [(0.2, False), (0.3, True)])
def test_second_face_counts_from_a_quarter(
    engine: FaceEngine, astronaut: Image, share: float, refused: bool
) -> None:
    analysis = engine.analyze(astronaut, purpose=Purpose.ENROLL)
    first = analysis.faces[0]
    side = (first.box.area * share) ** 0.5
    second = replace(first, box=Box(0, 0, side, side))
    verdict = judge_photo("two.jpg", replace(analysis, faces=(first, second)))
    assert (Reason.SEVERAL_FACES in verdict.rejects) is refused
    assert (verdict.face is None) is refused


def before_a_crowd(astronaut: Image, group: Image, size: int, blur: float) -> Image:
    """A face of 85 pixels in the middle of the front row of others, of `size` pixels, out of focus."""
    scale = size / 85
    crowd = cv2.GaussianBlur(cv2.resize(group, None, fx=scale, fy=scale), (0, 0), blur)
    head = astronaut[20:270, 100:350]
    crowd[-250:, 300:550] = head
    return np.asarray(crowd, np.uint8)


@pytest.mark.parametrize("size", [60, 85, 130])
def test_a_crowd_out_of_focus_is_the_background(
    engine: FaceEngine, astronaut: Image, group: Image, size: int
) -> None:
    image = before_a_crowd(astronaut, group, size, blur=4)
    analysis = engine.analyze(image, purpose=Purpose.ENROLL)
    verdict = judge_photo("crowd.jpg", analysis)
    assert verdict.rejects == ()
    alone = engine.analyze(np.ascontiguousarray(astronaut[20:270, 100:350]), purpose=Purpose.ENROLL).faces[0]
    assert verdict.face is not None
    assert float(verdict.face.embedding @ alone.embedding) > 0.9


def test_in_a_film_nobody_stands_in_for_the_one_who_moves(
    engine: FaceEngine, astronaut: Image, group: Image
) -> None:
    analysis = engine.analyze(before_a_crowd(astronaut, group, 130, blur=4), purpose=Purpose.ENROLL)
    assert subject(analysis.faces, live=True) is analysis.faces[0]
    assert Reason.BLURRED in judge_photo("frame", analysis, live=True).rejects


def test_limits_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Limits().roll = (0, 0)  # type: ignore[misc]
