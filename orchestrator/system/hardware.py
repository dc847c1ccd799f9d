"""What trials can run on: the CPUs and GPUs of this machine, and whether NVIDIA MPS lets trials on one GPU overlap.

Torch is not imported: a plan is made in a fraction of a second.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ASK_SECONDS = 20.0
QUERY = "name,memory.total,memory.used,driver_version"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """As its driver tells; memory in bytes, 0 where it does not tell."""

    name: str
    memory: int
    used: int = 0
    driver: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What one machine offers to trials. ``mps`` says whether its MPS daemon answers."""

    name: str
    cpu: str
    cpus: float
    gpus: tuple[Gpu, ...] = ()
    mps: bool = False


def this_machine(*, with_gpus: bool = True) -> Node:
    """Without its GPUs nothing is asked of their driver, which takes time."""
    gpus = find_gpus() if with_gpus else ()
    return Node(name=socket.gethostname(), cpu=cpu_model(), cpus=cpu_count(), gpus=gpus, mps=bool(gpus) and mps_runs())


def cpu_count() -> int:
    """As many as a cluster of this machine alone would have."""
    return os.cpu_count() or 1


@lru_cache
def cpu_model() -> str:
    """Such as ``Intel(R) Xeon(R) CPU @ 2.20GHz``; where the system does not say, its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (
        value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == "model name"
    )
    return next(filter(None, models), platform.processor() or platform.machine())


def find_gpus() -> tuple[Gpu, ...]:
    """Those that nvidia-smi lists; none where there is no driver."""
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(said)


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """From nvidia-smi's lines, in MiB; what it cannot tell, as of a card in MIG mode, counts as 0."""
    rows = [[value.strip() for value in line.split(",")] for line in text.splitlines() if line.count(",") == 3]
    return tuple(
        Gpu(name=name, memory=_mebibytes(memory), used=_mebibytes(used), driver=driver)
        for name, memory, used, driver in rows
    )


def _mebibytes(text: str) -> int:
    return int(text) * 2**20 if text.isdigit() else 0


def mps_runs() -> bool:
    """Whether this machine's MPS control daemon answers: without it, programs that share a GPU take turns on it."""
    command = ["nvidia-cuda-mps-control"]
    try:
        asked = subprocess.run(
            command, input="get_server_list\n", capture_output=True, text=True, timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.returncode == 0 and "cannot find mps" not in (asked.stdout + asked.stderr).lower()
