"""The live camera over a WebSocket: one frame in, one answer out.

The first message is text, `{"token": "…"}`, the secret of a live session that a page has opened, answered by
`{"type": "ready"}`. From then on each binary message is one JPEG and is answered by exactly one text message,
an error with `code`, `message` and `hint`, or

    {"type": "result", "faces": […], "coach": {"text", "ok"} or null, "captured": 0, "goal": 0}

Of each face the `box` (x, y, width, height, in shares of the frame), and of those verified the `track`, that
stays the same while the face stays in view, the `number` that people know it by, and what is decided of
the track: `label`, `decision` and `similarity`, which are "" and null until enough frames have agreed.
A session whose socket has closed is given a few seconds for another.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from api.backend import Backend, BackendDep, Speaker
from core.domain.errors import BadInput, NotFound, RobiError, TooLarge
from core.live import MAX_FRAME_BYTES, LiveSession

logger = logging.getLogger("robi.api")
router = APIRouter()

_HELLO_S = 10.0  # how long a client may take to send its token
_MAX_TEXT = 1_000
_REFUSED = 1008  # "policy violation"


@router.websocket("/live")
async def live(websocket: WebSocket, backend: BackendDep) -> None:
    await websocket.accept()
    try:
        session = await _hello(websocket, backend)
        if session is not None:
            with session.connected():  # once it ends, the session's place is soon given to another
                await _Conversation(websocket, backend, session).run()
    except WebSocketDisconnect:
        pass


class _Conversation:
    """The frames of one session over one socket. A newer socket with the same token takes over."""

    def __init__(self, websocket: WebSocket, backend: Backend, session: LiveSession) -> None:
        self._websocket = websocket
        self._backend = backend
        self._session = session
        before = backend.speakers.get(session.token)
        self._speaker = Speaker(before.turn if before else asyncio.Lock())

    async def run(self) -> None:
        speakers, token = self._backend.speakers, self._session.token
        speakers[token] = self._speaker
        try:
            await _say(self._websocket, {"type": "ready"})
            while self._is_open():
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._take(message)
            await _refuse(self._websocket, _unknown_session())
        finally:
            if speakers.get(token) is self._speaker:
                del speakers[token]

    def _is_open(self) -> bool:
        token = self._session.token
        newest = self._backend.speakers.get(token) is self._speaker
        return newest and self._backend.live.get(token) is self._session

    async def _take(self, message: Any) -> None:
        frame: bytes | None = message.get("bytes")
        if frame is None:
            await _say(self._websocket, _error(_no_frame()))
        elif len(frame) > MAX_FRAME_BYTES:
            await _say(self._websocket, _error(_frame_too_large()))
        else:
            await _say(self._websocket, await self._answer(frame))

    async def _answer(self, frame: bytes) -> dict[str, Any]:
        try:
            async with self._speaker.turn:
                return await self._backend.compute.run(self._session.process, frame)
        except RobiError as problem:
            return _error(problem)
        except Exception:  # one bad frame must not end the session
            logger.exception("a live frame failed")
            return _error(
                RobiError("internal_error", "Something went wrong inside Robi.", "Look in Robi's log.")
            )


async def _hello(websocket: WebSocket, backend: Backend) -> LiveSession | None:
    """The session that the client's first message names; without one the socket is closed."""
    try:
        first = await asyncio.wait_for(websocket.receive(), _HELLO_S)
    except TimeoutError:
        await _refuse(websocket, _unknown_session())
        return None
    if first["type"] == "websocket.disconnect":
        return None
    token = _json(first.get("text") or "").get("token")
    session = backend.live.get(token) if isinstance(token, str) else None
    if session is None:
        await _refuse(websocket, _unknown_session())
    return session


async def _refuse(websocket: WebSocket, problem: RobiError) -> None:
    await _say(websocket, _error(problem))
    await websocket.close(_REFUSED)


async def _say(websocket: WebSocket, answer: dict[str, Any]) -> None:
    await websocket.send_text(json.dumps(answer, ensure_ascii=False, allow_nan=False))


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _error(problem: RobiError) -> dict[str, Any]:
    return {"type": "error", "code": problem.code, "message": problem.message, "hint": problem.hint}


def _unknown_session() -> NotFound:
    return NotFound("unknown_session", "This camera session has ended.", "Reload the page.")


def _no_frame() -> BadInput:
    return BadInput("bad_parameter", "This is no frame.", "Send each frame as one binary message, a JPEG.")


def _frame_too_large() -> TooLarge:
    return TooLarge("image_too_large", "The frame is larger than 1 MB.", "Send smaller frames.")
