"""What an operator has put in to enroll somebody: kept in memory until it is saved, discarded or too old."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field

from core.domain.errors import RobiError
from core.domain.faces import PhotoVerdict
from core.live import TakenPhoto

MOST = 64
MOST_BYTES = 32_000_000
KEPT_S = 1800.0  # after the browser was last heard of


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """A photo with its verdict, or with the `problem` that kept it from being looked at."""

    id: str
    photo: str
    verdict: PhotoVerdict | None = None
    problem: RobiError | None = None

    @property
    def usable(self) -> bool:
        return bool(self.verdict and self.verdict.face)


@dataclass(slots=True, eq=False)
class Draft:
    """One enrollment that is being prepared.

    Each source has its own photos: the camera may see somebody else.
    """

    name: str = ""
    user_id: str = ""
    shots: dict[str, Collected] = field(default_factory=dict)
    files: dict[str, Collected] = field(default_factory=dict)
    samples: tuple[TakenPhoto, ...] = ()  # what the live camera took
    token: str = ""  # of the live camera's session
    number: int = 0  # of the next photo that is added
    touched: float = 0.0

    def photos(self, source: str) -> tuple[Collected, ...]:
        if source == "live":
            return tuple(
                Collected(f"live-{v.photo}", v.photo, v) for v in (sample.verdict for sample in self.samples)
            )
        return tuple((self.shots if source == "shot" else self.files).values())

    @property
    def empty(self) -> bool:
        return not (self.name or self.user_id or self.shots or self.files or self.samples)

    @property
    def size(self) -> int:
        photos = (photo for source in ("live", "shot", "file") for photo in self.photos(source))
        return sum(_size(photo.verdict) for photo in photos if photo.verdict)


class Drafts:
    """The drafts of all browser tabs of this process, each under a secret that only its tab knows.

    Bounded in number, in bytes and in age: the oldest go first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drafts: dict[str, Draft] = {}
        self._timer: threading.Timer | None = None

    def __len__(self) -> int:
        with self._lock:
            return len(self._drafts)

    def get(self, key: str) -> Draft | None:
        self.expire()
        with self._lock:
            return self._drafts.get(key)

    def keep(self, key: str, draft: Draft) -> None:
        """Keep a draft; its time begins anew."""
        with self._lock:
            draft.touched = time.monotonic()
            self._drafts.pop(key, None)
            self._drafts[key] = draft  # the newest is the last
            while len(self._drafts) > MOST or sum(d.size for d in self._drafts.values()) > MOST_BYTES:
                del self._drafts[next(iter(self._drafts))]
            self._wake()

    def drop(self, key: str) -> None:
        with self._lock:
            self._drafts.pop(key, None)

    def expire(self) -> None:
        """Forget what is too old. A timer does it as well, as long as there is any draft."""
        with self._lock:
            oldest = time.monotonic() - KEPT_S
            self._drafts = {key: draft for key, draft in self._drafts.items() if draft.touched > oldest}

    def close(self) -> None:
        with self._lock:
            self._drafts.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _wake(self) -> None:
        """See to it that a draft that nobody asks for is forgotten, too. The lock is held."""
        if self._timer is None and self._drafts:
            self._timer = threading.Timer(KEPT_S / 10, self._woken)
            self._timer.daemon = True
            self._timer.start()

    def _woken(self) -> None:
        self.expire()
        with self._lock:
            self._timer = None
            self._wake()


def _size(verdict: PhotoVerdict) -> int:
    embedding = verdict.face.embedding.nbytes if verdict.face else 0
    return sys.getsizeof(verdict) + embedding + len(verdict.thumbnail or b"")
