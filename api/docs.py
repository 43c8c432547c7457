"""`/docs`: the OpenAPI document as a page that needs neither a network nor JavaScript."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter()

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 6rem; }
h2 { margin: 3rem 0 .25rem; font-size: 1.1rem; font-family: ui-monospace, monospace; }
h2 b { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; }
th, td { border-bottom: 1px solid #8884; }
code, pre { font-family: ui-monospace, monospace; font-size: .85rem; }
pre { padding: .75rem 1rem; overflow: auto; border: 1px solid #8884; border-radius: .5rem; }
"""


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    base = request.scope.get("root_path", "")
    return HTMLResponse("".join(_page(request.app.openapi(), base)))


def _page(document: Mapping[str, Any], base: str) -> Iterator[str]:
    title = escape(document["info"]["title"])
    yield "<!doctype html><html lang=en><meta charset=utf-8>"
    yield "<meta name=viewport content='width=device-width, initial-scale=1'>"
    yield f"<title>{title}: API</title><style>{_STYLE}</style><h1>{title}: API</h1>"
    yield f"<p>{_prose(document['info']['description'])} The same as a machine-readable document: "
    yield f"<a href='{escape(base)}/openapi.json'>openapi.json</a>.</p>"
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            yield from _call(document, method.upper(), base + path, call)


def _prose(text: str) -> str:
    """Text with `code` in backquotes."""
    parts = [escape(part) for part in text.split("`")]
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def _call(document: Mapping[str, Any], method: str, path: str, call: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><b>{method}</b>{escape(path)}</h2><p>{escape(call.get('summary', ''))}. "
    yield f"{_prose(call.get('description', ''))}</p>"
    rows = [*_parameters(call), *_fields(document, call)]
    if rows:
        yield "<table><tr><th>Field<th>Where<th>Meaning</tr>"
        for name, place, meaning in rows:
            yield f"<tr><td><code>{escape(name)}</code><td>{escape(place)}<td>{_prose(meaning)}</tr>"
        yield "</table>"
    yield "<table><tr><th>Status<th>Meaning</tr>"
    for status, response in call["responses"].items():
        meaning = "Done." if status.startswith("2") else response.get("description", "")
        yield f"<tr><td>{escape(status.replace('default', 'other'))}<td>{_prose(meaning)}</tr>"
    yield "</table>"
    yield from _example(document, call)


def _parameters(call: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for parameter in call.get("parameters", ()):
        place = f"{parameter['in']}{', required' if parameter.get('required') else ''}"
        yield parameter["name"], place, parameter.get("description", "")


def _fields(document: Mapping[str, Any], call: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        schema = _resolve(document, content["schema"])
        place = "form" if kind == "multipart/form-data" else "JSON"
        for name, field in schema.get("properties", {}).items():
            needed = ", required" if name in schema.get("required", ()) else ""
            yield name, place + needed, field.get("description", "")


def _example(document: Mapping[str, Any], call: Mapping[str, Any]) -> Iterator[str]:
    for status in ("200", "201"):
        content = call["responses"].get(status, {}).get("content", {}).get("application/json")
        example = _resolve(document, content["schema"]).get("example") if content else None
        if example:
            yield f"<p>An answer:</p><pre>{escape(json.dumps(example, indent=2))}</pre>"


def _resolve(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref") or next(
        (part["$ref"] for part in schema.get("allOf", ()) if "$ref" in part), None
    )
    if reference is None:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return found
