"""What a run was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from core import __version__
from core.benchmark.model import MachineNote

PACKAGES = {
    "numpy": "numpy",
    "faiss": "faiss-cpu",
    "faiss-gpu": "faiss-gpu",
    "qdrant-edge": "qdrant-edge-py",
    "qdrant-client": "qdrant-client",
}
CPU_INFO = Path("/proc/cpuinfo")


def this_machine() -> MachineNote:
    """Cores, memory, processor and versions; nothing that names the machine."""
    versions = {"robi": __version__, "python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            versions[name] = version(package)
        except PackageNotFoundError:
            continue
    return MachineNote(
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        platform=f"{_processor()}, {platform.system()} {platform.machine()}",
        versions=versions,
    )


def _processor() -> str:
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown processor"
