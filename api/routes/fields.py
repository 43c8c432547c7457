"""Request fields that several calls share."""

from __future__ import annotations

from typing import Annotated

from fastapi import File, Form, UploadFile

from core.domain.bounds import THRESHOLD, TOP_K
from core.domain.search import Strategy

Image = Annotated[UploadFile, File(description="JPEG, PNG, WebP or BMP.")]
StrategyField = Annotated[Strategy | None, Form(description="Left out: the one in the settings.")]
TopK = Annotated[int, TOP_K, Form(description=f"Most candidates to return, {TOP_K}.")]
Threshold = Annotated[
    Annotated[float, THRESHOLD] | None,
    Form(description=f"Similarity a match needs, {THRESHOLD}. Left out: the one in the settings."),
]
