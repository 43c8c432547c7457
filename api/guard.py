"""The outermost gate: who may speak to Robi at all, before the API, the dashboard or a library of either.

A page of another origin can make a browser send requests here, and a name that somebody else controls can be
made to resolve to this machine (DNS rebinding). Both show in headers that a browser sets and no page can
forge: `Host`, `Origin` and `Sec-Fetch-Site`. Programs that are no browsers send no more than `Host`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import error_response, new_request_id
from core.domain.errors import Forbidden, Misdirected, RobiError

_SAFE = frozenset({"GET", "HEAD"})
_OURS = frozenset({b"same-origin", b"none"})  # of Sec-Fetch-Site; none: typed, or from a bookmark
_PORTS = {"http": 80, "https": 443}
_REFUSED = 1008  # "policy violation"


class Guard:
    """Lets through what asks for an allowed host and does not come from somebody else's page."""

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], refused: Callable[[RobiError], None] = lambda _: None
    ) -> None:
        """`hosts` are names and addresses without port; `refused` is told of each refusal."""
        self.app = app
        self._hosts = frozenset(map(bare_host, hosts))
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        problem = self._problem(scope)
        if problem is None:
            await self.app(_with_one_origin(scope), receive, send)
            return
        self._refused(problem)
        if scope["type"] == "websocket":  # before it is accepted: the client sees 403
            await send({"type": "websocket.close", "code": _REFUSED})
        else:
            await _refusal(Headers(scope=scope), problem)(scope, receive, send)

    def _problem(self, scope: Scope) -> RobiError | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1 or bare_host(hosts[0]) not in self._hosts:
            return _host_not_allowed()
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if not all(same_origin(origin, hosts[0]) for origin in origins):
            return _foreign_origin()
        if _is_ours(dict(headers)) or (scope["type"] == "http" and _follows_a_link(scope)):
            return None
        return _foreign_origin()


def _with_one_origin(scope: Scope) -> Scope:
    """A socket's `Origin` as `Host` spells it. Streamlit compares the letters, and where they differ it asks
    the internet for this machine's address, while nobody else is served."""
    if scope["type"] != "websocket":
        return scope
    headers = dict(scope["headers"])
    origin = headers.get(b"origin")
    if origin is None:
        return scope
    ours = origin.partition(b":")[0] + b"://" + headers[b"host"]
    others = [header for header in scope["headers"] if header[0] != b"origin"]
    return {**scope, "headers": [*others, (b"origin", ours)]}


def _is_ours(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"sec-fetch-site", b"none") in _OURS


def _follows_a_link(scope: Scope) -> bool:
    """Whether somebody leaves another site's page for ours; what that page embeds or fetches is refused."""
    headers = dict(scope["headers"])
    kind = headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")
    return scope["method"] in _SAFE and kind == (b"navigate", b"document")


def bare_host(host: str) -> str:
    """A `Host` without port, brackets and a closing dot, in lower case; empty where it is none."""
    name, place = host.strip().lower(), _place(f"//{host.strip()}", 0)
    if name.count(":") > 1 and not name.startswith("["):  # an IPv6 address as settings have it
        return name
    return "" if place is None else place[0].rstrip(".")


def same_origin(origin: str, host: str) -> bool:
    """Whether a page of this origin was served under this `Host`: the same name and the same port."""
    default = _PORTS.get(origin.partition(":")[0])
    if default is None:
        return False  # also `null`: a page that hides where it comes from
    place = _place(origin, default)
    return place is not None and place == _place(f"//{host}", default)


def _place(url: str, default_port: int) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port or an address that is none
        return None
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return (host, port or default_port) if host and not extra else None


def _refusal(headers: Headers, problem: RobiError) -> Response:
    if "text/html" in headers.get("accept", ""):
        return HTMLResponse(notice(problem.message, problem.hint), problem.status)
    return error_response(
        problem.status, problem.code, problem.message, problem.hint, request_id=new_request_id()
    )


def notice(title: str, text: str) -> str:
    """A page of two lines of HTML, for whoever sees it in a browser and not on the dashboard."""
    return _PAGE.format(title=title, text=text)


_PAGE = (
    "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Robi</title>"
    "<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto}}</style>"
    "<h1>{title}</h1><p>{text}</p>"
)


def _host_not_allowed() -> RobiError:
    return Misdirected(
        "host_not_allowed",
        "Robi does not answer under this name.",
        "Use http://127.0.0.1 with its port, or add the name to ROBI_ALLOWED_HOSTS.",
    )


def _foreign_origin() -> RobiError:
    return Forbidden(
        "foreign_origin",
        "A page of another site sent this request.",
        "Open Robi's own address, and try again there.",
    )
