"""Starts that cannot work end in one clear line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import httpx
import pytest

from tests.e2e.conftest import ROOT, Server, start_server, stop_server


def run_robi(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dashboard"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("setting", "value"), [("FACE_THRESHOLD", "7"), ("ROBI_HOST", "0.0.0.0"), ("QDRANT_URL", "localhost")]
)
def test_a_bad_setting_is_named(tmp_path_factory: pytest.TempPathFactory, setting: str, value: str) -> None:
    ended = run_robi(**{"ROBI_DATA_DIR": str(tmp_path_factory.mktemp("bad")), setting: value})
    assert ended.returncode == 2
    assert setting in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_second_process_says_who_holds_the_data(peopled: Server) -> None:
    ended = run_robi(ROBI_DATA_DIR=str(peopled.data_dir))
    assert ended.returncode == 2
    assert f"process {peopled.process.pid}" in ended.stderr


def test_a_used_port_is_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run_robi(ROBI_DATA_DIR=str(tmp_path_factory.mktemp("port")), ROBI_PORT=port)
    assert ended.returncode == 2
    assert f"Port {port} is already in use" in ended.stderr


def test_the_lock_is_free_after_an_orderly_stop(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("again") / "data"
    for _ in range(2):
        stop_server(start_server(data))


def test_the_log_names_routes_and_no_person(server: Server) -> None:
    assert httpx.get(f"{server.url}/api/v1/users/nobody-in-particular").status_code == 404
    assert httpx.get(f"{server.url}/users", params={"q": "nobody-in-particular"}).status_code == 200
    log = server.log.read_text()
    assert "route=/api/v1/users/{user_id} status=404" in log
    assert "nobody-in-particular" not in log
