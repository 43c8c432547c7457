"""The data directory, and who uses it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from core.config.settings import Settings
from core.runtime import data_dir, disk
from robi.cli.doctor.finding import Finding, Level
from robi.client import HealthReply, RobiApiError, RobiClient

HEALTH_S = 5.0  # that a server has to say how it is


def place(settings: Settings) -> Finding:
    """There or possible, ours, private, with room."""
    path = settings.robi_data_dir.absolute()
    if not path.exists():
        return _directory_to_be(path)
    if problem := _unusable(path):
        return Finding("data directory", Level.WRONG, f"{path} {problem[0]}", problem[1])
    if path.stat().st_mode & 0o077:
        return Finding(
            "data directory",
            Level.MIND,
            f"{path} can be read by other users of this machine.",
            f"The next start takes that right away where the directory is its own; or: chmod 700 {path}",
        )
    return Finding("data directory", Level.WELL, f"{path}, private; {_size(disk.free_bytes(path))} free.")


def user(settings: Settings) -> Finding:
    """Which process holds the directory and, where that is a server, how it says it is."""
    part = "in use"
    try:
        holder = data_dir.holder(settings.robi_data_dir)
    except OSError as problem:
        return Finding(part, Level.MIND, f"The lock cannot be read: {problem.strerror}.", "See who owns it.")
    if holder is None:
        return Finding(part, Level.WELL, "No process uses the directory now.")
    for url in _listening(holder):
        try:
            health = RobiClient(url, timeout=HEALTH_S).health()
        except RobiApiError:
            continue
        return _served(holder, url, health)
    return Finding(
        part,
        Level.WELL,
        f"Process {holder} uses the directory, and no server of it answers.",
        "While it runs, no other process can: use its own means, or stop it.",
    )


def _directory_to_be(path: Path) -> Finding:
    there = next(parent for parent in path.parents if parent.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Finding("data directory", Level.WELL, f"{path} is not there yet; the first start makes it.")
    return Finding(
        "data directory",
        Level.WRONG,
        f"{path} is not there, and cannot be made in {there}.",
        "Set ROBI_DATA_DIR to a directory that you may write to.",
    )


def _unusable(path: Path) -> tuple[str, str] | None:
    """What is wrong with the directory, and what to do; None when it can be used."""
    elsewhere = "Set ROBI_DATA_DIR to a directory that you may write to."
    if not path.is_dir():
        return "is no directory.", elsewhere
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return "may not be written to.", elsewhere
    if disk.is_anybodys(path):
        return "belongs to somebody else, and everybody may write to it.", elsewhere
    if (path / data_dir.LOCK).is_symlink():
        return "has a lock that leads to another file.", "Remove it, and see who may write to that directory."
    if disk.is_full(path):
        return "is on a disk that is full: nobody can be enrolled.", "Make room on that disk."
    return None


def _listening(pid: str) -> list[str]:
    """Where a process of ours listens, IPv4 first; nothing when the system does not say."""
    try:
        connections = psutil.Process(int(pid)).net_connections(kind="tcp")
    except (psutil.Error, ValueError):
        return []
    listening = [found.laddr for found in connections if found.status == psutil.CONN_LISTEN]
    return sorted(
        (f"http://[{at.ip}]:{at.port}" if ":" in at.ip else f"http://{at.ip}:{at.port}" for at in listening),
        key=lambda url: ("[" in url, url),
    )


def _served(pid: str, url: str, health: HealthReply) -> Finding:
    verdicts = {"ok": Level.WELL, "unavailable": Level.WRONG}
    parts = [
        f"{name} is {part.status}: {part.detail}"
        for name, part in health.components.items()
        if part.status not in ("ok", "off")
    ]
    says = " ".join([f"Process {pid} serves it at {url} and says {health.status}.", *parts])
    do = "See its page Monitoring." if parts else ""
    return Finding("in use", verdicts.get(health.status, Level.MIND), says, do)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
