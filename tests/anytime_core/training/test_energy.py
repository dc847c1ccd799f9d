"""Energy: fake trees of powercap and a fake library of NVIDIA's, against sums by hand."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.config import DataConfig, NetworkConfig, TrialConfig
from anytime_core.training import energy
from anytime_core.training.energy import CpuEnergy, GpuEnergy, between, gpu_millijoules, packages
from anytime_core.training.trainer import train

MOST = 65_000_000_000


class Machine:
    """Two packages, each with a part of its own, and a clock. ``spend`` has a second or more pass."""

    def __init__(self, root: Path) -> None:
        self.root, self.now, self.own, self.busy, self.reads = root, 100.0, 10.0, 50.0, 0
        self.counts = [MOST - 5_000_000, 7_000_000]
        for name, says in (("", "package-"), (":0", "core")):
            for number in range(2):
                folder = root / "powercap" / f"intel-rapl:{number}{name}"
                folder.mkdir(parents=True)
                (folder / "name").write_text(f"{says}{number if not name else ''}\n")
                (folder / "max_energy_range_uj").write_text(f"{MOST}\n")
                (folder / "energy_uj").write_text("12345\n")
        other = root / "powercap" / "intel-rapl:2"  # the whole platform, which holds both packages
        other.mkdir()
        (other / "name").write_text("psys\n")
        self.spend(0, 0, 0, 0)

    def spend(self, joules: float, own: float, busy: float, seconds: float) -> None:
        """Each package takes so many joules; this process so many seconds of cores, and all processes together."""
        self.now, self.own, self.busy = self.now + seconds, self.own + own, self.busy + busy
        self.counts = [(count + round(joules * 1e6)) % MOST for count in self.counts]
        for number, count in enumerate(self.counts):
            (self.root / "powercap" / f"intel-rapl:{number}" / "energy_uj").write_text(f"{count}\n")
        ticks = round(self.busy * 100)
        (self.root / "stat").write_text(f"cpu  {ticks - 30} 10 20 99999 88 7 6 0 0 0\ncpu0 1 2 3\n")

    def energy(self) -> CpuEnergy:
        return CpuEnergy(clock=lambda: self.now, own=lambda: self.own)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "powercap")
    monkeypatch.setattr(energy, "STAT", tmp_path / "stat")
    monkeypatch.setattr(energy.os, "sysconf", lambda name: 100)
    return Machine(tmp_path)


@given(most=st.integers(1, 2**40), start=st.integers(0, 2**40), spent=st.integers(0, 2**40))
def test_a_counter_that_goes_around_once_loses_nothing(most: int, start: int, spent: int) -> None:
    start, spent = start % most, spent % most
    assert between(start, (start + spent) % most, most) == spent


def test_a_process_is_given_its_part_of_both_packages(machine: Machine) -> None:
    measured = machine.energy()
    machine.spend(joules=40, own=3, busy=12, seconds=4)  # the first counter goes around
    assert measured.joules() == pytest.approx(2 * 40 * 3 / 12)
    machine.spend(joules=10, own=1, busy=1, seconds=1)
    assert measured.joules() == pytest.approx(20 + 20)


def test_all_processes_of_a_busy_machine_together_take_what_it_takes(machine: Machine) -> None:
    mine, theirs = machine.energy(), CpuEnergy(clock=lambda: machine.now, own=lambda: machine.busy - machine.own)
    machine.spend(joules=30, own=5, busy=20, seconds=6)
    assert mine.joules() + theirs.joules() == pytest.approx(60)


def test_looks_in_between_keep_what_a_counter_loses(machine: Machine) -> None:
    looked, late = machine.energy(), machine.energy()
    for _ in range(10):
        machine.spend(joules=10_000, own=30, busy=30, seconds=30)
        looked.look()
    assert looked.joules() == pytest.approx(2 * 10 * 10_000)  # each counter has gone around once or more
    assert late.joules() is None, "nobody knows how often"


def test_a_process_whose_time_is_finer_than_the_machines_takes_all_at_most(machine: Machine) -> None:
    measured = machine.energy()
    machine.spend(joules=1, own=0.004, busy=0, seconds=0.01)
    assert measured.joules() == pytest.approx(2)
    idle = machine.energy()
    machine.spend(joules=1, own=0, busy=0, seconds=1)
    assert idle.joules() == 0


def _gone(machine: Machine) -> None:
    for path in (machine.root / "powercap").glob("*/energy_uj"):
        path.unlink()


def _nonsense(machine: Machine) -> None:
    (machine.root / "powercap" / "intel-rapl:1" / "energy_uj").write_text("?\n")


def _no_stat(machine: Machine) -> None:
    (machine.root / "stat").write_text("intr 7\n")


@pytest.mark.parametrize("harm", [_gone, _nonsense, _no_stat])
def test_what_cannot_be_read_is_unknown_and_stays_so(machine: Machine, harm: Callable[[Machine], None]) -> None:
    measured = machine.energy()
    machine.spend(joules=1, own=1, busy=1, seconds=1)
    harm(machine)
    assert machine.energy().joules() is None
    assert measured.joules() is None
    if harm is not _gone:
        machine.spend(joules=1, own=1, busy=1, seconds=1)
        assert measured.joules() is None


def test_a_machine_without_counters_has_none(tmp_path: Path) -> None:
    assert packages(tmp_path / "nothing") == ()


class Library:
    """What libnvidia-ml.so.1 is asked."""

    def __init__(self, counts: dict[bytes, int]) -> None:
        self._counts = counts

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, device: object) -> int:  # noqa: N802
        self._uuid = uuid
        return 0 if uuid in self._counts else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, device: object, count: object) -> int:  # noqa: N802
        millijoules = self._counts[self._uuid]
        ctypes.cast(count, ctypes.POINTER(ctypes.c_ulonglong))[0] = abs(millijoules)
        return 0 if millijoules >= 0 else 3


def test_a_card_is_asked_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "nvml", lambda: Library({b"GPU-1": 2**40, b"GPU-old": -1}))
    assert gpu_millijoules("GPU-1") == 2**40
    assert gpu_millijoules("GPU-old") is None
    assert gpu_millijoules("MIG-1") is None
    monkeypatch.setattr(energy, "nvml", lambda: None)
    assert gpu_millijoules("GPU-1") is None


def test_a_gpu_takes_what_its_counter_went_on_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="8c1e"))
    counts, asked = iter([5_000, 12_500, 100]), []

    def read(uuid: str) -> int:
        asked.append(uuid)
        return next(counts)

    measured = GpuEnergy(torch.device("cuda", 0), read)
    assert measured.joules() == 7.5
    assert measured.joules() is None, "the driver was loaded anew"
    assert set(asked) == {"GPU-8c1e"}
    assert GpuEnergy(torch.device("cpu"), read).joules() is None


def test_each_epoch_says_what_it_took_and_its_numbers_stay_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrialConfig(network=NetworkConfig(n=1, c=2), data=DataConfig(name="digits", pad=1))
    config = replace(config, training=replace(config.training, steps=30, batch_size=64))

    def spending() -> None:
        machine.spend(joules=2, own=1, busy=1, seconds=20)

    real = energy.CpuEnergy
    monkeypatch.setattr(
        "anytime_core.training.usage.CpuEnergy", lambda: real(clock=lambda: machine.now, own=lambda: machine.own)
    )
    measured: list = []
    with_counters = train(config, measured.append, on_step=spending)
    assert [epoch.cpu_joules for epoch in measured] == pytest.approx([4 * 22, 4 * 8])
    assert {epoch.gpu_joules for epoch in measured} == {None}
    monkeypatch.undo()
    unmeasured: list = []
    without = train(config, unmeasured.append)
    assert without.errors == with_counters.errors
