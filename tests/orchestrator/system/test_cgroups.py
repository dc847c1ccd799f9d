"""Limits of control groups are read from the kernel's files: here, from trees that look as those do in containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.system import cgroups

CONTAINER_2 = ("0::/\n", "30 29 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n")
JOB_2 = ("0::/system.slice/job_7/step_0\n", "30 29 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n")
CONTAINER_1 = (
    "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:pids:/docker/abc\n0::/\n",
    "31 30 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    "33 30 0:29 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n",
)
OTHER_NAMESPACE = ("0::/../../job_7\n", "30 29 0:26 / /sys/fs/cgroup\\040too ro - cgroup2 cgroup rw\n")


def tree(root: Path, kind: tuple[str, str], files: dict[str, str]) -> Path:
    """A fake ``/`` with these files below ``sys/fs``."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(kind[0])
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n" + kind[1])
    for name, text in files.items():
        path = root / "sys/fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("kind", "files", "quota"),
    [
        (CONTAINER_2, {"cgroup/cpu.max": "150000 100000"}, 1.5),
        (CONTAINER_2, {"cgroup/cpu.max": "max 100000"}, None),
        (JOB_2, {"cgroup/system.slice/job_7/cpu.max": "400000 100000"}, 4),
        (
            JOB_2,
            {
                "cgroup/system.slice/cpu.max": "200000 100000",
                "cgroup/system.slice/job_7/step_0/cpu.max": "400000 100000",
            },
            2,
        ),
        (
            CONTAINER_1,
            {"cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000", "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        (
            CONTAINER_1,
            {"cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1", "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"},
            None,
        ),
        (OTHER_NAMESPACE, {"cgroup too/cpu.max": "100000 100000"}, 1),
        (CONTAINER_2, {}, None),
    ],
)
def test_the_smallest_quota_on_the_way_up_counts(tmp_path: Path, kind, files, quota) -> None:
    assert cgroups.cpu_quota(tree(tmp_path, kind, files)) == quota


@pytest.mark.parametrize(
    ("kind", "files", "limit"),
    [
        (CONTAINER_2, {"cgroup/memory.max": "1073741824"}, 2**30),
        (CONTAINER_2, {"cgroup/memory.max": "max"}, None),
        (JOB_2, {"cgroup/system.slice/job_7/memory.max": "2147483648", "cgroup/memory.max": "max"}, 2**31),
        (CONTAINER_1, {"cgroup/memory/memory.limit_in_bytes": "1073741824"}, 2**30),
        (CONTAINER_1, {"cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 9223372036854771712),
    ],
)
def test_the_limit_of_memory_is_that_of_either_version(tmp_path: Path, kind, files, limit) -> None:
    assert cgroups.memory_limit(tree(tmp_path, kind, files)) == limit


@pytest.mark.parametrize(
    ("kind", "files", "left"),
    [
        (CONTAINER_2, {"cgroup/pids.max": "100", "cgroup/pids.current": "90"}, 10),
        (CONTAINER_1, {"cgroup/pids/pids.max": "max", "cgroup/pids/pids.current": "90"}, None),
        (CONTAINER_1, {"cgroup/pids/pids.max": "64", "cgroup/pids/pids.current": "4"}, 60),
    ],
)
def test_processes_left_are_those_that_the_group_may_still_start(tmp_path: Path, kind, files, left) -> None:
    assert cgroups.processes_left(tree(tmp_path, kind, files)) == left


def test_a_system_without_control_groups_limits_nothing(tmp_path: Path) -> None:
    assert (cgroups.cpu_quota(tmp_path), cgroups.memory_limit(tmp_path), cgroups.processes_left(tmp_path)) == (
        None,
    ) * 3
