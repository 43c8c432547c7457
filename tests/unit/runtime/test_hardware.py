"""Cards that come, go, keep figures to themselves or fail: sentences, never exceptions, never zeros."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from core.runtime.hardware import NO_CARD, NO_DRIVER, NO_LIBRARY, RETRY_SECONDS, GpuSampler, MachineSampler

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
            if not self.loaded:
                raise NVMLError(DRIVER_NOT_LOADED)
            if handle in self.lost and function != "nvmlDeviceGetHandleByIndex":
                raise NVMLError(GPU_IS_LOST)
            if function in self.silent:
                raise NVMLError(NOT_SUPPORTED)
            return self._answer(function, handle)

        return call

    def _answer(self, function: str, handle: int | None) -> object:
        if function == "nvmlInit":
            self.inits += 1
            return None
        answers = {
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
    assert sampler.sample().lost[0].since == since


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


def test_without_a_driver_a_library_or_a_card_it_says_which(monkeypatch: pytest.MonkeyPatch):
    asleep = Nvml("NVIDIA A10")
    asleep.loaded = False
    assert GpuSampler(asleep, Time()).sample().reason == NO_DRIVER
    assert GpuSampler(Nvml(), Time()).sample().reason == NO_CARD
    monkeypatch.setattr("core.runtime.hardware._library", lambda: None)
    assert GpuSampler(clock=Time()).sample().reason == NO_LIBRARY


def test_a_silent_driver_is_not_woken_at_every_look():
    nvml, clock = Nvml(), Time()
    nvml.loaded = False
    sampler = GpuSampler(nvml, clock)
    attempts = []
    for _ in range(60):
        before = sampler._retry_at
        sampler.sample()
        attempts.append(sampler._retry_at != before)
    assert sum(attempts) == pytest.approx(60 * 2 / RETRY_SECONDS, abs=1)


def test_asking_again_within_a_second_costs_no_look():
    nvml = Nvml("NVIDIA A10")
    sampler = GpuSampler(nvml, lambda: 5.0)
    assert sampler.sample() is sampler.sample()


def test_the_machine_has_memory_cores_and_this_process():
    machine = MachineSampler().sample()
    assert 0 < machine.rss_mb < machine.total_mb
    assert machine.cores >= 1


def test_the_first_moment_has_no_load_rather_than_none_at_all(monkeypatch: pytest.MonkeyPatch):
    spent = iter([(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (20.0, 15.0, 5.0), (20.1, 15.1, 5.0)])
    monkeypatch.setattr(MachineSampler, "_spent", lambda _self: next(spent))
    monkeypatch.setattr("core.runtime.hardware.FRESH_SECONDS", 0.5)
    sampler = MachineSampler()
    sampler._cores = 2
    seen = []
    for _ in range(3):
        sampler._sampled = None
        machine = sampler.sample()
        seen.append((machine.cpu_percent, machine.process_percent))
    assert seen == [(None, None), (75.0, 25.0), (75.0, 25.0)]


def test_a_thread_that_asks_first_sees_the_load_too():
    """psutil's own percentages remember the time before for each thread."""
    sampler, seen = MachineSampler(), []
    sampler._before = (-1e4, -1e4, -1e4)
    asking = threading.Thread(target=lambda: seen.append(sampler.sample().cpu_percent))
    asking.start()
    asking.join()
    assert seen[0] is not None
    assert seen[0] > 0
