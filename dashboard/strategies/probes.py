"""Where the probes of a comparison come from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import streamlit as st

from core.benchmark.benchmarks import Benchmarks
from core.benchmark.model import SIMILARITY, STRANGERS, ProbeKind, ProbeSource
from core.domain.errors import RobiError
from core.domain.faces import Embedding, Purpose
from core.services.service import RobiService
from dashboard.shared import words
from dashboard.strategies import charts as figures

MAX_PHOTOS = 200
SEARCHES = 100  # at least, so that a percentile means something: a few faces are searched for repeatedly

Probes = tuple[ProbeSource | None, int, str | None]
"""The source, how many probes it has, and what is lacking if anything."""


def from_gallery(count: int) -> Probes:
    st.caption(
        f"An enrolled face, changed to a similarity of {SIMILARITY:.2f} to its photo, as another photo of "
        f"the person would be; one in {round(1 / STRANGERS)} is a stranger."
    )
    return ProbeSource(ProbeKind.GALLERY), count, None


def from_photos(service: RobiService) -> Probes:
    """The faces of uploaded photos. Their embeddings stay in this tab's memory, and nowhere else."""
    files = st.file_uploader(
        "Photos",
        accept_multiple_files=True,
        key="strategies_photos",
        max_upload_size=service.settings.robi_max_upload_mb,
        label_visibility="collapsed",
    )
    st.caption("Every face of every photo is a probe. Photos and faces are forgotten after the run.")
    if not files:
        st.session_state.pop("strategies_faces", None)
        return None, 0, "Choose the photos whose faces are to be searched for."
    if len(files) > MAX_PHOTOS:
        return None, 0, f"Choose at most {MAX_PHOTOS} photos."
    known: dict[str, list[Embedding] | str] = st.session_state.setdefault("strategies_faces", {})
    fresh = [file for file in files if file.file_id not in known]
    if fresh:
        bar = st.progress(0.0, text="Looking for faces …")
        for number, file in enumerate(fresh, start=1):
            known[file.file_id] = _faces(service, file.getvalue())
            bar.progress(number / len(fresh), text=f"Looking for faces … {number} of {len(fresh)}")
        bar.empty()
    return _found([known[file.file_id] for file in files])


def from_recent(benchmarks: Benchmarks, count: int) -> Probes:
    """The newest real probes where they are kept; else only what was recorded of them."""
    kept = benchmarks.kept_probes()
    if kept:
        number = min(count, kept)
        st.caption(f"The newest {words.count(number, 'face')} that were checked; {kept:,} are kept.")
        return ProbeSource(ProbeKind.RECENT), number, None
    st.info(
        "The faces of real checks are not kept unless ROBI_KEEP_PROBES is set. Without them no search can be "
        "repeated; only the scores on record can be shown.",
        icon=":material/visibility_off:",
    )
    recorded = benchmarks.recorded_scores(count)
    if recorded.similarities:
        said = " · ".join(f"{name} {number:,}" for name, number in recorded.decisions.items())
        st.echarts_chart(
            figures.recorded(recorded.similarities),
            height=200,
            key="strategies_recorded",
            alt=f"Similarities of the last {len(recorded.similarities)} checks on record",
        )
        st.caption(f"The last {words.count(len(recorded.similarities), 'check')} on record: {said}.")
    else:
        st.caption("No check is on record yet.")
    return None, 0, "Choose other probes: the last checks cannot be repeated."


def _faces(service: RobiService, data: bytes) -> list[Embedding] | str:
    """The embeddings of a photo's faces, or the code of what is wrong with the file."""
    try:
        analysis = service.pictures.analyze(service.pictures.decode(data), Purpose.VERIFY)
    except RobiError as problem:
        return problem.code
    return [face.embedding for face in analysis.faces] or "no_face"


def _found(photos: list[list[Embedding] | str]) -> Probes:
    faces = [face for photo in photos if not isinstance(photo, str) for face in photo]
    refused = Counter(photo for photo in photos if isinstance(photo, str))
    if refused:
        total = sum(refused.values())
        st.warning(
            f"{words.count(total, 'photo')} of {len(photos)} cannot be used: {words.reasons(list(refused))}."
        )
    if not faces:
        return None, 0, "No face was found in any of the photos. Choose photos that show whole faces."
    return ProbeSource(ProbeKind.PHOTOS, embeddings=np.stack(faces)), max(SEARCHES, len(faces)), None
