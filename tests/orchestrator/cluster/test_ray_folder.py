"""The files of a cluster of our own lie where the paths of its sockets fit, and nobody else can read them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from anytime_core.files import LocalFolder
from orchestrator import doctor
from orchestrator.cluster import ray_folder
from orchestrator.errors import ClusterError

LONG = "/tmp/" + "j" * 90


@pytest.fixture(autouse=True)
def unset(monkeypatch) -> None:
    for name in ray_folder.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def made() -> Path:
    folder = ray_folder.make()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(folder.parent)) <= ray_folder.LONGEST
    folder.rmdir()
    return folder.parent


def test_the_users_own_place_comes_first_and_rays_variable_before_the_systems(monkeypatch, tmp_path_factory) -> None:
    assert made() == Path("/tmp")
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    assert made() == Path("/dev/shm")
    monkeypatch.setenv("RAY_TMPDIR", "/var/tmp")
    assert made() == Path("/var/tmp")


@pytest.mark.parametrize("place", [LONG, "/proc/none", "relative", ""])
def test_a_place_that_cannot_be_used_is_passed_over(place, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", place)
    assert made() == Path("/tmp")


def test_the_logs_of_a_start_that_failed_outlive_the_folder(tmp_path) -> None:
    folder = ray_folder.make()
    logs = ray_folder.inner(folder) / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text("why")
    kept = ray_folder.keep_logs(folder, LocalFolder(tmp_path))
    assert Path(kept, "raylet.out").read_text() == "why"
    (logs / "raylet.out").unlink()
    for path in (logs, logs.parent, logs.parent.parent, folder):
        path.rmdir()
    ray_folder.keep_logs(folder, LocalFolder(tmp_path))  # nothing to keep is no error


def test_the_doctor_names_the_place_and_one_that_is_too_long(monkeypatch) -> None:
    assert doctor.own_cluster().found.endswith(", with its files in /tmp")
    monkeypatch.setenv("TMPDIR", LONG)
    check = doctor.own_cluster()
    assert check.state is doctor.State.OK
    assert f"in /tmp; TMPDIR is {len(LONG)} bytes long, of at most {ray_folder.LONGEST} that" in check.found


def test_where_there_is_no_place_at_all_both_say_what_is_allowed(monkeypatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", LONG)
    monkeypatch.setattr(ray_folder, "SHORT", ("/proc/none",))
    allowed = f"of at most {ray_folder.LONGEST} bytes"
    with pytest.raises(ClusterError, match=f"RAY_TMPDIR is 95 bytes long.*; /proc/none: No such file.*{allowed}"):
        ray_folder.make()
    check = doctor.own_cluster()
    assert check.state is doctor.State.PROBLEM
    assert allowed in check.mend


def test_folders_that_commands_left_are_found_and_those_in_use_are_not(tmp_path, monkeypatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # a socket's path must be
        monkeypatch.setenv("RAY_TMPDIR", short)
        made = [ray_folder.make() for _ in range(4)]
        for path in made[:3]:
            (path / "r" / "session_2026" / "sockets").mkdir(parents=True)
        left, answering, named, _ = made
        assert not set(made) & set(ray_folder.left()), "a Ray that begins is named by no process yet"
        for path in made:
            os.utime(path, (0, 0))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(answering / "r" / "session_2026" / "sockets" / "raylet"))
            server.listen()
            with subprocess.Popen([sys.executable, "-c", "input()", str(named)], stdin=subprocess.PIPE) as process:
                assert [path for path in ray_folder.left() if path in made] == [left]
                process.kill()
        assert {path for path in ray_folder.left() if path in made} == {left, answering, named}
        named.chmod(0o755)
        assert named not in ray_folder.left(), "others may look into it: none of ours"
