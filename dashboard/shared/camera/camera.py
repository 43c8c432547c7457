"""The live camera on a page: video in the browser, recognition over `/api/v1/live`."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent

_HTML = """
<div class="camera" data-status="new">
  <div class="stage">
    <video autoplay playsinline muted aria-label="Live camera"></video>
    <canvas aria-hidden="true"></canvas>
    <div class="panel" role="status">
      <strong></strong><span></span>
      <button class="retry" type="button" hidden>Try again</button>
    </div>
    <div class="coach" aria-live="polite"></div>
    <div class="verdict" role="status" aria-label="Verdict"></div>
  </div>
  <div class="foot">
    <span class="dots"></span>
    <span class="rates"></span>
    <select aria-label="Camera" hidden></select>
  </div>
</div>
"""

_SCRIPTS = ("camera_choice.js", "camera_drawing.js", "camera.js")

_component = st.components.v2.component(
    "robi_camera",
    html=_HTML,
    css=(_HERE / "camera.css").read_text(encoding="utf-8"),
    js="\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS),
)

UNUSABLE = frozenset({"waiting", "no_picture", "denied", "no_camera", "in_use", "lost", "insecure"})
"""States in which the operator is better off with a photo."""


def camera(token: str, *, key: str, enrolling: bool = False) -> str:
    """Show the camera of one live session and return its state.

    The state is one of `starting`, `live`, `paused`, `silent`, `offline`, `busy`, `expired`, or of
    `UNUSABLE`. `expired` means that the server has forgotten `token`: open a new session and pass its token.
    The browser marks the page with the state, as `data-robi-camera` of the document: style.css hides what
    claims to know who is in view unless that is `live`, for a server that is gone cannot take it back.
    `enrolling` mirrors the view, as people expect of themselves, and draws the oval to look into; the
    frames that are sent are never mirrored.
    """
    view = _component(
        key=key,
        data={"token": token, "mirror": enrolling, "guide": enrolling},
        default={"status": "starting"},
        on_status_change=lambda: None,
    )
    return str(view.status or "starting")
