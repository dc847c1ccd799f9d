"""What a machine has is asked of NVIDIA's own programs: here, of stand-ins that say what those say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.system import hardware
from orchestrator.system.hardware import Gpu, cpu_count, mps_runs, this_machine

Program = Callable[[str, str], None]
EIGHT = 'for i in 0 1 2 3 4 5 6 7; do echo "NVIDIA A100, 8192$i, 10, 550.54, GPU-${i}a"; done'
SLICES = """
case "$1" in
-L) echo 'GPU 0: NVIDIA A100 (UUID: GPU-0a)'
    echo '  MIG 3g.20gb     Device  0: (UUID: MIG-c7)'
    echo '  MIG 1g.5gb      Device  1: (UUID: MIG-d8)';;
*) echo 'NVIDIA A100, [N/A], [N/A], 550.54, GPU-0a';;
esac
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch) -> Program:
    """Puts a shell script of that name where programs are looked for, and nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return put


def test_without_a_driver_there_is_no_gpu_and_no_mps(program: Program) -> None:
    here = this_machine()
    assert (here.gpus, here.mps, here.cpus) == ((), False, cpu_count())
    assert here.cpu


def test_gpus_are_those_that_the_driver_lists(program: Program) -> None:
    program("nvidia-smi", "echo 'NVIDIA H100, 81559, 1024, 580.95'; echo 'NVIDIA H100, 81559, 0, 580.95'")
    assert [(gpu.name, gpu.memory >> 20, gpu.used >> 20) for gpu in this_machine().gpus] == [
        ("NVIDIA H100", 81559, 1024),
        ("NVIDIA H100", 81559, 0),
    ]
    assert this_machine(with_gpus=False).gpus == ()


@pytest.mark.parametrize(
    ("script", "runs"),
    [
        ("read command; test $command = get_server_list", True),
        ("echo 'Cannot find MPS control daemon process'; exit 1", False),
        ("echo 'Cannot find MPS control daemon process'", False),
    ],
)
def test_mps_runs_where_its_daemon_answers(program: Program, script, runs) -> None:
    program("nvidia-cuda-mps-control", script)
    assert mps_runs() is runs


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ("3", "3"),
        ("5,1", "51"),
        (" 0 , 1", "01"),
        ("GPU-2a", "2"),
        ("GPU-7,GPU-6a", "76"),
        ("", ""),
        ("-1", ""),
        ("NoDevFiles", ""),
        ("0,8,1", "0"),  # CUDA stops at what is no device
        ("1,1", ""),
        ("GPU-", ""),  # of more than one
    ],
)
def test_visible_gpus_are_those_that_cuda_shows(program: Program, monkeypatch, given, places) -> None:
    program("nvidia-smi", EIGHT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert "".join(gpu.uuid[4] for gpu in this_machine().gpus) == places


def test_a_slice_of_a_gpu_is_one_of_its_own_memory(program: Program, monkeypatch) -> None:
    program("nvidia-smi", SLICES)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-d8")
    assert this_machine().gpus == (Gpu(name="NVIDIA A100 MIG 1g.5gb", memory=5 << 30, driver="550.54", uuid="MIG-d8"),)


def test_what_hides_gpus_is_named(program: Program, monkeypatch) -> None:
    program("nvidia-smi", EIGHT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    assert "2 of 8 GPUs by CUDA_VISIBLE_DEVICES=3,4" in this_machine().limits


def test_a_task_of_rays_sees_the_gpus_of_its_node(tmp_path: Path, monkeypatch) -> None:
    """Its parent's environment says which."""
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with hardware.as_the_node():
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    environ = tmp_path / f"proc/{os.getppid()}/environ"
    environ.parent.mkdir(parents=True)
    environ.write_text("A=1\0CUDA_VISIBLE_DEVICES=2,3\0B=2\0")
    with hardware.as_the_node():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


# CPUs and memory


@pytest.fixture
def limited(tmp_path: Path, monkeypatch) -> Callable[[str, str], None]:
    """Puts this process in a container of version 2 with such limits, on a machine of 128 CPUs."""
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(128)))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "proc/self/mountinfo").write_text("30 29 0:26 / /cgroup ro - cgroup2 cgroup rw\n")

    def put(cpus: str, memory: str) -> None:
        (tmp_path / "cgroup").mkdir()
        (tmp_path / "cgroup/cpu.max").write_text(cpus)
        (tmp_path / "cgroup/memory.max").write_text(memory)

    return put


@pytest.mark.parametrize(
    ("quota", "count"), [("max 100000", 128), ("400000 100000", 4), ("150000 100000", 2), ("10000 100000", 1)]
)
def test_a_container_has_the_cpus_of_its_quota(limited, quota: str, count: int) -> None:
    limited(quota, "max")
    assert this_machine(with_gpus=False).cpus == cpu_count() == count


def test_the_tightest_bound_counts_and_is_named(limited, monkeypatch) -> None:
    limited("400000 100000", "max")
    assert this_machine(with_gpus=False).limits == ("4 of 128 CPUs by the cgroup's quota of 4 CPUs",)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 7, 9})
    assert this_machine(with_gpus=False).limits == ("3 of 128 CPUs by the CPU set of this process",)
    node = this_machine(with_gpus=False, slots=2)
    assert (node.cpus, node.limits) == (2, ("2 of 128 CPUs by --slots 2",))
    assert this_machine(with_gpus=False, slots=8).cpus == 3


def test_a_container_has_the_memory_of_its_limit(limited) -> None:
    limited("max 100000", str(2**30))
    node = this_machine(with_gpus=False)
    assert node.memory == 2**30
    assert node.limits[0].startswith("1.0 of ")


def test_ray_and_this_count_memory_alike() -> None:
    utils = pytest.importorskip("ray._common.utils")
    assert hardware.memory() <= utils.get_system_memory()
