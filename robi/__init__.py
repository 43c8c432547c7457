"""Robi for programmers.

`Robi` is a gallery in this process. `robi.client` asks a server over HTTP. `robi` on the command line runs
one, or does without.
"""

from __future__ import annotations

from core.domain.errors import RobiError
from robi.library import Robi

__all__ = ["Robi", "RobiError"]
