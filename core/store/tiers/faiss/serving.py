"""The view that searches use, and how it is replaced: by one assignment, whoever is searching."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from core.config.settings import IndexType
from core.domain.faces import Embeddings
from core.domain.search import Hit
from core.store.tiers.faiss.candidate_index import Built, GpuLost, GpuUnavailable, IndexOptions
from core.store.tiers.faiss.gpu.use import GpuUse
from core.store.tiers.faiss.index_builder import Finished, Job, Sealed, next_job, on_card, seal
from core.store.tiers.faiss.index_snapshot import IndexSnapshot
from core.store.tiers.faiss.vector_table import VectorTable

logger = logging.getLogger("robi.store.faiss")

RETRY_SECONDS = 60.0  # after FAISS failed to build an index

NOTHING = Sealed(Built(None), 0, 0)


class Serving:
    """Searched from any number of threads. The rest is called under the apply lock, but for `attempt`.

    When FAISS fails, the present index goes on or the rows are scanned exactly, and `trouble` says so.
    """

    def __init__(self, options: IndexOptions, rows: VectorTable) -> None:
        self._options = options
        self._publishing = threading.Lock()  # held for one assignment
        self._retry_at = 0.0
        self.view = IndexSnapshot(rows, rows.used)
        self.sealed = NOTHING
        self.trouble: str | None = None
        self.gpu = GpuUse()

    def search(self, probes: Embeddings, limit: int) -> list[list[Hit]]:
        view = self.view
        try:
            return view.search(probes, limit)
        except (RuntimeError, MemoryError) as problem:
            if view.index is None:
                raise
            self._lost(problem, "An exact scan serves until the index is built again.")
            return self._without_index(view).search(probes, limit)

    def begin(self, rows: VectorTable) -> None:
        """Other rows altogether, under an index of their own."""
        try:
            sealed = seal(self._options, rows, rows.used)
        except (RuntimeError, MemoryError) as problem:
            self.failed(problem, "An exact scan serves until then.")
            sealed = NOTHING
        self._publish(IndexSnapshot(rows, rows.used, sealed.built.index, sealed.rows), sealed)
        self._judge_gpu()

    def retune(self, setting: IndexType, nprobe: int) -> None:
        """Use another kind of index as soon as it is built, and look into so many lists from now on.

        From any thread. Another kind is `due` then; searches go on with the present one.
        """
        with self._publishing:
            self._options = replace(self._options, setting=setting, nprobe=nprobe)
            self._retry_at = 0.0
            self._probe_as_asked()

    def _probe_as_asked(self) -> None:
        """With `_publishing` held."""
        self.sealed = self.sealed.probing(self._options)
        if self.view.index is not None:
            self.view = replace(self.view, index=self.sealed.built.index)

    def grown(self, rows: VectorTable) -> None:
        """The rows, or a longer copy with everything in its place, have more in use than before."""
        with self._publishing:
            self.view = replace(self.view, rows=rows, used=rows.used)

    def due(self) -> Job | None:
        """Upkeep that is worth doing now; while a job runs, none else may."""
        if time.monotonic() < self._retry_at:
            return None
        options = self._options if self.gpu.due else replace(self._options, gpu=None)
        return next_job(self.view, options, self.sealed)

    def attempt(self, job: Job) -> Finished | None:
        """Do the work, without the apply lock; None if FAISS or the GPU could not."""
        try:
            return job.run()
        except GpuUnavailable as problem:
            logger.debug("no GPU yet: %s", problem)
            self.gpu.refused(str(problem))
        except GpuLost as problem:
            self._lost(problem)
            self._without_index(job.view)
        except (RuntimeError, MemoryError) as problem:
            self.failed(problem, f"The present index ({self.view.kind}) goes on.")
        return None

    def adopt(self, finished: Finished | None) -> None:
        """Put what was built into service, unless its rows have been replaced meanwhile."""
        if finished is None or finished.job.view.rows is not self.view.rows:
            return
        try:
            view = finished.catch_up()
        except MemoryError as problem:
            self.failed(problem, f"The present index ({self.view.kind}) goes on.")
            return
        self._publish(view, finished.sealed)
        self.trouble = None
        self._judge_gpu()
        logger.debug("%s: %s over %d templates", finished.job.work, view.kind, view.rows.count)

    def failed(self, problem: Exception, meanwhile: str) -> None:
        """Say what does not work and what does instead."""
        logger.warning("FAISS failed (%s): %s", type(problem).__name__, meanwhile)
        logger.debug("FAISS failed", exc_info=problem)
        why = "for want of memory" if isinstance(problem, MemoryError) else "with an error"
        self.trouble = f"FAISS failed {why}; it is tried again. {meanwhile}"
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _lost(self, problem: Exception, meanwhile: str = "") -> None:
        """The index itself has failed; without its GPU the gallery is at once worth another one."""
        if isinstance(problem, GpuLost):
            logger.warning("%s The CPU serves until it is back.", problem)
            self.gpu.failed(str(problem))
        else:
            self.failed(problem, meanwhile)

    def _judge_gpu(self) -> None:
        if self.sealed.built.gpu_missing is not None:
            self.gpu.refused(self.sealed.built.gpu_missing)
        elif on_card(self.view):
            self.gpu.works()

    def _without_index(self, failed: IndexSnapshot) -> IndexSnapshot:
        with self._publishing:
            if self.view.index is failed.index:
                self.view = IndexSnapshot(self.view.rows, self.view.used)
                self.sealed = NOTHING
            return self.view

    def _publish(self, view: IndexSnapshot, sealed: Sealed) -> None:
        with self._publishing:
            self.view, self.sealed = view, sealed
            self._probe_as_asked()
