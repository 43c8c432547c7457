"""Request fields that several calls share."""

from __future__ import annotations

from typing import Annotated

from fastapi import File, Form, UploadFile

from core.domain.search import Strategy

Image = Annotated[UploadFile, File(description="JPEG, PNG, WebP or BMP.")]
StrategyField = Annotated[Strategy | None, Form(description="Left out: the one in the settings.")]
TopK = Annotated[int, Form(description="Most candidates to return, 1 to 100.")]
Threshold = Annotated[
    float | None, Form(description="Similarity a match needs, 0 to 1. Left out: the one in the settings.")
]
