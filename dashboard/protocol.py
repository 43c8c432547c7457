"""HTTP as uvicorn reads it with httptools, with bounds that it does not have: on the length of a head, on the
time that head, body and answer may take, and on the number of connections."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.errors import error_response, new_request_id
from core.domain.errors import BadInput, Busy, RobiError, TooSlow
from dashboard.connections import Connections

LONGEST_HEAD = 64 * 1024  # bytes; as much as uvicorn's other reader takes


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a request whose head, or what follows its last chunk, does not come to an end, and gives up one
    that does not arrive in time."""

    server_state: Connections  # as `dashboard.server` makes it
    _unfinished = 0  # bytes since the parser last got somewhere
    _is_whole = True  # the newest request has arrived

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if not self.server_state.admit(self):
            self._refuse(Busy("busy", "Robi has too many connections.", "Try again in a moment."))

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > LONGEST_HEAD and not self.transport.is_closing():
            problem = BadInput(
                "bad_parameter", "The head of the request is too long.", "Send shorter headers."
            )
            self._refuse(problem)

    def on_headers_complete(self) -> None:
        self._unfinished = 0
        self._is_whole = False
        self.server_state.await_body(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        self.server_state.heard(self, len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished = 0
        self._is_whole = True
        super().on_message_complete()
        self._next()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._next()

    def handle_websocket_upgrade(self) -> None:
        self.server_state.forget(self)
        if self.server_state.has_room_for_socket():
            super().handle_websocket_upgrade()
        else:
            self._refuse(Busy("busy", "Too many pages are open.", "Close some and try again."))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's words
        self._refuse(BadInput("bad_parameter", "What was sent is no request of HTTP.", "See /api/v1/docs."))

    def give_up(self) -> None:
        """The rest of the request did not come in time."""
        is_silent = self._is_whole and not self._unfinished
        is_answered = not self._is_whole and (self.cycle.response_started or self.pipeline)
        if is_silent or is_answered:
            self.transport.close()
        else:
            self._refuse(TooSlow("request_timeout", "The request took too long to arrive.", "Send it again."))

    def _next(self) -> None:
        """What is waited for once a request has arrived or been answered, whichever comes last."""
        if not self._is_whole or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.server_state.await_head(self)
        else:
            self.server_state.forget(self)

    def _refuse(self, problem: RobiError) -> None:
        """An answer before there is a request that the application could be asked, and the end."""
        answer = error_response(
            problem.status,
            problem.code,
            problem.message,
            problem.hint,
            request_id=new_request_id(),
            headers={"Connection": "close"},
        )
        headers = (*self.server_state.default_headers, *answer.raw_headers)
        lines = (b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"".join((STATUS_LINE[problem.status], *lines, b"\r\n", bytes(answer.body))))
        self.transport.close()
