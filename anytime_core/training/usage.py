"""What training takes of its machine, as the system tells: for people who watch it, and for no decision here."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from anytime_core.training.energy import CpuEnergy, GpuEnergy

STATM = Path("/proc/self/statm")


class Pause:
    """What passes between two epochs, and before the first, as seconds by field of ``EpochMetrics``."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._since, self._saving = time.perf_counter(), 0.0

    @contextmanager
    def saving(self) -> Iterator[None]:
        """The block writes a checkpoint."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._saving += time.perf_counter() - began

    def seconds(self) -> dict[str, float]:
        rest = time.perf_counter() - self._since - self._saving
        return {"checkpoint_seconds": self._saving, "waiting_seconds": max(rest, 0.0)}


class Meter:
    """Measures this process, and what it has of its ``device``, from when it is made. What cannot be told is None."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device if device.type == "cuda" else None
        self._began, self._cpu = time.perf_counter(), time.process_time()
        self._cpu_energy = CpuEnergy()
        self._gpu_energy = GpuEnergy(device)

    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def look(self) -> None:
        """To be called every few seconds: counters of energy begin anew."""
        self._cpu_energy.look()

    def joules(self) -> dict[str, float | None]:
        """By field of ``EpochMetrics``."""
        return {"cpu_joules": self._cpu_energy.joules(), "gpu_joules": self._gpu_energy.joules()}

    def cpu_percent(self) -> float:
        """100 is one core that was busy all the time."""
        return 100 * (time.process_time() - self._cpu) / max(self.seconds(), 1e-9)

    def memory(self) -> float:
        """Bytes of the process that are in RAM; where the system does not say, the most there ever were."""
        try:
            return float(int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        except OSError:
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return float(most if sys.platform == "darwin" else most * 1024)

    def gpu_percent(self) -> float | None:
        """How much of the last second or less the GPU was busy, whoever it worked for."""
        if self._gpu is None:
            return None
        try:
            return float(torch.cuda.utilization(self._gpu))
        except Exception:  # whatever NVML raises where its driver tells nothing, as of a card in MIG mode
            return None

    def gpu_memory(self) -> float | None:
        """Bytes that torch holds of the GPU for this process, the memory of its graphs included, CUDA's own not."""
        return None if self._gpu is None else float(torch.cuda.memory_reserved(self._gpu))
