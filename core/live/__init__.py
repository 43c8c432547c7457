"""Live camera sessions: one frame in, one answer out, and a snapshot for the page beside the video.

The browser sends its newest frame only after the last one was answered, so there is never a backlog.
"""

from core.live.enrolling import ENOUGH, GOAL, EnrollLive, EnrollSnapshot, TakenPhoto
from core.live.session import LiveSession
from core.live.sessions import MAX_FRAME_BYTES, LiveSessions
from core.live.verifying import LiveFace, VerifyLive, VerifySnapshot

__all__ = [
    "ENOUGH",
    "GOAL",
    "MAX_FRAME_BYTES",
    "EnrollLive",
    "EnrollSnapshot",
    "LiveFace",
    "LiveSession",
    "LiveSessions",
    "TakenPhoto",
    "VerifyLive",
    "VerifySnapshot",
]
