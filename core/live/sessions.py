"""The cameras in use."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from core.domain.errors import Busy
from core.domain.recognition import VerifyOptions
from core.live.enrolling import EnrollLive, TakenPhoto
from core.live.session import LiveSession
from core.live.verifying import VerifyLive
from core.metrics.gauges import LIVE_SESSIONS
from core.services.service import RobiService

MAX_SESSIONS = 64
MAX_FRAME_BYTES = 1_000_000
RELEASE_S = 10.0  # a session whose socket and page are both gone is closed after this: time to reconnect
LEFT_S = 2.0  # or already after this, when all places are taken; an open page looks more often
IDLE_S = 120.0  # a session that holds photos that were taken stays for this long


class LiveSessions:
    """All live sessions of this process, found by their secret token. Bounded; idle ones are closed."""

    def __init__(self, service: RobiService) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._sessions: dict[str, LiveSession] = {}
        service.metrics.watch(LIVE_SESSIONS, self.cameras_in_use)

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._sessions)

    def cameras_in_use(self) -> int:
        """The sessions whose browser is connected now."""
        with self._lock:
            self._expire()
            return sum(session.is_connected for session in self._sessions.values())

    def open_verify(self, options: VerifyOptions) -> VerifyLive:
        """Raises Busy: too_many_cameras."""
        session = VerifyLive(self._service, options)
        self._add(session)
        return session

    def open_enroll(self, samples: Sequence[TakenPhoto] = ()) -> EnrollLive:
        """One that goes on from photos taken before. Raises Busy: too_many_cameras."""
        session = EnrollLive(self._service, samples)
        self._add(session)
        return session

    def get(self, token: str) -> LiveSession | None:
        with self._lock:
            return self._sessions.get(token)

    def close(self, token: str) -> None:
        with self._lock:
            self._sessions.pop(token, None)

    def _add(self, session: LiveSession) -> None:
        with self._lock:
            self._expire()
            if len(self._sessions) >= MAX_SESSIONS and not self._make_room():
                raise Busy("too_many_cameras", "Too many cameras are in use.", "Close one and try again.")
            self._sessions[session.token] = session

    def _make_room(self) -> bool:
        """Close the session that was left longest ago, if any was: each reload of a page leaves one."""
        left = [s for s in self._sessions.values() if not s.holds_work() and s.idle_s() > LEFT_S]
        if left:
            del self._sessions[max(left, key=LiveSession.idle_s).token]
        return bool(left)

    def _expire(self) -> None:
        gone = [
            token
            for token, session in self._sessions.items()
            if session.idle_s() > (IDLE_S if session.holds_work() else RELEASE_S)
        ]
        for token in gone:
            del self._sessions[token]
