"""The use-cases. Dashboard pages and API routes both call these; nothing is decided anywhere else."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from core.config.settings import Settings
from core.config.tuning import Tuning, TuningStep
from core.domain import decisions
from core.domain.errors import BadInput, NotFound, RobiError, TooLarge, Unavailable, Unusable
from core.domain.events import Event, NewEvent
from core.domain.faces import Analysis, Face, Image, PhotoVerdict, Purpose, Reason
from core.domain.folding import fold
from core.domain.listing import Page
from core.domain.names import NameWarning, mixed_alphabets, user_id_from
from core.domain.people import EnrollResult, GalleryCounts, OnDisk, Pair, Person, Receipt, RejectedPhoto
from core.domain.recognition import FaceResult, IdentifyResult, VerifyOptions, VerifyResult
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.domain.system import Health
from core.domain.templates import StoredTemplate, TemplateInfo
from core.domain.validation import (
    MAX_PHOTOS,
    MAX_TOP_K,
    checked_metadata,
    checked_name,
    checked_strategy,
    checked_user_id,
)
from core.faces import images, quality
from core.faces.animation import frames
from core.faces.engine import FaceEngine
from core.ledger.journal import Journal
from core.ledger.ledger import Ledger
from core.metrics import ENROLLMENT, VERIFICATION, Metrics, as_request
from core.metrics.ranges import USUAL
from core.monitoring import gauges, status
from core.runtime.hardware import Cards
from core.services import demo
from core.services.enrollment import Compared, Enroller, EnrollRequest, compared, free_user_id
from core.services.tuning import PAIR_MARGIN, Tuner
from core.store.hybrid import HybridVectorStore
from core.store.search.merge import Rule, unbacked
from core.store.sync.drift import Drift
from core.telemetry import tracing


class RobiService:
    """Enroll, verify, identify, look up and erase. Safe to call from many threads.

    Every method raises only `core.domain.errors.RobiError`s for what a user can cause or a tier can suffer.
    """

    def __init__(
        self,
        settings: Settings,
        engine: FaceEngine,
        ledger: Ledger,
        store: HybridVectorStore,
    ) -> None:
        """Raises Unavailable: the ledger cannot be read."""
        self.settings = settings
        self.engine = engine
        self.ledger = ledger
        self.store = store
        self.metrics: Metrics = store.metrics
        self.started_at = datetime.now(UTC)
        self._tuner = Tuner(settings, ledger, store)  # first: it may raise, and what follows has threads
        self._enroller = Enroller(settings, ledger, store, lambda: self.tuning)
        self._journal = Journal(ledger)
        self._status = status.Status(self)

    def close(self) -> None:
        """Write what is still waiting to be written. Engine, ledger and store stay with their owner."""
        self._status.close()
        self._journal.close()

    # ------------------------------------------------------------ enrolling

    def inspect(self, photo: str, data: bytes) -> PhotoVerdict:
        """Whether a photo can be enrolled, and why not. Raises if it is no readable image."""
        image = self.decode(data)
        analysis = self.analyze(image, Purpose.ENROLL)
        verdict = _judged(photo, image, analysis)
        left_out = _left_out(data, smaller_faces=verdict.face is not None and len(analysis.faces) > 1)
        return replace(verdict, warnings=(*verdict.warnings, *left_out))

    def judge(self, photo: str, image: Image, *, live: bool = False) -> PhotoVerdict:
        """As `inspect`, for a picture that is decoded already; of a film if `live`.

        Who else is in the background of a camera's picture needs no word.
        """
        return _judged(photo, image, self.analyze(image, Purpose.ENROLL, live=live), live=live)

    def duplicate_of(self, faces: Sequence[Face], user_id: str | None) -> Candidate | None:
        """Who these faces are already enrolled as, other than `user_id`; None when nobody."""
        return self._enroller.duplicate_of(faces, user_id)

    def compare_photos(self, faces: Sequence[Face]) -> Compared:
        """Whether faces that are to be enrolled show one person, and which of them do not."""
        return compared(faces, self.tuning.threshold)

    @tracing.traced
    @as_request(ENROLLMENT)
    def enroll(
        self,
        user_id: str,
        name: str | None,
        photos: Sequence[tuple[str, bytes]],
        *,
        metadata: Mapping[str, Any] | None = None,
        add_to_existing: bool = False,
        allow_duplicate: bool = False,
        via: str = "upload",
    ) -> EnrollResult:
        """Enroll a new person from image files, or add photos to a person; each as (its name, its bytes).

        Which of the two is meant must be said: nobody is added to, or enrolled anew, by a mistake. With
        `add_to_existing` the person keeps their name, and each photo must match most of those that the
        person was enrolled with. A photo that is there already is among the `rejected` and no mistake.
        So is a file that is no readable image; it raises only if it is the only one.

        Raises:
            BadInput: invalid_user_id, invalid_name, invalid_metadata, bad_parameter (no photo).
            TooLarge: too_many_images, image_too_large, metadata_too_large.
            UnsupportedImage, Unusable: no_usable_photo, or what is wrong with the only photo.
            Conflict: person_exists, or duplicate_person with who it is in `detail`.
            NotFound: unknown_person, when photos are to be added.
            Unavailable: disk_full, ledger_unavailable.
        """
        request = _request(user_id, name, metadata, add_to_existing, allow_duplicate, via)
        _check_number(len(photos))
        verdicts: list[PhotoVerdict] = []
        unreadable: list[RejectedPhoto] = []
        for photo, data in photos:
            try:
                verdicts.append(self.inspect(photo, data))
            except RobiError as problem:
                if len(photos) == 1:
                    raise
                unreadable.append(RejectedPhoto(photo, (problem.code,)))
        return self._enroller.enroll(request, verdicts, unreadable)

    @tracing.traced
    @as_request(ENROLLMENT)
    def enroll_verdicts(
        self,
        user_id: str,
        name: str | None,
        verdicts: Sequence[PhotoVerdict],
        *,
        metadata: Mapping[str, Any] | None = None,
        add_to_existing: bool = False,
        allow_duplicate: bool = False,
        via: str = "webcam",
    ) -> EnrollResult:
        """As `enroll`, for photos that were inspected before: captured live, or shown to the operator."""
        request = _request(user_id, name, metadata, add_to_existing, allow_duplicate, via)
        _check_number(len(verdicts))
        return self._enroller.enroll(request, verdicts)

    def suggest_user_id(self, name: str) -> str:
        """A free ID made of the letters and digits of a name: "Ana Ruiz" gives `ana-ruiz`."""
        return free_user_id(user_id_from(name), lambda user_id: self.ledger.find(user_id) is not None)

    def name_warnings(self, name: str, user_id: str | None = None) -> tuple[NameWarning, ...]:
        """What to look at before believing a name: others have it, or it looks like theirs.

        `user_id` is whose name it is, or is to become.
        """
        warnings = []
        others = [other for other in self.ledger.namesakes(name) if other[0] != user_id]
        same = tuple(other for other, called in others if fold(called) == fold(name))
        alike = tuple(other for other, called in others if fold(called) != fold(name))
        if same:
            warnings.append(NameWarning("name_exists", "Somebody of this name is enrolled already.", same))
        if alike:
            message = "The name looks like that of somebody else."
            warnings.append(NameWarning("name_looks_like", message, alike))
        if alphabets := mixed_alphabets(name):
            mixed = " and ".join(alphabet.capitalize() for alphabet in alphabets)
            message = f"One word of the name mixes {mixed} letters, which look the same."
            warnings.append(NameWarning("mixed_alphabets", message))
        return tuple(warnings)

    def sharing_names(self, user_ids: Collection[str]) -> frozenset[str]:
        """Those of the people whose name is, or looks like, somebody else's: show their IDs beside it."""
        return self.ledger.sharing_names(user_ids)

    def called(self, user_id: str, name: str) -> str:
        """A person's name for the screen: "Ana Ruiz", or "Ana Ruiz (ana-2)" where others have that name."""
        return f"{name} ({user_id})" if self.sharing_names([user_id]) else name

    def told_apart(self, search: SearchResult, shared: Collection[str] | None = None) -> SearchResult:
        """A search for the screen: its candidates are called so that nobody is taken for a namesake.

        `shared` is what `sharing_names` said a moment ago, if somebody asked.
        """
        if shared is None:
            try:
                shared = self.sharing_names([candidate.user_id for candidate in search.candidates])
            except Unavailable:
                return search
        if not shared:
            return search
        named = (
            replace(c, name=f"{c.name} ({c.user_id})") if c.user_id in shared else c
            for c in search.candidates
        )
        return replace(search, candidates=tuple(named))

    def load_demo_gallery(self) -> tuple[EnrollResult, ...]:
        """Enroll the people of the demo photos who are not enrolled yet."""
        results: list[EnrollResult] = []
        for photo in demo.demo_photos():
            results += self._enroll_demo(photo)
        return tuple(results)

    # ------------------------------------------------------------ recognising

    @tracing.traced
    @as_request(VERIFICATION)
    def verify(
        self,
        data: bytes,
        *,
        user_id: str | None = None,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
        via: str = "api",
    ) -> VerifyResult:
        """Check the largest face of a picture: against everybody, or against one person (1:1).

        `via` goes on record: "api", or "photo" for one that was chosen on the screen.

        Raises:
            Unusable: no_face, too_dark, too_bright. NotFound: unknown_person.
            BadInput: bad_strategy, bad_parameter.
        """
        started = time.perf_counter()
        options = self.options(strategy, top_k, threshold, user_id)
        analysis = self.analyze(self.decode(data), Purpose.VERIFY)
        if not analysis.faces:
            why = quality.why_nobody(analysis)
            raise Unusable(why.value, "No face was found in the picture.", quality.sentence(why))
        face = analysis.faces[0]
        (search,) = self.recognise((face,), options)
        self.note(search, "1:N" if user_id is None else "1:1", via=via)
        return VerifyResult(
            face=face,
            faces=len(analysis.faces) + analysis.faces_left_out,
            search=search,
            verified=search.decision is Decision.MATCH,
            latency_ms=latency_ms(analysis, (search,), started),
            warnings=_left_out(data, smaller_faces=len(analysis.faces) > 1),
        )

    @tracing.traced
    @as_request(VERIFICATION)
    def identify(
        self,
        data: bytes,
        *,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
        via: str = "api",
    ) -> IdentifyResult:
        """Look up every face of a picture. No face gives no results, not an error."""
        started = time.perf_counter()
        options = self.options(strategy, top_k, threshold)
        analysis = self.analyze(self.decode(data), Purpose.VERIFY)
        searches = self.recognise(analysis.faces, options)
        for search in searches:
            self.note(search, "1:N", via=via)
        faces = tuple(FaceResult(face, search) for face, search in zip(analysis.faces, searches, strict=True))
        left_out = analysis.faces_left_out
        warnings = _left_out(data, smaller_faces=left_out > 0)
        return IdentifyResult(faces, latency_ms(analysis, searches, started), left_out, warnings)

    def search(
        self,
        embedding: Sequence[float],
        *,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
    ) -> SearchResult:
        """Search with an embedding of the pack in use; it need not be normalised.

        Raises:
            BadInput: invalid_embedding (wrong length, not finite, zero), bad_strategy, bad_parameter.
            Unavailable: search_unavailable. Busy: busy.
        """
        options = self.options(strategy, top_k, threshold)
        return self.store.search(
            embedding,
            k=options.top_k,
            strategy=self._strategy(options),
            threshold=self.threshold(options.threshold),
        )

    def submit_search(
        self,
        embedding: Sequence[float],
        *,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
    ) -> Future[list[SearchResult]]:
        """As `search`, for callers that must not wait: the future gives the one result."""
        options = self.options(strategy, top_k, threshold)
        return self.store.submit(
            embedding,
            k=options.top_k,
            strategy=self._strategy(options),
            threshold=self.threshold(options.threshold),
        )

    def recognise(self, faces: Sequence[Face], options: VerifyOptions) -> tuple[SearchResult, ...]:
        """Who each face of a picture is: searched for in one batch, or compared with one person's templates.

        What the picture does not bear out is no match, however similar: see `core.domain.decisions`.
        """
        if not faces:
            return ()
        threshold = self.threshold(options.threshold)
        if options.user_id is not None:
            results = [self._compare(face, options.user_id, threshold) for face in faces]
        else:
            probes = np.stack([face.embedding for face in faces])
            results = self.store.search_batch(
                probes, k=options.top_k, strategy=self._strategy(options), threshold=threshold
            )
        decided = decisions.settled(faces, results)
        tracing.searched(decided)
        self.metrics.recognised(decided)
        return decided

    def as_named_now(self, kept: Sequence[SearchResult]) -> tuple[SearchResult, ...] | None:
        """Results that somebody kept, with the names of now; None when a person in them is gone, by an
        erasure or a merger in any process: search again, for who is left may be decided on otherwise.
        """
        wanted = {candidate.template_id for search in kept for candidate in search.candidates}
        living = self.ledger.resolve(wanted)
        if len(living) < len(wanted):
            return None
        return tuple(
            replace(search, candidates=tuple(_named_now(c, living[c.template_id]) for c in search.candidates))
            for search in kept
        )

    def rule(self, threshold: float | None = None) -> Rule:
        """What turns similarities into decisions now, with another threshold if given."""
        return self.store.rule(threshold)

    def note(
        self,
        search: SearchResult,
        mode: str,
        instead_of: NewEvent | None = None,
        *,
        via: str | None = None,
    ) -> NewEvent:
        """Put a decision on record: who, how similar, how it was found, which threshold decided.
        Written within a second.

        With `instead_of` it takes the place of what was put on record of the same visit earlier.
        `via` is where a photo came from: "photo" (the screen) or "api".
        """
        best = search.best if search.decision is not Decision.UNKNOWN else None
        return self._journal.decided(
            user_id=best.user_id if best else None,
            matched=search.decision is Decision.MATCH,
            detail={
                "decision": search.decision.value,
                "similarity": _similarity(search),
                "lead": _lead(search),
                "mode": mode,
                **({"via": via} if via else {}),
                "strategy": search.strategy.value,
                **({"held_back_by": [str(r) for r in search.held_back_by]} if search.held_back_by else {}),
                "decided_by": {
                    "threshold": search.threshold,
                    "own": search.threshold != self.tuning.threshold,  # a request's, not the one in effect
                },
            },
            instead_of=instead_of,
        )

    def options(
        self,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
        user_id: str | None = None,
    ) -> VerifyOptions:
        """Checked options, with the settings' defaults filled in. Raises BadInput, NotFound."""
        if not 1 <= top_k <= MAX_TOP_K:
            raise BadInput("bad_parameter", f"top_k must be between 1 and {MAX_TOP_K}.", "Try top_k=5.")
        if threshold is not None:
            self._check_threshold(threshold)
        if user_id is not None:
            self.ledger.person(user_id)
        return VerifyOptions(
            None if strategy is None else checked_strategy(strategy), threshold, user_id, top_k
        )

    def _check_threshold(self, threshold: float) -> None:
        if not 0 < threshold < 1:  # also refuses NaN
            raise BadInput(
                "bad_parameter", "threshold must be between 0 and 1.", "Leave it out for the default."
            )
        if self.threshold(threshold) > threshold:
            raise BadInput(
                "threshold_too_low",
                f"A request may not ask for less than the threshold in effect, {self.tuning.threshold:g}.",
                "Leave it out or ask for more, or let the server allow it: ROBI_ALLOW_LOOSER_THRESHOLD.",
            )

    def threshold(self, asked: float | None) -> float:
        """The threshold that decides when `asked` is wished for: never a looser one than is tuned, unless
        the server allows that."""
        tuned = self.tuning.threshold
        if asked is None or (asked < tuned and not self.settings.robi_allow_looser_threshold):
            return tuned
        return asked

    # ------------------------------------------------------------ people

    def people(self, *, query: str = "", limit: int = 50, cursor: str | None = None) -> Page[Person]:
        if not 1 <= limit <= 500:
            raise BadInput("bad_parameter", "limit must be between 1 and 500.", "Try limit=50.")
        return self.ledger.people(query=query[:200], limit=limit, cursor=cursor)

    def person(self, user_id: str) -> Person:
        """Raises NotFound: unknown_person."""
        return self.ledger.person(user_id)

    def template_infos(self, user_id: str) -> tuple[TemplateInfo, ...]:
        return self.ledger.template_infos(user_id)

    def update_person(
        self, user_id: str, *, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Person:
        """Rename a person, or replace what is noted about them.

        Raises:
            NotFound: unknown_person. BadInput: invalid_name, invalid_metadata. TooLarge: metadata_too_large.
        """
        clean = checked_name(name) if name is not None else None
        return self.ledger.update(user_id, name=clean, metadata=metadata)

    @tracing.traced
    def erase(self, user_id: str) -> Receipt:
        """Erase a person everywhere. From the return on, no search in any process proposes them."""
        self._journal.flush()
        erasure = self.ledger.erase(user_id)
        self.store.sync(erasure.seq)
        self.store.recent.forget(user_id)
        return self._receipt(erasure.user_id, erasure.name, erasure.template_ids, erasure.event)

    def receipt(self, event_id: int) -> Receipt:
        """The receipt of an erasure as things stand now, without the name, which is erased.

        Raises:
            NotFound: unknown_receipt.
        """
        event = self.ledger.erasure(event_id)
        if event is None or event.user_id is None:
            raise NotFound("unknown_receipt", "There is no such receipt.", "Look for the erasure in Events.")
        ids = [int(number) for number in event.detail.get("template_ids", ())]
        return self._receipt(event.user_id, None, ids, event.id)

    def merge(self, user_id: str, into: str) -> Person:
        """Make two people one, who keeps the name and ID of `into`. From the return on, no search finds two.

        Raises:
            NotFound: unknown_person. BadInput: bad_parameter for somebody with themselves.
        """
        self._journal.flush()
        merger = self.ledger.merge(user_id, into)
        self.store.sync(merger.seq)
        self.store.recent.rename(user_id, into)
        return merger.person

    def ask_for_photo(self, user_id: str, *, asked: bool = True) -> Person:
        """Note that a better photo is wanted; the next enrollment of the person settles it."""
        return self.ledger.ask_for_photo(user_id, asked=asked)

    def pairs(self) -> tuple[Pair, ...]:
        """Look-alikes who were found to be two people, newest first."""
        return self.ledger.pairs()

    def confirm_pair(self, one: str, other: str, margin: float | None = None) -> None:
        """Remember that two look-alikes are two people; a match of either then needs `margin` between them.

        Without one it is twice the usual margin.

        Raises:
            NotFound: unknown_person. BadInput: bad_parameter.
        """
        wanted = PAIR_MARGIN * self.tuning.margin if margin is None else margin
        if not 0 <= wanted < 1:
            raise BadInput("bad_parameter", "The margin must be from 0 to below 1.", "Try 0.10.")
        self._tuner.confirm_pair(one, other, wanted)

    def forget_pair(self, one: str, other: str) -> None:
        """Look-alikes are told apart by the usual margin again; nothing happens when they were no pair."""
        self._tuner.forget_pair(one, other)

    def events(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
        kind: str | None = None,
        user_id: str | None = None,
    ) -> Page[Event]:
        """Newest first. What was decided a moment ago is written before the reading."""
        self._journal.flush()
        return self.ledger.events(limit=limit, cursor=cursor, kind=kind, user_id=user_id)

    def verified_since(self, hours: float) -> int:
        """How many checks were put on record in the last hours."""
        return self.ledger.count_events("verified", datetime.now(UTC) - timedelta(hours=hours))

    # ------------------------------------------------------------ tuning

    @property
    def tuning(self) -> Tuning:
        """How Robi searches and decides now."""
        return self._tuner.tuning

    def tune(self, changes: Mapping[str, Any], reason: str) -> TuningStep:
        """Change how Robi searches and decides, from the next search on, also after a restart.

        Raises:
            BadInput: bad_parameter (a value, no reason, no change), bad_strategy.
            Unavailable: disk_full, ledger_unavailable; nothing is changed then.
        """
        return self._tuner.tune(changes, reason)

    def revert(self, step_id: int) -> TuningStep:
        """Go back to what held before a step. Raises BadInput: bad_parameter, and Unavailable."""
        return self._tuner.undo(step_id)

    def tunings(self) -> tuple[TuningStep, ...]:
        """The latest changes, newest first."""
        return self.ledger.tunings.latest()

    # ------------------------------------------------------------ the system

    def counts(self) -> GalleryCounts:
        """How many people and templates are enrolled."""
        return self.ledger.counts()

    def gpu(self) -> dict[str, Any]:
        """The NVIDIA GPU in use, or why there is none."""
        return self._status.gpu()

    def cards(self) -> Cards:
        """The NVIDIA cards that answer, those that no longer do, or why there is none."""
        return self._status.cards()

    def stats(self, range_: str = USUAL) -> dict[str, Any]:
        """Gallery, tiers, latency, throughput, hit rate, errors, hardware: JSON-ready.

        `series`, `window` and `objectives` are those of the range: 5min, 15min, 1h, 6h, 24h, 7d or 30d.
        """
        return self._status.stats(range_)

    def measured(self, range_: str = USUAL) -> dict[str, Any]:
        """That part of `stats` which needs no ledger."""
        return self._status.measured(range_)

    def health(self) -> Health:
        return self._status.health()

    def cold_performance(self) -> dict[str, Any]:
        """The cold tier in detail: mode, points, segments, index state, latencies, lag, errors."""
        return dict(self.store.cold_info())

    def prometheus(self) -> bytes:
        """The Prometheus text exposition; never raises because a part is down."""
        return self.metrics.prometheus.text(gauges.samples(self))

    def rebuild(self, tier: str) -> None:
        """Fill a vector tier from the ledger again."""
        self.store.rebuild(tier)

    def reconnect(self) -> tuple[str, ...]:
        """Try the tiers that do not answer, now; the names of those that still do not."""
        return self.store.reconnect()

    def check_drift(self) -> tuple[Drift, ...]:
        """Compare both vector tiers with the ledger, and put right what differs."""
        return self.store.check_drift()

    # ------------------------------------------------------------ pictures

    def decode(self, data: bytes) -> Image:
        """Bytes to a picture, within the configured limits. Raises what `core.faces.images` raises."""
        return images.decode(
            data,
            max_bytes=self.settings.robi_max_upload_mb * 1_000_000,
            max_pixels=self.settings.robi_max_image_megapixels * 1_000_000,
        )

    def analyze(self, image: Image, purpose: Purpose, *, live: bool = False) -> Analysis:
        """All faces of a picture, largest first; measured. A `live` one is not turned to find anybody: the
        next frame comes at once, and most without a face have nobody in view."""
        analysis = self.engine.analyze(
            image, purpose=purpose, least_eye_distance=self.tuning.min_eye_distance, turn=not live
        )
        tracing.analysed(analysis)
        self.metrics.stage("detect", analysis.detect_ms)
        if analysis.faces:
            self.metrics.stage("embed", analysis.embed_ms)
        return analysis

    # ------------------------------------------------------------ inside

    def _enroll_demo(self, photo: demo.DemoPhoto) -> list[EnrollResult]:
        """Every face, also one in profile that an operator's photo would be refused for."""
        analysis = self.analyze(self.decode(photo.path.read_bytes()), Purpose.VERIFY)
        largest = sorted(analysis.faces[: len(photo.people)], key=lambda face: face.box.x1)
        results = []
        for face, (user_id, name) in zip(largest, photo.people, strict=False):
            if self.ledger.find(user_id) is None:
                verdict = PhotoVerdict(photo.path.name, face, (), ())
                results.append(
                    self.enroll_verdicts(user_id, name, [verdict], allow_duplicate=True, via="demo")
                )
        return results

    def _compare(self, face: Face, user_id: str, threshold: float) -> SearchResult:
        """1:1: the face against one person's own templates, exactly."""
        started = time.perf_counter()
        templates = self.ledger.templates(user_id)
        if not templates:
            self.ledger.person(user_id)  # erased meanwhile: says so
        rule = self.rule(threshold)
        own = {templates[0].person: templates}
        if unbacked(face.embedding, own, threshold - rule.review_band):
            templates = tuple(template for template in templates if template.vouched)
        similarities = np.stack([template.vector for template in templates]) @ face.embedding
        best = int(np.argmax(similarities))
        similarity = float(similarities[best])
        owner = templates[best]
        return SearchResult(
            candidates=(Candidate(owner.user_id, owner.name, similarity, Source.LEDGER, owner.template_id),),
            decision=rule.decide([similarity]),
            strategy=self.tuning.strategy,
            threshold=threshold,
            tiers=("ledger",),
            degraded=(),
            cache_top1_wrong=False,
            timings=SearchTimings(total=(time.perf_counter() - started) * 1e3),
            review_floor=self.rule(threshold).review_floor,
        )

    def _receipt(self, user_id: str, name: str | None, template_ids: Sequence[int], event: int) -> Receipt:
        left = self._left(template_ids)
        disk = self._on_disk(len(template_ids), left)
        return Receipt(user_id, name, len(template_ids), left, disk, event)

    def _left(self, template_ids: Sequence[int]) -> dict[str, int | None]:
        """How many of these templates each tier still holds."""
        return {"ledger": self._still_in_ledger(template_ids), **self.store.left(template_ids)}

    def _on_disk(self, erased: int, left: Mapping[str, int | None]) -> dict[str, OnDisk]:
        """What the files may still hold of that many templates, of which the tiers hold `left`."""
        size = erased * self.engine.pack.dimension * np.dtype(np.float32).itemsize
        ledger = OnDisk(0 if self.ledger.scrubbed else size)
        if left["qdrant"] != 0:
            return {"ledger": ledger, "qdrant": OnDisk(None if left["qdrant"] is None else size)}
        traces = self.store.traces()
        if traces is None:
            return {"ledger": ledger, "qdrant": OnDisk(None)}
        return {"ledger": ledger, "qdrant": OnDisk(size if traces.there else 0, traces.gone_by)}

    def _still_in_ledger(self, template_ids: Sequence[int]) -> int | None:
        """None when it cannot be asked: the erasure is committed, and must not look as if it had failed."""
        try:
            return len(self.ledger.resolve(template_ids))
        except Unavailable:
            return None

    def _strategy(self, options: VerifyOptions) -> Strategy:
        return self.tuning.strategy if options.strategy is None else options.strategy


def _request(
    user_id: str,
    name: str | None,
    metadata: Mapping[str, Any] | None,
    add_to_existing: bool,
    allow_duplicate: bool,
    via: str,
) -> EnrollRequest:
    checked_user_id(user_id)
    clean = checked_name(name if name is not None else user_id)
    noted = {} if metadata is None else checked_metadata(metadata)  # before any photo is looked at
    return EnrollRequest(user_id, clean, noted, add_to_existing, allow_duplicate, via)


def _check_number(photos: int) -> None:
    if not photos:
        raise BadInput("bad_parameter", "No photo was sent.", "Send one to twenty photos of the person.")
    if photos > MAX_PHOTOS:
        raise TooLarge(
            "too_many_images", f"More than {MAX_PHOTOS} photos were sent.", "Send the best twenty."
        )


def _judged(photo: str, image: Image, analysis: Analysis, *, live: bool = False) -> PhotoVerdict:
    thumbnail = None
    if analysis.faces:
        box, turns = quality.subject(analysis.faces, live=live).box, analysis.quarter_turns
        thumbnail = images.thumbnail(image, box, quarter_turns=turns)
    return quality.judge_photo(photo, analysis, thumbnail, live=live)


def _left_out(data: bytes, *, smaller_faces: bool) -> tuple[Reason, ...]:
    """What of a file was not looked at."""
    found = ((Reason.ANIMATION, frames(data) > 1), (Reason.SMALLER_FACES, smaller_faces))
    return tuple(reason for reason, applies in found if applies)


def _named_now(candidate: Candidate, template: StoredTemplate) -> Candidate:
    return replace(candidate, user_id=template.user_id, name=template.name)


def _similarity(search: SearchResult) -> float | None:
    """The best similarity with anybody, as it is kept."""
    return decisions.shown(search.best.similarity, search.threshold, 4) if search.best else None


def _lead(search: SearchResult) -> float | None:
    """How much more similar the best person is than the second; None where none was asked for, or is."""
    first = search.candidates[:2]
    return round(first[0].similarity - first[1].similarity, 4) if len(first) == 2 else None


def latency_ms(analysis: Analysis, searches: Sequence[SearchResult], started: float) -> dict[str, float]:
    """The stages of a recognition in milliseconds; `started` is from `time.perf_counter`.

    Faces of one picture are searched for in one batch, so their search time is the slowest one's.
    """
    return {
        "detect": round(analysis.detect_ms, 3),
        "embed": round(analysis.embed_ms, 3),
        "search": round(max((search.timings.total for search in searches), default=0.0), 3),
        "total": round((time.perf_counter() - started) * 1e3, 3),
    }
