"""Where the Edge engine keeps its data: numbered directories, of which the lowest is the one that counts.

A new generation is built beside the present one under the next number. The switch is one rename, which takes
the old directory out of the numbering; whatever a crash leaves behind above or outside of it is rubbish.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger("robi.store.edge")

PREFIX = "gen-"


class Generations:
    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def aside(self) -> Path:
        """Where an unreadable directory goes."""
        return self.root.with_name(f"{self.root.name}.unreadable")

    def current(self) -> Path:
        """The directory that counts, whether it exists yet or not."""
        return self._path(min(self._numbers(), default=1))

    def next(self) -> Path:
        """A directory that does not exist, for the generation after all others."""
        return self._path(max(self._numbers(), default=0) + 1)

    def retire(self, directory: Path) -> None:
        """Take a generation out of the numbering and delete it, and what was erased from it.

        Never raises: were it to stay, the next start would go on from it, behind but right.
        """
        gone = directory.with_name(f"old-{directory.name}")
        shutil.rmtree(gone, ignore_errors=True)
        try:
            directory.rename(gone)
        except FileNotFoundError:
            return
        except OSError as problem:
            logger.warning("%s cannot be removed: %s", directory.name, problem.strerror)
        shutil.rmtree(gone, ignore_errors=True)

    def sweep(self, keep: Path) -> None:
        """Delete everything else. Never raises.

        Call it only while the engine holds `keep`, so that nobody else can, and nothing is being built.
        """
        for leftover in [path for path in self.root.iterdir() if path != keep]:
            logger.info("deleting %s, which an unfinished build or an earlier version left", leftover.name)
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
                continue
            with suppress(OSError):
                leftover.unlink(missing_ok=True)

    def others(self, keep: Path) -> bool:
        """Whether there is anything beside `keep`: half built, about to be deleted, or set aside."""
        return self.aside.exists() or any(path != keep for path in self.root.iterdir())

    def _path(self, number: int) -> Path:
        return self.root / f"{PREFIX}{number}"

    def _numbers(self) -> list[int]:
        if not self.root.is_dir():
            return []
        names = (path.name.removeprefix(PREFIX) for path in self.root.glob(f"{PREFIX}*"))
        return [int(name) for name in names if name.isdecimal()]
