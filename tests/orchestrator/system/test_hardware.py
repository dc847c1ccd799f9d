"""What a machine has is asked of NVIDIA's own programs: here, of stand-ins that say what those say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.system.hardware import cpu_count, find_gpus, mps_runs, this_machine

Program = Callable[[str, str], None]


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
    assert [(gpu.name, gpu.memory >> 20, gpu.used >> 20) for gpu in find_gpus()] == [
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
