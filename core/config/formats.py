"""What settings may look like that are more than a number or a choice: types which pydantic checks."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr


def _http_urls(value: str) -> str:
    urls = [url.strip().rstrip("/") for url in value.split(",")] if value.strip() else []
    if not all(map(_is_http_url, urls)):
        raise ValueError(
            "must be like http://localhost:6333, or several of these with commas between, "
            "or be empty for the embedded engine"
        )
    if len({urlsplit(url).scheme for url in urls}) > 1:
        raise ValueError("must be all http or all https")
    if len(set(urls)) < len(urls):
        raise ValueError("must name each node once")
    return ",".join(urls)


def _otlp_url(value: str) -> str:
    if value and not _is_http_url(value):
        raise ValueError("must be like http://localhost:4318, or be empty for no traces")
    return value.rstrip("/")


def _database_url(value: SecretStr) -> SecretStr:
    try:  # what is said here is shown: it must not quote the value
        parts = urlsplit(value.get_secret_value())
        whole = parts.scheme in ("postgresql", "postgresql+psycopg") and parts.port != 0
        whole = whole and len(parts.path) > 1
    except ValueError:
        whole = False
    if value.get_secret_value() and not whole:
        raise ValueError("must be like postgresql+psycopg://user:password@host/database, or be empty")
    return value


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        return bool(whole and parts.username is None)  # a user name would be dropped without a word
    except ValueError:  # a port or an address that is none
        return False


def _readable(value: str) -> str:
    if value and not Path(value).is_file():
        raise ValueError("must name a file that can be read")
    return value


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("must name a directory")
    return value


def _size(value: object) -> int | str:
    if value == "auto":
        return "auto"
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError("must be auto, or a whole number from 1")
    return number


def _lower(value: object) -> object:
    return str(value).lower() if isinstance(value, (str, bool)) else value


def _loopback(value: str) -> str:
    if value == "localhost":
        return value
    try:
        loopback = ipaddress.ip_address(value).is_loopback
    except ValueError:
        raise ValueError("must be an IP address such as 127.0.0.1") from None
    if not loopback:
        raise ValueError("must be a loopback address: without an API key nobody else may reach Robi")
    return value


def _sendable(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("must consist of printable ASCII characters, without spaces")
    return value


HttpUrls = Annotated[str, AfterValidator(_http_urls)]
"""Of the nodes of a Qdrant server, comma separated, without slashes at the end; may be empty."""
OtlpUrl = Annotated[str, AfterValidator(_otlp_url)]
"""Of a receiver of traces, without a slash at the end; may be empty."""
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
"""Of a PostgreSQL database, with its password; may be empty."""
OptionalFile = Annotated[str, AfterValidator(_readable)]
"""A file that is there; may be empty."""
Directory = Annotated[Path, BeforeValidator(_not_empty)]
"""One that is there or can be made; an empty text would mean the working directory."""
CacheSize = Annotated[int | Literal["auto"], BeforeValidator(_size)]
Copies = Annotated[int | Literal["auto"], BeforeValidator(_size)]
AutoOrBool = Annotated[Literal["auto", "true", "false"], BeforeValidator(_lower)]
"""In any case of letters; a program may say True."""
LoopbackHost = Annotated[str, AfterValidator(_loopback)]
"""`localhost`, or one of this machine's own addresses."""
HeaderSecret = Annotated[SecretStr, AfterValidator(_sendable)]
"""One that can be sent in a header."""
