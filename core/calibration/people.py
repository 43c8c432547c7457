"""What a study finds about people: look-alikes, weak templates, and everybody's place on the map."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from core.calibration.model import Calibration, Floats, Numbers


@dataclass(frozen=True, slots=True)
class ConfusablePair:
    """Two people who look alike, each pair once; `a` is the user_id that sorts first.

    `confirmed`: somebody said that they really are two people.
    """

    a_user_id: str
    b_user_id: str
    a_template: int
    b_template: int
    similarity: float
    confirmed: bool


@dataclass(frozen=True, slots=True)
class WeakTemplate:
    """A template that resembles the others of its person little. `asked`: a new photo was asked for."""

    template_id: int
    user_id: str
    name: str
    own_best: float
    others: int  # templates it was compared with
    quality: float
    asked: bool


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Templates in two dimensions: arrays of one length, a template each.

    `explained` is the share of the variance on each axis. `user_ids` and `names` are by template too.
    """

    points: Floats  # (n, 2)
    template_ids: NDArray[np.int64]
    persons: Numbers  # ordinals
    user_ids: tuple[str, ...]
    names: tuple[str, ...]
    quality: Floats
    explained: tuple[float, float]
    gallery_templates: int  # all there are; fewer points than that are a sample of whole people


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """All that a look at the gallery gives. What is impossible is None, and `missing` says why."""

    calibration: Calibration | None
    missing: str | None  # a sentence with the next step
    pairs: tuple[ConfusablePair, ...]
    weak: tuple[WeakTemplate, ...]
    map: Map | None
    gallery_seq: int
    made_at: datetime
