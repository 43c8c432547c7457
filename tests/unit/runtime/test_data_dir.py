"""One process at a time uses a data directory, and whoever asks is told which."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.domain.errors import StartError
from core.runtime import data_dir

HOLD = "import sys; from pathlib import Path; from core.runtime import data_dir;"
HOLD += "lock = data_dir.hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_a_second_one_is_refused_and_told_who_was_first(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StartError) as refused:
            data_dir.hold(tmp_path)
        assert refused.value.code == "data_dir_locked"
        assert f"process {other.pid}," in refused.value.message
        assert data_dir.holder(tmp_path) == str(other.pid)
        other.kill()
    assert data_dir.holder(tmp_path) is None
    data_dir.hold(tmp_path).close()


def test_looking_who_holds_a_directory_changes_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert data_dir.holder(missing) is None
    assert not missing.exists()
    assert data_dir.holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / data_dir.LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        data_dir.holder(tmp_path)


def test_whoever_only_looks_keeps_nobody_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir.hold(tmp_path).close()
    with (tmp_path / data_dir.LOCK).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr(data_dir, "sleep", lambda _: looking.close())  # the look ends in that pause
        data_dir.hold(tmp_path).close()
        assert looking.closed


def test_a_lock_whose_holder_could_not_sign_is_held_all_the_same(tmp_path: Path) -> None:
    lock = data_dir.hold(tmp_path)
    os.truncate(tmp_path / data_dir.LOCK, 0)
    assert data_dir.holder(tmp_path) == "unknown"
    with pytest.raises(StartError, match="process unknown"):
        data_dir.hold(tmp_path)
    lock.close()
