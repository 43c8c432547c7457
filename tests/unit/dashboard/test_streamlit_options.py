"""Streamlit is as Robi has it, wherever it is started and whatever files lie there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from dashboard import streamlit_options

ROOT = Path(__file__).resolve().parents[3]
SHOW = """
import json, streamlit
from dashboard import streamlit_options
streamlit_options.apply()
names = "browser.gatherUsageStats client.showErrorDetails server.enableCORS theme.light.primaryColor"
print(json.dumps([streamlit.config.get_option(name) for name in names.split()]))
"""
HOSTILE = """
[browser]
gatherUsageStats = true
[server]
enableCORS = false
[client]
showErrorDetails = "full"
"""


def test_no_file_of_the_working_directory_has_a_say(tmp_path: Path) -> None:
    folder = tmp_path / ".streamlit"
    folder.mkdir()
    (folder / "config.toml").write_text(HOSTILE)
    said = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == '[false, "none", true, "#0F62FE"]\n'


def test_streamlit_knows_every_option_of_the_file() -> None:
    """One that it does not know is refused when it is set."""
    chosen = tomllib.loads(streamlit_options.FILE.read_text())
    assert chosen["theme"]["light"]["sidebar"]
    streamlit_options.apply()
