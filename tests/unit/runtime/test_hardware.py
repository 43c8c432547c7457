"""Cards that come, go, keep figures to themselves or fail: sentences, never exceptions, never zeros."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from core.runtime.hardware import (
    NO_CARD,
    NO_DRIVER,
    NO_LIBRARY,
    RETRY_SECONDS,
    GpuSampler,
    MachineSampler,
    Spent,
)

NOT_SUPPORTED, GPU_IS_LOST, DRIVER_NOT_LOADED = 3, 15, 9


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class Nvml:
    """The driver's library, with the cards in the hands of the test."""

    NVMLError = NVMLError

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.lost: set[int] = set()
        self.silent: set[str] = set()  # figures that no card gives
        self.loaded = True
        self.inits = 0

    def __getattr__(self, function: str):
        def call(handle: int | None = None, *_rest: object) -> object:
            self.inits += function == "nvmlInit"
            if not self.loaded:
                raise NVMLError(DRIVER_NOT_LOADED)
            if handle in self.lost and function != "nvmlDeviceGetHandleByIndex":
                raise NVMLError(GPU_IS_LOST)
            if function in self.silent:
                raise NVMLError(NOT_SUPPORTED)
            return self._answer(function, handle)

        return call

    def _answer(self, function: str, handle: int | None) -> object:
        answers = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": len(self.names),
            "nvmlDeviceGetHandleByIndex": handle,
            "nvmlDeviceGetUUID": f"GPU-{handle}",
            "nvmlDeviceGetName": self.names[handle or 0].encode() if self.names else b"",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=3 << 30, total=24 << 30),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=41),
            "nvmlDeviceGetTemperature": 63,
            "nvmlDeviceGetPowerUsage": 71_500,
            "nvmlDeviceGetEnforcedPowerLimit": 150_000,
        }
        return answers[function]


class Time:
    now = 0.0

    def __call__(self) -> float:
        self.now += 2.0
        return self.now


def test_every_card_is_told_of():
    (gpu, other) = GpuSampler(Nvml("NVIDIA A10", "NVIDIA L4"), Time()).sample().gpus
    assert (gpu.index, gpu.name, gpu.utilisation_percent, gpu.memory_used_mb) == (0, "NVIDIA A10", 41, 3072)
    assert (gpu.memory_total_mb, gpu.temperature_c, gpu.power_w, gpu.power_limit_w) == (24576, 63, 71.5, 150)
    assert other.name == "NVIDIA L4"


def test_a_figure_that_a_card_does_not_give_is_none_and_not_zero():
    nvml = Nvml("NVIDIA A10")
    nvml.silent = {"nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo"}
    (gpu,) = GpuSampler(nvml, Time()).sample().gpus
    assert (gpu.power_w, gpu.utilisation_percent, gpu.memory_used_mb) == (None, None, None)
    assert gpu.temperature_c == 63


def test_a_card_that_disappears_is_named_and_the_others_go_on():
    nvml = Nvml("NVIDIA A10", "NVIDIA L4")
    sampler = GpuSampler(nvml, Time())
    sampler.sample()
    nvml.lost = {0}
    cards = sampler.sample()
    assert [gpu.name for gpu in cards.gpus] == ["NVIDIA L4"]
    assert [lost.sentence for lost in cards.lost] == ["GPU 0 (NVIDIA A10) does not answer any more."]
    since = cards.lost[0].since
    for _ in range(40):  # also while the driver is opened anew, to see whether the card came back
        cards = sampler.sample()
        assert [gpu.name for gpu in cards.gpus] == ["NVIDIA L4"]
        assert [lost.since for lost in cards.lost] == [since]


def test_the_last_card_that_disappears_is_the_reason_for_cpu_mode():
    nvml = Nvml("NVIDIA A10")
    sampler = GpuSampler(nvml, Time())
    sampler.sample()
    nvml.loaded = False
    for _ in range(40):
        cards = sampler.sample()
        assert cards.gpus == ()
        assert cards.reason == "GPU 0 (NVIDIA A10) does not answer any more."


def test_a_card_that_comes_back_is_no_longer_lost():
    nvml, clock = Nvml("NVIDIA A10"), Time()
    sampler = GpuSampler(nvml, clock)
    sampler.sample()
    nvml.lost = {0}
    sampler.sample()
    nvml.lost = set()
    clock.now += RETRY_SECONDS
    cards = sampler.sample()
    assert [gpu.name for gpu in cards.gpus] == ["NVIDIA A10"]
    assert cards.lost == ()


def test_without_a_driver_a_library_or_a_card_it_says_which():
    asleep = Nvml("NVIDIA A10")
    asleep.loaded = False
    assert GpuSampler(asleep, Time()).sample().reason == NO_DRIVER
    assert GpuSampler(Nvml(), Time()).sample().reason == NO_CARD
    assert GpuSampler(None, Time()).sample().reason == NO_LIBRARY


def test_a_silent_driver_is_not_woken_at_every_look():
    nvml, clock = Nvml(), Time()
    nvml.loaded = False
    sampler = GpuSampler(nvml, clock)
    for _ in range(60):
        sampler.sample()
    assert nvml.inits == pytest.approx(60 * 2 / RETRY_SECONDS, abs=1)


def test_the_machine_has_memory_cores_and_this_process():
    machine = MachineSampler().sample()
    assert 0 < machine.rss_mb < machine.total_mb
    assert machine.cores >= 1


def test_the_first_moment_has_no_load_rather_than_none_at_all():
    spent = iter([Spent(0.0, 0.0, 0.0), Spent(0.1, 0.0, 0.0), Spent(20.0, 15.0, 5.0), Spent(20.1, 15.1, 5.0)])
    sampler = MachineSampler(lambda: next(spent), cores=2)
    machines = [sampler.sample() for _ in range(3)]
    seen = [(machine.cpu_percent, machine.process_percent) for machine in machines]
    assert seen == [(None, None), (75.0, 25.0), (75.0, 25.0)]


def test_a_thread_that_asks_first_sees_the_load_too():
    """psutil's own percentages remember the time before for each thread."""
    sampler, seen = MachineSampler(), []
    busy = threading.Thread(target=until, args=(time.monotonic() + 1.5,))
    asking = threading.Thread(target=lambda: seen.append(sampler.sample().cpu_percent))
    for thread in (busy, asking):
        thread.start()
        thread.join()
    assert seen[0] is not None
    assert seen[0] > 0


def until(end: float) -> None:
    while time.monotonic() < end:
        pass
