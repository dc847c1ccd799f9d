"""What this process may use of its machine: CPUs, memory, GPUs, and whether NVIDIA MPS lets trials on one GPU overlap.

``plan``, ``doctor``, the packing and the cluster that a sweep starts all ask here, so that they agree. Torch is not
imported: a plan is made in a fraction of a second.
"""

from __future__ import annotations

import math
import os
import platform
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from orchestrator.system import cgroups

ROOT = Path("/")
"""Where the kernel's files are looked for; a test may put a tree of its own there."""
ASK_SECONDS = 20.0
QUERY = "name,memory.total,memory.used,driver_version,uuid"
VISIBLE = "CUDA_VISIBLE_DEVICES"
MIG = "MIG-"
GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """As its driver tells; memory in bytes, 0 where it does not tell."""

    name: str
    memory: int
    used: int = 0
    driver: str = ""
    uuid: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What one machine offers to trials. ``mps`` says whether its MPS daemon answers, ``limits`` in words what of the
    machine is not offered, and why; ``memory`` are bytes, 0 where they are not known."""

    name: str
    cpu: str
    cpus: float
    gpus: tuple[Gpu, ...] = ()
    mps: bool = False
    memory: int = 0
    limits: tuple[str, ...] = ()


def this_machine(*, with_gpus: bool = True, slots: int | None = None) -> Node:
    """As much of it as this process may use, and at most ``slots`` CPUs. Without its GPUs nothing is asked of their
    driver, which takes time."""
    everything = list_gpus() if with_gpus else ()
    gpus = visible(everything)
    notes = (_cpu_limit(slots), _memory_limit(), _gpu_limit(everything, gpus))
    return Node(
        name=socket.gethostname(),
        cpu=cpu_model(),
        cpus=cpu_count(slots),
        gpus=gpus,
        mps=bool(gpus) and mps_runs(),
        memory=memory(),
        limits=tuple(filter(None, notes)),
    )


# CPUs and memory


def cpu_count(slots: int | None = None) -> int:
    """CPUs that this process may use, at least 1. A fraction of one, as containers may have, counts as a whole."""
    return max(min(_cpu_bounds(slots).values()), 1)


def _cpu_bounds(slots: int | None) -> dict[str, int]:
    """What bounds the number of CPUs, the machine itself first, by the words for it."""
    bounds = {"": os.cpu_count() or 1}
    if hasattr(os, "sched_getaffinity"):  # `taskset`, SLURM, a container's CPU set
        bounds["the CPU set of this process"] = len(os.sched_getaffinity(0))
    if quota := cgroups.cpu_quota(ROOT):
        bounds[f"the cgroup's quota of {quota:g} CPUs"] = math.ceil(quota)
    if slots is not None:
        bounds[f"--slots {slots}"] = slots
    return bounds


def _cpu_limit(slots: int | None) -> str:
    bounds = _cpu_bounds(slots)
    tightest = min(bounds, key=bounds.__getitem__)
    return f"{bounds[tightest]} of {bounds['']} CPUs by {tightest}" if tightest else ""


def memory() -> int:
    """Bytes that this machine has, or its control group if that has less; Ray's own monitor counts them so too."""
    return min(_physical_memory(), cgroups.memory_limit(ROOT) or _physical_memory())


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _memory_limit() -> str:
    have, all_of_it = memory(), _physical_memory()
    return f"{have / GIB:.1f} of {all_of_it / GIB:.1f} GiB of memory by the cgroup's limit" if have < all_of_it else ""


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


# GPUs


def list_gpus() -> tuple[Gpu, ...]:
    """Those that nvidia-smi lists, in its order; none where there is no driver."""
    return parse_gpus(_nvidia_smi(f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"))


def _nvidia_smi(*options: str) -> str:
    try:
        done = subprocess.run(["nvidia-smi", *options], capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """From nvidia-smi's lines, in MiB; what it cannot tell, as of a card in MIG mode, counts as 0."""
    rows = [[value.strip() for value in line.split(",")] for line in text.splitlines() if line.count(",") in (3, 4)]
    return tuple(
        Gpu(name=name, memory=_mebibytes(memory), used=_mebibytes(used), driver=driver, uuid="".join(uuid))
        for name, memory, used, driver, *uuid in rows
    )


def visible(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Those that CUDA shows to this process. The rules are CUDA's: a name may be cut short, the first that names no
    device ends the list, and a device that is named twice hides all."""
    given = os.environ.get(VISIBLE)
    if given is None or not gpus:
        return tuple(gpus)
    names = [name.strip() for name in given.split(",")]
    slices = _slices(gpus) if names[0].startswith(MIG) else {}
    shown: list[str | int] = []
    for name in names:
        one = _only(name, list(slices)) if slices else _device(name, gpus)
        if one is None:
            break
        shown.append(one)
    if len({*shown}) < len(shown):
        return ()
    return tuple(slices[one] if isinstance(one, str) else gpus[one] for one in shown)


def _device(name: str, gpus: Sequence[Gpu]) -> int | None:
    """The place of a GPU that is named by its place, or by its UUID."""
    if name.isdecimal():
        return int(name) if int(name) < len(gpus) else None
    one = _only(name, [gpu.uuid for gpu in gpus])
    return None if one is None else [gpu.uuid for gpu in gpus].index(one)


def _only(prefix: str, names: Sequence[str]) -> str | None:
    matches = [name for name in names if prefix and name.startswith(prefix)]
    return matches[0] if len(matches) == 1 else None


def _slices(gpus: Sequence[Gpu]) -> dict[str, Gpu]:
    """The parts that cards in MIG mode are divided in, by their ids, each as a GPU: its memory is in its name."""
    slices, card = {}, -1
    for line in _nvidia_smi("-L").splitlines():
        if line.startswith("GPU "):
            card += 1
        elif (part := re.match(r"\s+MIG (\S*?(\d+)gb\S*)\s.*\(UUID: (MIG-[^)]+)\)", line)) and card < len(gpus):
            profile, size, uuid = part.groups()
            name = f"{gpus[card].name} MIG {profile}"
            slices[uuid] = replace(gpus[card], name=name, memory=int(size) * GIB, used=0, uuid=uuid)
    return slices


def _gpu_limit(everything: Sequence[Gpu], shown: Sequence[Gpu]) -> str:
    if (given := os.environ.get(VISIBLE)) is None or len(shown) == len(everything):
        return ""
    return f"{len(shown)} of {len(everything)} GPUs by {VISIBLE}={given}"


@contextmanager
def as_the_node() -> Iterator[None]:
    """In a task of Ray's: shows the GPUs that its node gives out. Ray hides them all from a task that asks for none;
    the process that started the worker has the variable as the user gave it."""
    hidden = os.environ.pop(VISIBLE, None)
    entries = cgroups.read(ROOT / f"proc/{os.getppid()}/environ").split("\0")
    given = dict(entry.partition("=")[::2] for entry in entries)
    if VISIBLE in given:
        os.environ[VISIBLE] = given[VISIBLE]
    try:
        yield
    finally:
        os.environ.pop(VISIBLE, None)
        if hidden is not None:
            os.environ[VISIBLE] = hidden


def other_gpus() -> bool:
    """Whether there are GPUs, such as AMD's, that nvidia-smi does not know."""
    return (ROOT / "dev/kfd").exists()


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
