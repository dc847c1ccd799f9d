"""The energy that training takes, in joules, from counters that processors and GPUs keep themselves.

A CPU counts that of a whole package, whoever works on it (RAPL, by Linux's powercap), so each process is given the part
that it has of the time in which all cores of the machine were busy: what idles goes to those who work, and the parts
of all processes add up to the whole. A GPU counts that of a whole card (NVML), since its driver was loaded.

What cannot be read is None. The files of RAPL can be read by root alone on most machines: CVE-2020-8694.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

POWERCAP, STAT = Path("/sys/class/powercap"), Path("/proc/stat")
WATTS = 1000.0
"""No package takes more. A counter may have gone around twice where this would be enough for once."""
LOOK_SECONDS = 10.0
"""Between two looks at the counters: one of 65 kJ goes around in 65 s at the least."""
BUSY = slice(0, 3)
"""In /proc/stat: user, nice and system. Interrupts and what guests run are nobody's of ours, or in these already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """``counts`` are microjoules, one for each package; ``own`` and ``busy`` are seconds of cores, of this process and
    of all."""

    counts: tuple[int, ...]
    own: float
    busy: float
    at: float


@dataclass(frozen=True, slots=True)
class Package:
    """A counter that begins again at 0 after ``most`` microjoules."""

    folder: Path
    most: int

    def read(self) -> int:
        return int((self.folder / "energy_uj").read_text())


def packages(root: Path | None = None) -> tuple[Package, ...]:
    """All packages of this machine; none unless each can be read, as a part of the energy would pass for all of it."""
    try:
        folders = [folder for folder in sorted((root or POWERCAP).glob("intel-rapl:*")) if _is_package(folder)]
        found = tuple(Package(folder, int((folder / "max_energy_range_uj").read_text())) for folder in folders)
        for package in found:
            package.read()
        return found
    except (OSError, ValueError):
        return ()


def _is_package(folder: Path) -> bool:
    """Not a part of one, such as its cores or memory, nor the whole platform, which holds all of them."""
    return folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package")


def between(before: int, after: int, most: int) -> int:
    """What a counter went on by, in the meantime around once at most."""
    return after - before if after >= before else after - before + most


class CpuEnergy:
    """That of this process. To be looked at more often than a counter goes around, as ``look`` does when it is called
    after each step."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, own: Callable[[], float] = time.process_time
    ) -> None:
        self._packages, self._clock, self._own = packages(), clock, own
        self._joules: float | None = 0.0 if self._packages else None
        self._last = self._reading()

    def look(self) -> None:
        """Cheap, unless it is time."""
        if self._last and self._clock() - self._last.at >= LOOK_SECONDS:
            self._count()

    def joules(self) -> float | None:
        """Since this was made; None where a look at them failed, or came so late that a counter may have lost some."""
        self._count()
        return self._joules

    def _count(self) -> None:
        before, after = self._last, self._reading()
        spent = self._between(before, after) if before and after else None
        self._joules = None if spent is None or self._joules is None else self._joules + spent
        self._last = after

    def _between(self, before: Reading, after: Reading) -> float | None:
        most = [package.most for package in self._packages]
        if (after.at - before.at) * WATTS * 1e6 >= min(most):
            return None
        whole = sum(map(between, before.counts, after.counts, most)) / 1e6
        own, busy = after.own - before.own, after.busy - before.busy
        return whole * min(own / max(own, busy), 1.0) if own > 0 else 0.0

    def _reading(self) -> Reading | None:
        if not self._packages:
            return None
        try:
            counts = tuple(package.read() for package in self._packages)
            return Reading(counts=counts, own=self._own(), busy=busy_seconds(), at=self._clock())
        except (OSError, ValueError):
            return None


def busy_seconds() -> float:
    """Of all cores of the machine since it was started, also seen from a container. Raises OSError, ValueError."""
    name, *ticks = STAT.read_text().partition("\n")[0].split()
    if name != "cpu":
        raise ValueError(f"{STAT}: has no line of all CPUs")
    return sum(map(int, ticks[BUSY])) / os.sysconf("SC_CLK_TCK")


@cache
def nvml() -> ctypes.CDLL | None:
    """The library of the driver, ready to be asked."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library


def gpu_millijoules(uuid: str) -> int | None:
    """The counter of a whole card, such as ``GPU-8c1e...``; None of a card before Volta, or of a slice of one (MIG)."""
    library, device, count = nvml(), ctypes.c_void_p(), ctypes.c_ulonglong()
    if library is None or library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(device)):
        return None
    failed = library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(count))
    return None if failed else count.value


class GpuEnergy:
    """That of the whole card which this process has, or has a share of."""

    def __init__(self, device: torch.device, read: Callable[[str], int | None] = gpu_millijoules) -> None:
        self._read, self._uuid = read, _uuid(device)
        self._began = read(self._uuid) if self._uuid else None

    def joules(self) -> float | None:
        """Since this was made."""
        now = self._read(self._uuid) if self._began is not None else None
        return None if now is None or self._began is None or now < self._began else (now - self._began) / 1000


def _uuid(device: torch.device) -> str:
    """Empty where it is not known."""
    if device.type != "cuda":
        return ""
    known = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    return known if not known or known.startswith(("GPU-", "MIG-")) else f"GPU-{known}"
