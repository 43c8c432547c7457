"""Robi while its clock is set: `python -m tests.chaos.clock_driver DIRECTORY SEED`, with `clock.c` preloaded.

Prints one JSON object: `broken`, and the `years` it has seen.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

from core.config.settings import Settings
from core.faces.engine import FaceEngine
from tests.chaos.world import World

DAY = 86_400
SHIFTS = (0, -2 * DAY, 3 * 365 * DAY, -10 * 365 * DAY, DAY, 0)


def set_clock(seconds: int) -> int:
    """Returns the year that it is now."""
    with Path(os.environ["ROBI_CLOCK_SHIFT"]).open("r+b") as file:
        file.write(struct.pack("q", seconds))
    return datetime.now(UTC).year


def main(directory: Path, seed: str) -> None:
    settings = Settings(_env_file=None, robi_data_dir=directory, use_gpu="false", qdrant_url="")
    engine = FaceEngine.open(settings)
    world = World(settings, engine, seed=seed)
    world.open()
    years = []
    for number, shift in enumerate(SHIFTS):
        years.append(set_clock(shift))
        first = 3 * number
        for person in range(first, first + 3):
            world.enroll(person, 2)
        world.rename(first, "Another name")
        world.erase(first + 1)
        world.enroll(first + 1)
        world.look_for(first, first + 1)
        world.settle()  # health has to be well, too: a clock that was set is no trouble
        if number % 2:
            world.rebuild("qdrant")
            world.close()
            world.open()
            world.settle()
    world.close()
    engine.close()
    print(json.dumps({"broken": world.broken, "refused": world.refused, "years": years}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
