"""Python, the face models and what they run on."""

from __future__ import annotations

import platform
import sys

from core.config.settings import Settings
from core.domain.errors import StartError
from core.runtime.hardware import GpuSampler, nvidia_library
from robi.cli.doctor.finding import Finding, Level, imported, not_installed

PYTHONS = ((3, 11), (3, 13))  # oldest and newest


def python() -> Finding:
    says = f"{platform.python_version()} on {platform.system()} {platform.machine()}."
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding("Python", Level.WELL, says)
    return Finding("Python", Level.WRONG, says, "Use Python 3.11, 3.12 or 3.13.")


def models(settings: Settings) -> Finding:
    from core.faces import pack

    part, name = "face pack", settings.face_pack
    try:
        found = pack.find_pack(name, settings.robi_data_dir)
    except StartError as problem:
        return Finding.of(part, problem)
    except ModuleNotFoundError as problem:
        return not_installed(part, problem)
    if found is not None:
        says = f"{found.info.id}, {found.info.dimension} numbers a face. {found.info.licence}"
        return Finding(part, Level.WELL, f"{says.rstrip('.')}.")
    if name == pack.OPEN_PACK:
        return Finding(part, Level.WELL, "open is not built yet; the first start does it, without a network.")
    if name in pack.DOWNLOADABLE:
        return Finding(
            part,
            Level.MIND,
            f"{name} is not here; the first start downloads it.",
            f"Without a network put its files into packs/{name} there, or set FACE_PACK=open.",
        )
    return Finding(part, Level.WRONG, f"There is no face pack {name} here.", "Set FACE_PACK=open.")


def libraries(settings: Settings) -> Finding:
    part = "libraries"
    opencv = imported(part, "cv2")
    if isinstance(opencv, Finding):
        return opencv
    onnxruntime = imported(part, "onnxruntime")
    if isinstance(onnxruntime, Finding):
        return onnxruntime
    runs_on = "CUDA" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "the CPU"
    says = f"OpenCV {opencv.__version__}, onnxruntime {onnxruntime.__version__} for {runs_on}."
    if settings.use_gpu == "true" and runs_on != "CUDA":
        return Finding(part, Level.MIND, f"{says} USE_GPU=true asks for CUDA.", "Install robi[gpu].")
    return Finding(part, Level.WELL, says)


def gpu(settings: Settings) -> Finding:
    cards = GpuSampler(nvidia_library()).sample()
    if cards.gpus:
        names = ", ".join(f"{card.index}: {card.name}" for card in cards.gpus)
        if all(card.index != settings.gpu_device_id for card in cards.gpus) and settings.use_gpu != "false":
            do = f"Set GPU_DEVICE_ID to one of {', '.join(str(card.index) for card in cards.gpus)}."
            return Finding("GPU", Level.MIND, f"{names}. There is no GPU {settings.gpu_device_id}.", do)
        unused = " Switched off by USE_GPU=false." if settings.use_gpu == "false" else ""
        return Finding("GPU", Level.WELL, f"{names}.{unused}")
    reason = cards.reason or "No NVIDIA card answers."
    if settings.use_gpu == "true":
        do = "Install the NVIDIA driver and robi[gpu], or set USE_GPU=auto."
        return Finding("GPU", Level.MIND, f"{reason} USE_GPU=true asks for one.", do)
    return Finding("GPU", Level.WELL, reason)
