"""A client of Robi's REST API, in one file, for Python 3.11 and later, without other packages.

    from robi.client import RobiClient

    client = RobiClient("http://127.0.0.1:8000")
    client.enroll("ana", ["ana1.jpg", "ana2.jpg"], name="Ana Ruiz")
    print(client.verify("door.jpg").candidates)

Photos are paths or bytes. What comes back are frozen values with the names that the API's documentation
gives them; fields that a newer server adds are left out. An error is a `RobiApiError` with its stable code.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import ssl
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote, urlencode, urlsplit

API = "/api/v1"
LOCAL = "http://127.0.0.1:8000"

Photo = str | os.PathLike[str] | bytes
"""A path, or what is in the file: JPEG, PNG, WebP or BMP."""

T = TypeVar("T")


class RobiApiError(Exception):
    """What went wrong: `code` is stable and for programs, `message` and `hint` are for people.

    `status` is the HTTP status; 0 when there was no answer. `request_id` is the one in Robi's log. `detail`
    comes with some codes, such as who a `duplicate_person` is.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        status: int = 0,
        request_id: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint
        self.status = status
        self.request_id = request_id
        self.detail: Mapping[str, Any] = detail or {}


# ---------------------------------------------------------------- what comes back


@dataclass(frozen=True, slots=True)
class ComponentReply:
    status: str  # ok, warming, degraded, off or unavailable
    detail: str
    since: datetime
    progress: float | None = None  # 0..1 while warming
    last_error: str | None = None  # what was wrong last, also when it has passed
    last_error_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HealthReply:
    status: str  # ok, degraded or unavailable
    components: Mapping[str, ComponentReply]


@dataclass(frozen=True, slots=True)
class UserReply:
    user_id: str
    name: str
    templates: int
    created_at: datetime
    updated_at: datetime
    last_matched_at: datetime | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserPageReply:
    users: tuple[UserReply, ...]
    next: str | None  # the cursor of the next page
    total: int  # on all pages


@dataclass(frozen=True, slots=True)
class NameWarningReply:
    code: str  # name_exists, name_looks_like or mixed_alphabets
    message: str
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangedUserReply(UserReply):
    warnings: tuple[NameWarningReply, ...]


@dataclass(frozen=True, slots=True)
class EnrolledImageReply:
    image: str
    template_id: int
    quality: float  # 0..1
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RejectedImageReply:
    image: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnrollReply:
    user_id: str
    name: str
    created: bool  # False: photos were added to a person
    enrolled: tuple[EnrolledImageReply, ...]
    rejected: tuple[RejectedImageReply, ...]
    searchable: bool
    behind: tuple[str, ...]  # tiers that have not taken it over yet
    warnings: tuple[NameWarningReply, ...]


@dataclass(frozen=True, slots=True)
class OnDiskReply:
    bytes: int | None  # None: it could not be asked
    gone_by: datetime | None


@dataclass(frozen=True, slots=True)
class ReceiptReply:
    user_id: str
    templates_erased: int
    tiers: Mapping[str, int | None]  # templates that each tier still holds
    disk: Mapping[str, OnDiskReply]


@dataclass(frozen=True, slots=True)
class CandidateReply:
    user_id: str
    name: str
    similarity: float  # cosine, -1..1; no probability
    source: str  # faiss, qdrant, both or ledger


@dataclass(frozen=True, slots=True)
class QualityReply:
    score: float  # 0..1
    rejects: tuple[str, ...]
    warnings: tuple[str, ...]
    eye_distance: float  # pixels
    least_eye_distance: float


@dataclass(frozen=True, slots=True)
class FaceReply:
    box: tuple[float, ...]  # x1, y1, x2, y2 in pixels of the upright image
    detection_score: float
    quality: QualityReply
    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True)
class VerifyReply:
    verified: bool
    decision: str  # match, review or unknown
    held_back_by: tuple[str, ...]
    confidence: float | None  # the best similarity with anybody, also of a stranger
    candidates: tuple[CandidateReply, ...]
    face: FaceReply
    faces: int  # in the picture
    strategy: str | None  # that searched; None with a `user_id`, for then nothing is searched
    threshold: float
    degraded: tuple[str, ...]
    latency_ms: Mapping[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IdentifiedFaceReply:
    bbox: tuple[float, ...]
    decision: str
    held_back_by: tuple[str, ...]
    confidence: float | None
    candidates: tuple[CandidateReply, ...]
    face: FaceReply


@dataclass(frozen=True, slots=True)
class IdentifyReply:
    faces: tuple[IdentifiedFaceReply, ...]  # largest first
    latency_ms: Mapping[str, float]
    faces_left_out: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchReply:
    decision: str
    candidates: tuple[CandidateReply, ...]  # the nearest people, also below the review band
    strategy: str
    threshold: float
    degraded: tuple[str, ...]
    latency_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RangeReply:
    name: str
    seconds: int
    step: int
    until: float


@dataclass(frozen=True, slots=True)
class ObjectiveReply:
    name: str
    requests_are: str
    limit_ms: float
    requests: int
    inside: float | None
    outside: int
    burned_by: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SlowReply:
    at: datetime
    kind: str
    strategy: str | None
    total_ms: float
    stages: Mapping[str, float]
    request_id: str | None


@dataclass(frozen=True, slots=True)
class StatsReply:
    gallery: Mapping[str, int]
    tiers: Mapping[str, Mapping[str, Any]]
    latency: Mapping[str, Any]
    throughput: Mapping[str, float]
    queues: Mapping[str, Any]
    follower_lag: Mapping[str, int]
    drift: Mapping[str, Any]
    hit_rate: Mapping[str, Any]
    errors: Mapping[str, int]
    error_rate: float | None
    qdrant: Mapping[str, Any]
    memory: Mapping[str, Any]
    gpu: Mapping[str, Any]
    gpus: tuple[Mapping[str, Any], ...]
    lost_gpus: tuple[Mapping[str, Any], ...]
    cpu: Mapping[str, float | None]
    totals: Mapping[str, Any]
    range: RangeReply
    window: Mapping[str, Any]
    series: Mapping[str, Any]
    objectives: tuple[ObjectiveReply, ...]
    slow: tuple[SlowReply, ...]


# ---------------------------------------------------------------- the calls


class RobiClient:
    """Calls one Robi. Holds no connection between calls, so it needs no closing and is safe in threads.

    Every call raises RobiApiError: what the server answered, or `unreachable`, `no_robi`, or
    `photo_unreadable` for a path that cannot be read. Nothing is tried again by itself.
    """

    def __init__(
        self, url: str = LOCAL, *, timeout: float = 30.0, context: ssl.SSLContext | None = None
    ) -> None:
        """`timeout` in seconds is for each wait for the server. `context` says whom an https URL trusts.

        Raises:
            ValueError: the URL is not like http://127.0.0.1:8000.
        """
        parts = urlsplit(url)
        foreign = parts.scheme not in ("http", "https") or parts.username is not None or parts.path.strip("/")
        if foreign or not parts.hostname:
            raise ValueError(f"the URL must be like {LOCAL}")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._host, self._port = parts.hostname, parts.port
        self._timeout = timeout
        self._context = (context or ssl.create_default_context()) if parts.scheme == "https" else None

    def health(self) -> HealthReply:
        """How Robi is; no error when it is `unavailable`."""
        return _made(HealthReply, self._asked("GET", "/health", good=(200, 503)))

    def stats(self, range: str | None = None) -> StatsReply:  # noqa: A002  the API's own name
        """Figures; `range` is 5min, 15min, 1h, 6h, 24h, 7d or 30d."""
        return _made(StatsReply, self._asked("GET", _path("stats", range=range)))

    # ------------------------------------------------------------ people

    def users(self, q: str = "", *, limit: int = 500) -> Iterator[UserReply]:
        """Everybody by name, or those with all words of `q`; `limit` of them are asked for at a time."""
        cursor: str | None = None
        while True:
            page = self.users_page(q, limit=limit, cursor=cursor)
            yield from page.users
            cursor = page.next
            if cursor is None:
                return

    def users_page(self, q: str = "", *, limit: int = 50, cursor: str | None = None) -> UserPageReply:
        """One page; `cursor` is the `next` of the page before."""
        return _made(UserPageReply, self._asked("GET", _path("users", q=q, limit=limit, cursor=cursor)))

    def user(self, user_id: str) -> UserReply:
        return _made(UserReply, self._asked("GET", _path("users", user_id)))

    def enroll(
        self,
        user_id: str,
        images: Photo | Sequence[Photo],
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        add_to_existing: bool = False,
        allow_duplicate: bool = False,
    ) -> EnrollReply:
        """Enroll a person from 1 to 20 photos; with `add_to_existing`, add photos to one who is there."""
        listed = [images] if isinstance(images, str | bytes | os.PathLike) else images
        values = {
            "user_id": user_id,
            "name": name,
            "metadata": None if metadata is None else json.dumps(metadata),
            "add_to_existing": add_to_existing or None,
            "allow_duplicate": allow_duplicate or None,
        }
        files = [("images", photo) for photo in listed]
        return _made(EnrollReply, self._sent("enroll", values, files))

    def update_user(
        self, user_id: str, *, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> ChangedUserReply:
        """Change the name, replace the metadata as a whole, or both."""
        body = _json({"name": name, "metadata": metadata})
        return _made(ChangedUserReply, self._asked("PATCH", _path("users", user_id), *body))

    def rename(self, user_id: str, name: str) -> ChangedUserReply:
        return self.update_user(user_id, name=name)

    def erase(self, user_id: str) -> ReceiptReply:
        """Erase a person everywhere; the receipt says what each tier still holds."""
        return _made(ReceiptReply, self._asked("DELETE", _path("users", user_id)))

    # ------------------------------------------------------------ recognising

    def verify(
        self,
        image: Photo,
        *,
        user_id: str | None = None,
        strategy: str | None = None,
        top_k: int | None = None,
        threshold: float | None = None,
    ) -> VerifyReply:
        """Who the largest face of a photo is; with `user_id`, whether it is that person."""
        values = {"user_id": user_id, "strategy": strategy, "top_k": top_k, "threshold": threshold}
        return _made(VerifyReply, self._sent("verify", values, [("image", image)]))

    def identify(
        self,
        image: Photo,
        *,
        strategy: str | None = None,
        top_k: int | None = None,
        threshold: float | None = None,
    ) -> IdentifyReply:
        """Who each face of a photo is."""
        values = {"strategy": strategy, "top_k": top_k, "threshold": threshold}
        return _made(IdentifyReply, self._sent("identify", values, [("image", image)]))

    def search(
        self,
        embedding: Sequence[float],
        *,
        strategy: str | None = None,
        top_k: int | None = None,
        threshold: float | None = None,
    ) -> SearchReply:
        """Who an embedding of the face pack in use resembles; it need not be normalised."""
        values = {"strategy": strategy, "top_k": top_k, "threshold": threshold}
        body = _json({"embedding": [float(number) for number in embedding], **values})
        return _made(SearchReply, self._asked("POST", _path("search"), *body))

    # ------------------------------------------------------------ HTTP

    def _sent(self, call: str, values: Mapping[str, Any], files: Sequence[tuple[str, Photo]]) -> Any:
        return self._asked("POST", _path(call), *_form(values, files))

    def _asked(
        self, method: str, path: str, body: bytes | None = None, kind: str = "", *, good: Sequence[int] = ()
    ) -> Any:
        """The answer's JSON. Its status must be of the 200s, or one of `good`."""
        headers = {"Accept": "application/json", **({"Content-Type": kind} if kind else {})}
        connection = self._connection()
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # a body can be refused before its end
                connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            raise RobiApiError(
                "unreachable",
                f"Robi does not answer at {self.url}.",
                "Start it, or check the address.",
            ) from problem
        finally:
            connection.close()
        said = _parsed(content)
        if not isinstance(said, dict):
            raise _no_robi(self.url, answer.status)
        if answer.status // 100 != 2 and (answer.status not in good or "error" in said):
            raise _refused(said, answer.status, self.url)
        return said

    def _connection(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout, context=self._context
        )


def _path(*parts: str, **query: object) -> str:
    given = {key: value for key, value in query.items() if value not in (None, "")}
    path = "/".join([API, *(quote(part, safe="") for part in parts)])
    return f"{path}?{urlencode(given)}" if given else path


def _json(values: Mapping[str, Any]) -> tuple[bytes, str]:
    """A JSON body and its content type; values that are None are left out."""
    given = {key: value for key, value in values.items() if value is not None}
    return json.dumps(given).encode(), "application/json"


def _form(values: Mapping[str, Any], files: Sequence[tuple[str, Photo]]) -> tuple[bytes, str]:
    """A multipart body and its content type; values that are None are left out."""
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for name, value in values.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            parts.append(_part(f'form-data; name="{name}"', text.encode()))
    for number, (name, photo) in enumerate(files, 1):
        label, data = _read(photo, number)
        parts.append(_part(f'form-data; name="{name}"; filename="{label}"', data))
    edge = f"--{boundary}\r\n".encode()
    body = b"".join([*(edge + part for part in parts), f"--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


def _part(disposition: str, data: bytes) -> bytes:
    return f"Content-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"


def _read(photo: Photo, number: int) -> tuple[str, bytes]:
    """The photo's name as it goes into a form, and its bytes."""
    if isinstance(photo, bytes):
        return f"image {number}", photo
    path = Path(photo)
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise RobiApiError(
            "photo_unreadable",
            f"Photo {number} cannot be read: {problem.strerror or 'input/output error'}.",
            "Give the path of an image file that you may read.",
        ) from problem
    escaped = path.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return escaped.encode(errors="replace").decode(), data


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _refused(said: Mapping[str, Any], status: int, url: str) -> RobiApiError:
    error = said.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return _no_robi(url, status)
    return RobiApiError(
        error["code"],
        str(error.get("message", "")),
        str(error.get("hint", "")),
        status,
        str(error.get("request_id", "")),
        error.get("detail"),
    )


def _no_robi(url: str, status: int) -> RobiApiError:
    return RobiApiError(
        "no_robi", f"What answers at {url} (HTTP {status}) is not a Robi.", "Check the address.", status
    )


# ---------------------------------------------------------------- from JSON to values


def _made(kind: type[T], data: Any) -> T:
    """A value of JSON as its type says. Raises RobiApiError: `no_robi` when it is something else."""
    try:
        made: T = _value(kind, data)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise RobiApiError(
            "no_robi", f"The answer is no {kind.__name__}.", "Use a client and a server of one version."
        ) from problem
    return made


def _value(kind: Any, data: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # with None; there are no others
        return None if data is None else _value(inner[0], data)
    if origin is tuple:
        return tuple(_value(inner[0], one) for one in _checked(list, data))
    if origin is Mapping:
        return {key: _value(inner[1], one) for key, one in _checked(dict, data).items()}
    if is_dataclass(kind):
        return _record(kind, _checked(dict, data))
    if kind is datetime:
        return datetime.fromisoformat(data)
    if kind is float:
        return float(_checked((int, float), data))
    return data if kind is Any else _checked(kind, data)


def _record(kind: Any, data: Mapping[str, Any]) -> Any:
    """Fields that the answer has and the value does not know are left out."""
    return kind(
        **{
            name: _value(hint, data[name])
            for name, (hint, needed) in _fields(kind).items()
            if needed or name in data
        }
    )


@cache
def _fields(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    """Of each field its type, and whether an answer must have it."""
    hints = get_type_hints(kind)
    return {one.name: (hints[one.name], one.default is MISSING) for one in fields(kind)}


def _checked(kind: Any, data: Any) -> Any:
    if not isinstance(data, kind):
        raise TypeError(f"expected {kind}")
    return data
