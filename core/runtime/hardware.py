"""What Robi runs on: NVIDIA cards as their driver tells of them, processor and memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import NamedTuple, TypeVar, cast

import psutil

logger = logging.getLogger("robi.hardware")

T = TypeVar("T")

_MB = 1024 * 1024
SHORTEST_SECONDS = 0.5  # that a load is told of: over a shorter time it is an accident
RETRY_SECONDS = 30.0  # between attempts to wake a driver that does not answer
_NOT_OFFERED = (3, 4)  # NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION: a figure is missing, not a card
_TEMPERATURE_OF_GPU = 0  # NVML_TEMPERATURE_GPU
NO_LIBRARY = "CPU mode: installed without GPU support."
NO_DRIVER = "CPU mode: no NVIDIA driver answers."
NO_CARD = "CPU mode: the NVIDIA driver knows no GPU."


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card now. A figure that it does not offer is None, never 0."""

    index: int
    name: str
    utilisation_percent: int | None
    memory_used_mb: int | None
    memory_total_mb: int | None
    temperature_c: int | None
    power_w: float | None
    power_limit_w: float | None


@dataclass(frozen=True, slots=True)
class LostGpu:
    """A card that answered before and no longer does."""

    index: int
    name: str
    since: datetime

    @property
    def sentence(self) -> str:
        return f"GPU {self.index} ({self.name}) does not answer any more."


@dataclass(frozen=True, slots=True)
class Cards:
    """`reason` says why there is no card that answers; None when there is one."""

    gpus: tuple[Gpu, ...]
    lost: tuple[LostGpu, ...]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Machine:
    """Processor and memory; percentages are of all cores together."""

    cpu_percent: float | None  # since the sample before; None in the first second
    process_percent: float | None  # Robi's own process
    cores: int
    rss_mb: int  # Robi's own process
    children_mb: int  # processes that Robi started: Qdrant Edge, the GPU's
    total_mb: int
    available_mb: int


class GpuSampler:
    """Asks NVIDIA's driver. Not thread-safe: the owner holds a lock. Never raises.

    A card that stops answering is named as lost from then on until it answers again.
    """

    def __init__(self, nvml: ModuleType | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`nvml` is the `pynvml` module as `nvidia_library` finds it; None where there is none."""
        self._driver = _Driver(nvml) if nvml is not None else None
        self._clock = clock
        self._retry_at = 0.0
        self._seen: dict[str, tuple[int, str]] = {}  # by the card's UUID
        self._lost: dict[str, LostGpu] = {}

    def sample(self) -> Cards:
        if self._driver is None:
            return Cards((), (), NO_LIBRARY)
        found = self._found(self._driver)
        for uuid, gpu in found.items():
            self._seen[uuid] = (gpu.index, gpu.name)
            self._lost.pop(uuid, None)
        self._note_lost(found)
        gpus, lost = tuple(found.values()), tuple(self._lost.values())
        return Cards(gpus, lost, None if gpus else self._reason(self._driver, lost))

    def _found(self, driver: _Driver) -> dict[str, Gpu]:
        """What answers. A silent driver, or a lost card, is looked for anew now and then, not each time."""
        now = self._clock()
        if now >= self._retry_at and (self._lost or not driver.is_open):
            self._retry_at = now + RETRY_SECONDS
            driver.close()  # a card that came back is only seen by a driver that was opened anew
            driver.open()
        return driver.cards()

    def _note_lost(self, found: Mapping[str, Gpu]) -> None:
        for uuid, (index, name) in self._seen.items():
            if uuid in found or uuid in self._lost:
                continue
            self._lost[uuid] = LostGpu(index, name, datetime.now(UTC))
            logger.warning("%s", self._lost[uuid].sentence)

    def _reason(self, driver: _Driver, lost: tuple[LostGpu, ...]) -> str:
        if lost:
            return " ".join(card.sentence for card in lost)
        return NO_CARD if driver.is_open else NO_DRIVER


class _Driver:
    """NVIDIA's, by its Python library; raises nothing of it."""

    def __init__(self, nvml: ModuleType) -> None:
        self._nvml = nvml
        self.is_open = False

    def open(self) -> None:
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlInit()
            self.is_open = True

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def cards(self) -> dict[str, Gpu]:
        """Those that answer, by UUID; none of a driver that is closed, or that answers no more."""
        if not self.is_open:
            return {}
        try:
            count = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError:
            self.close()
            return {}
        found: dict[str, Gpu] = {}
        for index in range(count):
            with suppress(self._nvml.NVMLError):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                found[_text(self._nvml.nvmlDeviceGetUUID(handle))] = self._gpu(index, handle)
        return found

    def _gpu(self, index: int, handle: object) -> Gpu:
        nvml, offered = self._nvml, self._offered
        memory = offered(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        rates = offered(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        power = offered(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        limit = offered(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        return Gpu(
            index=index,
            name=_text(nvml.nvmlDeviceGetName(handle)),
            utilisation_percent=None if rates is None else int(rates.gpu),
            memory_used_mb=None if memory is None else memory.used // _MB,
            memory_total_mb=None if memory is None else memory.total // _MB,
            temperature_c=offered(lambda: nvml.nvmlDeviceGetTemperature(handle, _TEMPERATURE_OF_GPU)),
            power_w=None if power is None else round(power / 1e3, 1),
            power_limit_w=None if limit is None else round(limit / 1e3, 1),
        )

    def _offered(self, figure: Callable[[], T]) -> T | None:
        """None for a figure that this card does not give; raises when the card itself is gone."""
        try:
            return figure()
        except self._nvml.NVMLError as problem:
            if getattr(problem, "value", None) in _NOT_OFFERED:
                return None
            raise


class Spent(NamedTuple):
    """Seconds of all cores together."""

    passed: float
    busy: float
    process: float  # Robi's own


class MachineSampler:
    """Processor and memory. Not thread-safe: the owner holds a lock."""

    def __init__(self, spent: Callable[[], Spent] | None = None, cores: int | None = None) -> None:
        """Without arguments, of this machine."""
        self._process = psutil.Process()
        self._cores = cores or psutil.cpu_count() or 1
        self._spent = spent or self._spent_here
        self._before = self._spent()
        self._percent: tuple[float | None, float | None] = (None, None)

    def sample(self) -> Machine:
        system = psutil.virtual_memory()
        machine, process = self._percentages()
        return Machine(
            cpu_percent=machine,
            process_percent=process,
            cores=self._cores,
            rss_mb=self._process.memory_info().rss // _MB,
            children_mb=sum(map(_rss, self._process.children(recursive=True))) // _MB,
            total_mb=system.total // _MB,
            available_mb=system.available // _MB,
        )

    def _percentages(self) -> tuple[float | None, float | None]:
        """psutil's own remember the time before for each thread, and are 0 in a thread that asks first."""
        spent, before = self._spent(), self._before
        passed = spent.passed - before.passed
        if passed >= SHORTEST_SECONDS * self._cores:
            self._before = spent
            self._percent = (
                _percent(spent.busy - before.busy, passed),
                _percent(spent.process - before.process, passed),
            )
        return self._percent

    def _spent_here(self) -> Spent:
        times, own = psutil.cpu_times(), self._process.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return Spent(total, total - idle, own.user + own.system)


def nvidia_library() -> ModuleType | None:
    """`pynvml`, which comes with the GPU's requirements."""
    try:
        import pynvml
    except ImportError:
        return None
    return cast("ModuleType", pynvml)


def _percent(part: float, whole: float) -> float:
    return round(min(max(100 * part / whole, 0.0), 100.0), 1)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it ended meanwhile
        return 0


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
