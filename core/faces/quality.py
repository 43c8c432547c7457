"""Says whether a face is good enough, and if not, what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from core.domain.decisions import shown
from core.domain.faces import Analysis, Box, Face, Image, PhotoVerdict, Purpose, Quality, Reason
from core.faces.pose import HeadAngles

SECOND_FACE_SHARE = 0.25
"""A second face of at least this share of the first one's area makes a photo ambiguous."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a measure becomes worth a warning and where it makes a face unusable: (warn, reject).

    The numbers come from degrading good photos step by step and watching their similarity to untouched
    photos of the same person. `norm` belongs to one recogniser, so it is (0, 0), which never applies, for
    packs on which it was not measured; `norm_range` maps the norm to the score 0..1.
    """

    eye_distance: tuple[float, float] = (40, 24)  # pixels, at least
    sharpness: tuple[float, float] = (35, 15)  # at least
    dark: tuple[float, float] = (0.2, 0.1)  # mean luminance, at least
    bright: tuple[float, float] = (0.8, 0.9)  # mean luminance, at most
    overexposed: tuple[float, float] = (0.05, 0.2)  # share of pixels, at most
    underexposed: tuple[float, float] = (0.2, 0.9)  # share of pixels, at most
    roll: tuple[float, float] = (15, 30)  # degrees, at most
    yaw: tuple[float, float] = (0.20, 0.35)  # eye distances, at most
    pitch: tuple[float, float] = (0.17, 0.27)  # distance from PITCH_FRONT, at most
    visible: tuple[float, float] = (0.97, 0.85)  # share of the box inside the image, at least
    missing: tuple[float, float] = (0.08, 0.08)  # share of the face that is one flat patch, at most
    norm: tuple[float, float] = (0, 0)  # at least
    norm_range: tuple[float, float] | None = None


PITCH_FRONT = 0.57
_ENROLL = Limits()
_POOR = 1.5  # times the least distance of the eyes: a face below that is warned of
_VERIFY = Limits(eye_distance=(15, 10), yaw=(0.30, 0.45), roll=(20, 40), visible=(0.9, 0.7))
_SFACE = {"norm": (12.0, 10.0), "norm_range": (7.0, 15.0)}


def limits_for(pack_id: str, purpose: Purpose, least_eye_distance: float | None = None) -> Limits:
    """The limits of one face pack for one purpose.

    Args:
        least_eye_distance: in pixels, from which a face may be verified, where it is not the usual one.
    """
    limits = _ENROLL if purpose is Purpose.ENROLL else _VERIFY
    if purpose is Purpose.VERIFY and least_eye_distance is not None:
        limits = replace(limits, eye_distance=(_POOR * least_eye_distance, least_eye_distance))
    return replace(limits, **_SFACE) if pack_id == "open" else limits


# ---------------------------------------------------------------- measuring

_OVEREXPOSED_FROM = 250
_UNDEREXPOSED_TO = 25
_TYPICAL_CONTRAST = 40.0
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_LEAST_PATCH = 0.05


def measure(
    aligned: Image,
    inside: Callable[[], NDArray[np.bool_]],
    *,
    box: Box,
    width: int,
    height: int,
    head: HeadAngles,
    detection: float,
    norm: float,
) -> Mapping[str, float]:
    """The numbers that `assess` judges by.

    Args:
        aligned: the face as the recogniser sees it, 112×112.
        inside: tells, pixel by pixel, what of it lies within the picture; the rest is black.
        width: of the whole image, as `height`.
        norm: length of the embedding before normalisation.
    """
    gray = cv2.cvtColor(aligned, cv2.COLOR_BGR2GRAY)
    mean, deviation = (float(item[0, 0]) for item in cv2.meanStdDev(gray))
    # A Laplacian's variance grows with contrast squared: without the division a dark face is "blurred".
    laplacian = float(cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_32F))[1][0, 0]) ** 2
    measures = {
        "eye_distance": head.eye_distance,
        "sharpness": laplacian * (_TYPICAL_CONTRAST / max(deviation, 1.0)) ** 2,
        "luminance": mean / 255,
        "overexposed": float(np.count_nonzero(gray >= _OVEREXPOSED_FROM)) / gray.size,
        "underexposed": float(np.count_nonzero(gray <= _UNDEREXPOSED_TO)) / gray.size,
        "roll": head.roll,
        "yaw": head.yaw,
        "pitch": head.pitch,
        "visible": _visible_share(box, width, height),
        "missing": _missing_share(gray.astype(np.uint8, copy=False), inside),
        "detection": detection,
        "norm": norm,
    }
    return MappingProxyType(measures)


def _missing_share(gray: NDArray[np.uint8], inside: Callable[[], NDArray[np.bool_]]) -> float:
    """The largest patch of exactly one grey, as a share: what a decoder puts where the file has nothing.

    No camera sees such a patch, but for burnt-out white, which is judged elsewhere, and black, of which
    three quarters count.
    """
    flat = (cv2.dilate(gray, _NEIGHBOURS) == cv2.erode(gray, _NEIGHBOURS)) & (gray < _OVEREXPOSED_FROM)
    if float(np.count_nonzero(flat)) / gray.size < _LEAST_PATCH:
        return 0.0
    flat &= inside()  # a face at the edge of a picture is cut off, which is judged elsewhere
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(flat.astype(np.uint8))
    shares = statistics[:, cv2.CC_STAT_AREA] / gray.size
    shares[0] = 0  # what is not flat
    largest = int(np.argmax(shares))
    is_black = not gray[labels == largest].any()
    return float(shares[largest]) * (0.75 if is_black else 1.0)


def _visible_share(box: Box, width: int, height: int) -> float:
    inside = Box(max(box.x1, 0), max(box.y1, 0), min(box.x2, width), min(box.y2, height))
    return inside.area / box.area if box.area > 0 else 0.0


# ---------------------------------------------------------------- judging


def assess(measures: Mapping[str, float], limits: Limits) -> Quality:
    """Judge a measured face. The same face can be judged again for another purpose."""
    found = _findings(measures, limits)
    rejects = _unique(reason for reason, level in found if level is _Level.REJECT)
    warnings = _unique(reason for reason, level in found if level is _Level.WARN and reason not in rejects)
    return Quality(_score(measures, limits), rejects, warnings, measures, limits.eye_distance[1])


class _Level(Enum):
    FINE = 0
    WARN = 1
    REJECT = 2


def _findings(measures: Mapping[str, float], limits: Limits) -> list[tuple[Reason, _Level]]:
    """Every measure against its limits, in the order in which an operator should mend them."""
    pitch = abs(measures["pitch"] - PITCH_FRONT)
    luminance = measures["luminance"]
    return [
        (Reason.FACE_TOO_SMALL, _at_least(measures["eye_distance"], limits.eye_distance)),
        (Reason.CUT_OFF, _at_least(measures["visible"], limits.visible)),
        (Reason.TURNED_AWAY, _at_most(abs(measures["yaw"]), limits.yaw)),
        (Reason.TURNED_AWAY, _at_most(pitch, limits.pitch)),
        (Reason.TILTED, _at_most(abs(measures["roll"]), limits.roll)),
        (Reason.TOO_DARK, _at_least(luminance, limits.dark)),
        (Reason.TOO_DARK, _at_most(measures["underexposed"], limits.underexposed)),
        (Reason.TOO_BRIGHT, _at_most(luminance, limits.bright)),
        (Reason.TOO_BRIGHT, _at_most(measures["overexposed"], limits.overexposed)),
        (Reason.BLURRED, _at_least(measures["sharpness"], limits.sharpness)),
        (Reason.DAMAGED, _at_most(measures["missing"], limits.missing)),
        (Reason.LOW_QUALITY, _at_least(measures["norm"], limits.norm)),
    ]


def _at_least(value: float, limit: tuple[float, float]) -> _Level:
    warn, reject = limit
    if value < reject:
        return _Level.REJECT
    return _Level.WARN if value < warn else _Level.FINE


def _at_most(value: float, limit: tuple[float, float]) -> _Level:
    warn, reject = limit
    return _at_least(-value, (-warn, -reject))


def _unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))


def _score(measures: Mapping[str, float], limits: Limits) -> float:
    """The embedding's norm says most about later similarities; without it the detector's score must do."""
    if limits.norm_range is None:
        return min(max(measures["detection"], 0.0), 1.0)
    low, high = limits.norm_range
    return min(max((measures["norm"] - low) / (high - low), 0.0), 1.0)


def subject(faces: Sequence[Face], *, live: bool = False) -> Face:
    """Whom a picture is of: its largest face, or a smaller one that is sharp where the largest is not.

    In a film only the largest: who moves is blurred for a moment, and nobody behind must stand in then.
    """
    largest = faces[0]
    rivals = (face for face in faces if _is_sharp(face) and _rivals(face, largest))
    return largest if live else next(rivals, largest)


def _is_sharp(face: Face) -> bool:
    return Reason.BLURRED not in face.quality.rejects


def _rivals(face: Face, other: Face) -> bool:
    return face.box.area >= SECOND_FACE_SHARE * other.box.area


def judge_photo(photo: str, analysis: Analysis, *, live: bool = False) -> PhotoVerdict:
    """Whether a photo analysed for enrolling shows one person well enough.

    People who are out of focus beside one who is sharp are the background.
    """
    if not analysis.faces:
        return PhotoVerdict(photo, None, (why_nobody(analysis),), ())
    first = subject(analysis.faces, live=live)
    rejects = first.quality.rejects
    others = [face for face in analysis.faces if face is not first]
    if _is_sharp(first):
        others = [face for face in others if _is_sharp(face)]
    if any(_rivals(face, first) for face in others):
        rejects = (Reason.SEVERAL_FACES, *rejects)
    return PhotoVerdict(photo, None if rejects else first, rejects, first.quality.warnings)


_BLACK, _WHITE = 0.08, 0.95  # mean of a whole picture


def why_nobody(analysis: Analysis) -> Reason:
    """Why a picture has no face: too little or too much light for any, or really nobody."""
    light = analysis.luminance
    if light is not None and light < _BLACK:
        return Reason.TOO_DARK
    return Reason.TOO_BRIGHT if light is not None and light > _WHITE else Reason.NO_FACE


# ---------------------------------------------------------------- words

SENTENCES: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.NO_FACE: "No face found. Show the whole face, facing the camera.",
        Reason.SEVERAL_FACES: "More than one person. Only one may be in the picture.",
        Reason.FACE_TOO_SMALL: "Move closer, so that the face is larger.",
        Reason.BLURRED: "Hold still, so that the face is sharp.",
        Reason.TOO_DARK: "Too dark. Turn towards the light.",
        Reason.TOO_BRIGHT: "Too bright. Move out of the direct light.",
        Reason.TURNED_AWAY: "Look straight at the camera.",
        Reason.TILTED: "Hold the head upright.",
        Reason.CUT_OFF: "Move to the middle, so that the whole face is visible.",
        Reason.LOW_QUALITY: "The face is hard to read. Use even light and uncover the face.",
        Reason.DIFFERENT_PERSON: "This is not the person in the other photos. Remove it.",
        Reason.SAME_PERSON_TWICE: "Another face in the picture is more like this person.",
        Reason.FITS_TWO_PEOPLE: "Two enrolled people look like this. If they are one, merge them.",
        Reason.ON_ITS_SIDE: "The photo lies on its side; Robi turned it.",
        Reason.DAMAGED: "Part of the face is missing in the file. Send the original photo.",
        Reason.ALREADY_THERE: "This photo is there already; nothing needs to be done.",
        Reason.ANIMATION: "The picture moves. Only its first frame was looked at.",
        Reason.SMALLER_FACES: "Other faces in the picture were left out.",
    }
)


def advice(quality: Quality) -> str | None:
    """What to do about a face first, if anything; of one that is too small also how small it is."""
    found = quality.rejects or quality.warnings
    if not found:
        return None
    said = sentence(found[0])
    if quality.rejects[:1] != (Reason.FACE_TOO_SMALL,):
        return said
    needed = quality.least_eye_distance
    between = shown(quality.measures["eye_distance"], needed, 0)
    return f"{said} The eyes are {between:.0f} pixels apart; {needed:g} are needed."


def sentence(reason: Reason) -> str:
    """One short sentence that an operator can act on."""
    return SENTENCES[reason]
