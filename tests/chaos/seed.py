"""The one seed of a run: ROBI_CHAOS_SEED repeats it."""

from __future__ import annotations

import os
import random

SEED = os.environ.get("ROBI_CHAOS_SEED") or str(random.SystemRandom().randrange(10**9))
KILLS = int(os.environ.get("ROBI_CHAOS_KILLS", "40"))
