"""What keeps Ray from starting is named, with what to do about it."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.system import hardware, limits


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control group of a container that limits nothing yet, on a machine with room for everything."""
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**40))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "proc/self/mountinfo").write_text("30 29 0:26 / /cgroup ro - cgroup2 cgroup rw\n")
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def test_where_nothing_is_short_nothing_is_said(container: Path) -> None:
    assert limits.certain() == limits.likely() == []


@pytest.mark.parametrize(("left", "certain", "likely"), [(10, 1, 1), (200, 0, 1), (1000, 0, 0)])
def test_too_few_processes_in_a_container(container: Path, left: int, certain: int, likely: int) -> None:
    (container / "pids.max").write_text(f"{left + 7}\n")
    (container / "pids.current").write_text("7\n")
    assert (len(limits.certain()), len(limits.likely())) == (certain, likely)
    assert all(f"{left} more processes and threads may begin here (the cgroup" in fault for fault in limits.likely())


def test_too_few_processes_of_a_user(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (20, 20) if what == resource.RLIMIT_NPROC else (2**20,) * 2)
    (fault,) = limits.certain()
    assert fault.startswith("20 more processes and threads may begin here (ulimit -u is 20), and Ray needs about 230")
    monkeypatch.setattr(os, "getuid", lambda: 0)  # whom the limit does not bind
    assert limits.certain() == []


def test_a_full_folder_and_few_files(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, 256))
    monkeypatch.setattr(os, "getuid", lambda: 0)
    files, shared, temporary = limits.likely()
    assert files.startswith("a process may open 256 files (ulimit -n)")
    assert shared.startswith("/dev/shm has 1 MiB left")
    assert "--shm-size" in shared
    assert "--shm-size" not in temporary


def test_no_bash_to_start_workers_with(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (fault,) = limits.certain()
    assert fault.startswith("there is no bash (PATH is '/nowhere'), with which Ray starts its workers: ")
