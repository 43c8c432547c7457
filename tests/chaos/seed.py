"""The one seed of a run, in all its processes: ROBI_CHAOS_SEED repeats it."""

from __future__ import annotations

import os
import random

SEED = os.environ.setdefault("ROBI_CHAOS_SEED", str(random.SystemRandom().randrange(10**9)))
KILLS = int(os.environ.get("ROBI_CHAOS_KILLS", "40"))
