"""What a run may be asked for, checked before anything is begun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import numpy as np

from core.benchmark.model import ProbeKind, ProbeSource, RunRequest, Setting
from core.config.settings import IndexType
from core.domain.bounds import NPROBE, SEARCH_EF, THRESHOLD, TOP_K
from core.domain.errors import BadInput

MOST_SETTINGS = 60
MOST_PROBES = 10_000
MOST_CLIENTS = 128
LONGEST_S = 3600.0
LONGEST_NAME = 100


def check(request: RunRequest) -> None:
    """
    Raises:
        BadInput: `bad_parameter`, with the first thing that is wrong.
    """
    for sentence in _wrong(request):
        raise BadInput("bad_parameter", sentence, "Choose another value.")


def checked_name(name: str) -> str:
    """The name of a run, trimmed. Raises BadInput: `bad_parameter`."""
    clean = " ".join(name.split())
    if not clean or len(clean) > LONGEST_NAME or not clean.isprintable():
        raise BadInput(
            "bad_parameter", f"A run's name has 1 to {LONGEST_NAME} characters.", "Choose another name."
        )
    return clean


def _wrong(request: RunRequest) -> Iterator[str]:
    """Comparisons are written so that NaN is refused too."""
    if not 1 <= len(set(request.settings)) <= MOST_SETTINGS:
        yield f"Choose 1 to {MOST_SETTINGS} settings."
    if not 1 <= request.count <= MOST_PROBES:
        yield f"The number of probes must be between 1 and {MOST_PROBES:,}."
    if request.k not in TOP_K:
        yield f"k must be {TOP_K}."
    if request.threshold is not None and request.threshold not in THRESHOLD:
        yield f"The threshold must be {THRESHOLD}."
    if not request.concurrencies or not all(1 <= c <= MOST_CLIENTS for c in request.concurrencies):
        yield f"Choose concurrencies between 1 and {MOST_CLIENTS}."
    if not 0 < request.time_limit_s <= LONGEST_S:
        yield f"The time limit must be between 0 and {LONGEST_S:g} seconds."
    if request.seed < 0:
        yield "The seed must not be negative."
    if request.name:
        checked_name(request.name)
    for setting in request.settings:
        yield from _wrong_setting(setting)
    yield from _wrong_source(request.probes)


def _wrong_setting(setting: Setting) -> Iterator[str]:
    if not 0 < setting.coverage <= 1:
        yield "The cache's coverage must be above 0 and at most 1."
    if setting.index_type not in get_args(IndexType):
        yield "There is no such FAISS index type."
    if setting.nprobe not in NPROBE:
        yield f"nprobe must be {NPROBE}."
    if setting.search_ef not in SEARCH_EF:
        yield f"The search's ef must be {SEARCH_EF}."


def _wrong_source(source: ProbeSource) -> Iterator[str]:
    if not 0 < source.similarity <= 1:
        yield "The probes' similarity must be above 0 and at most 1."
    if not 0 <= source.strangers <= 1:
        yield "The share of strangers must be from 0 to 1."
    if source.kind is ProbeKind.PHOTOS and (source.embeddings is None or not np.size(source.embeddings)):
        yield "No face was found in the photos."
