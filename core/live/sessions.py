"""The cameras in use."""

from __future__ import annotations

import threading

from core.errors import Busy
from core.live.enrolling import EnrollLive
from core.live.session import LiveSession
from core.live.verifying import VerifyLive
from core.service import RobiService
from core.types import VerifyOptions

MAX_SESSIONS = 64
MAX_FRAME_BYTES = 1_000_000
IDLE_S = 120.0  # a session whose browser and page are both gone is closed after this


class LiveSessions:
    """All live sessions of this process, found by their secret token. Bounded; idle ones are closed."""

    def __init__(self, service: RobiService) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._sessions: dict[str, LiveSession] = {}
        service.metrics.watch("live_sessions", self.__len__)

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._sessions)

    def open_verify(self, options: VerifyOptions) -> VerifyLive:
        """Raises Busy: too_many_cameras."""
        session = VerifyLive(self._service, options)
        self._add(session)
        return session

    def open_enroll(self) -> EnrollLive:
        """Raises Busy: too_many_cameras."""
        session = EnrollLive(self._service)
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
            if len(self._sessions) >= MAX_SESSIONS:
                raise Busy("too_many_cameras", "Too many cameras are in use.", "Close one and try again.")
            self._sessions[session.token] = session

    def _expire(self) -> None:
        gone = [token for token, session in self._sessions.items() if session.idle_s() > IDLE_S]
        for token in gone:
            del self._sessions[token]
