"""One calibration at a time, in the background; a study is kept for as long as the process lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TypeVar

from threadpoolctl import threadpool_limits

from core.calibration import archive
from core.calibration.calibrate import IMPOSTORS, of_gallery
from core.calibration.embedding_map import embedding_map
from core.calibration.erasures import living
from core.calibration.evaluation import evaluate
from core.calibration.faces import Read, read
from core.calibration.look_alikes import closest, confusable_pairs, weak_templates
from core.calibration.model import Calibration
from core.calibration.people import Map, Study
from core.calibration.progress import ProgressWatch, Step
from core.calibration.uploaded import Evaluation, Upload
from core.domain.errors import BadInput, RobiError, Unusable
from core.runtime.background import Background, Progress
from core.services.service import RobiService

MOST_IMPOSTORS = 10_000_000  # comparisons sampled: 120 MB

T = TypeVar("T")


class CalibrationJob:
    """Safe to call from any thread; nothing but `close` waits. Reached as `resources.get().calibration`."""

    def __init__(self, service: RobiService) -> None:
        self._service = service
        self._background = Background("calibration")
        self._guard = threading.Lock()
        self._study: Study | None = None
        self._living_at = 0  # the ledger's head when it was last freed of the erased

    def start(self, *, impostors: int = IMPOSTORS, seed: int = 0) -> None:
        """Study the gallery.

        Raises:
            Busy: `busy`, while another one runs. BadInput: `bad_parameter`, for a sample of no size.
        """
        if not 1 <= impostors <= MOST_IMPOSTORS:
            raise BadInput(
                "bad_parameter",
                f"The sample must have 1 to {MOST_IMPOSTORS:,} comparisons.",
                f"{IMPOSTORS:,} are usual.",
            )

        def work(watch: ProgressWatch) -> None:
            made = study(self._service, watch, impostors=impostors, seed=seed)
            with self._guard:
                self._study, self._living_at = made, made.gallery_seq

        self._start(work)

    def start_evaluation(self, files: Sequence[Upload], *, seed: int = 0) -> Future[Evaluation]:
        """Study an uploaded set instead. The figures and pictures are in the future alone, and go with it.

        Raises:
            Busy: `busy`, while another one runs.
            Unusable: `bad_archive`. TooLarge: `archive_too_large`, when the list of files alone is too long.
        """
        archive.count_files(files)
        return self._start(lambda watch: evaluate(files, self._service, seed=seed, watch=watch))

    def progress(self) -> Progress | None:
        """None while nothing runs."""
        return self._background.progress()

    def cancel(self) -> None:
        """Stop what runs, within about a second; what was there before stays."""
        self._background.cancel()

    def study(self) -> Study | None:
        """The last study of the gallery, without whoever was erased since.

        Its figures and curves are those of the gallery as it was; see `stale`.
        """
        head = self._service.ledger.feed.head()
        with self._guard:
            if self._study is not None and self._living_at != head:
                self._study = living(self._service.ledger, self._study)
                self._living_at = head
            return self._study

    def stale(self) -> bool:
        """Whether the gallery has changed since the last study."""
        return self._study is not None and self._study.gallery_seq != self._service.ledger.feed.head()

    def failure(self) -> RobiError | None:
        """Why the last start came to nothing (also `cancelled`); None when it did not."""
        return self._background.problem()

    def close(self) -> None:
        """Stop, and wait a moment for it."""
        self._background.close()

    def _start(self, work: Callable[[ProgressWatch], T]) -> Future[T]:
        background = self._background
        watch = ProgressWatch(lambda now: background.tell(now.share, now.doing), lambda: background.cancelled)

        def gently() -> T:
            with threadpool_limits(1, user_api="blas"):  # the other cores are for searches
                return work(watch)

        return background.start(gently)


def study(service: RobiService, watch: ProgressWatch, *, impostors: int = IMPOSTORS, seed: int = 0) -> Study:
    """All that a look at the gallery gives; what it has too few templates for is left out, with a sentence.

    Raises:
        Unusable: `empty_gallery`. Conflict: `cancelled`.
    """
    ledger, pack = service.ledger, service.engine.pack
    gallery = read(ledger, pack.dimension, watch.part(0.0, 0.1, "Reading the gallery"))
    calibration, missing = _calibration(service, gallery, watch.within(0.1, 0.6), impostors, seed)
    alike = closest(gallery.faces, step=watch.part(0.6, 0.9, "Looking for people who look alike"))
    confirmed = {frozenset(pair.user_ids) for pair in ledger.pairs.all()}
    return Study(
        calibration=calibration,
        missing=missing,
        pairs=confusable_pairs(ledger, gallery.faces, alike, confirmed),
        weak=weak_templates(ledger, gallery.faces),
        map=_map(service, gallery, seed, watch.part(0.9, 1.0, "Drawing the map")),
        gallery_seq=gallery.seq,
        made_at=datetime.now(UTC),
    )


def _calibration(
    service: RobiService, gallery: Read, watch: ProgressWatch, impostors: int, seed: int
) -> tuple[Calibration | None, str | None]:
    try:
        made = of_gallery(
            gallery, service.engine.pack, service.store.rule(), impostors=impostors, seed=seed, watch=watch
        )
    except Unusable as problem:
        return None, f"{problem.message} {problem.hint}"
    return made, None


def _map(service: RobiService, gallery: Read, seed: int, step: Step) -> Map | None:
    try:
        return embedding_map(service.ledger, gallery, seed=seed, step=step)
    except Unusable:
        return None
