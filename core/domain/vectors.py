"""The door for vectors: whatever passes is finite, unit length and of the gallery's dimension.

Templates pass it when the ledger takes them, probes when the store is asked. Nobody behind it checks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.domain.errors import BadInput
from core.domain.faces import Embeddings

MIN_NORM = 1e-6
ROUNDING = 1e-6  # float32; a vector this close to unit length passes bit by bit


def unit_rows(vectors: NDArray[Any] | Sequence[Any], dimension: int) -> Embeddings:
    """Vectors as shape (n, dimension), float32, C-contiguous, L2-normalised.

    Raises:
        BadInput: `invalid_embedding` for another shape, what is no number, a NaN, an infinity, or a zero
            vector.
    """
    try:
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused below
            rows = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        rows = np.empty(0, np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise _invalid(f"An embedding is a list of {dimension} numbers.")
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))  # a NaN or an infinity in a row is one here
    if not (norms < np.inf).all():
        raise _invalid("An embedding must not hold NaN, infinity or numbers out of range.")
    if (norms < MIN_NORM).any():
        raise _invalid("An embedding must not be all zeros.")
    norms[abs(norms - 1.0) <= ROUNDING] = 1.0
    return np.ascontiguousarray(rows / norms[:, None])


def _invalid(message: str) -> BadInput:
    return BadInput("invalid_embedding", message, "Send the embedding as the face engine made it.")
