"""Outcomes of trials that ended are filled in on real Ray, bit for bit, whatever dies meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cluster_user import CHAOS, CHAOS_TRIALS, Finished, User, free_port, wait_until
from s3_server import CREDENTIALS, s3_server
from test_extensions import SWEEP, TRIALS, installed, user_in, with_path
from test_nodes import QUICK, Node, listens
from written import RAMP

import orchestrator
from anytime_core.files import plain_files
from orchestrator.ledger.storage import storage_at

pytestmark = pytest.mark.cluster
WAIT = {"step": "outcomes", "do": "wait"}
NAME = "outcomes.parquet"

Contents = dict[str, bytes]


@pytest.fixture
def late(undisturbed: tuple[User, Finished], user: User) -> tuple[User, Contents]:
    """A user of a sweep that has ended, of which a third kept no outcomes, and those that training wrote."""
    user.sweep_file.write_text(CHAOS)
    shutil.copytree(undisturbed[0].storage / "trials", user.storage / "trials")
    written = contents(user)
    assert len(written) == CHAOS_TRIALS
    forget(user, written)
    return user, written


def contents(user: User) -> Contents:
    return {path.parent.name: path.read_bytes() for path in user.storage.glob(f"trials/*/{NAME}")}


def forget(user: User, written: Contents) -> list[Path]:
    """Deletes those of every third trial."""
    gone = [user.storage / "trials" / name / NAME for name in sorted(written)[::3]]
    for path in gone:
        path.unlink()
    return gone


def rows(there: int, written: int, failed: int = 0) -> str:
    """What the command prints for machines."""
    return f"outcomes,trials\nthere,{there}\nwritten,{written}\nnot finished,0\nfailed,{failed}\n"


def filled_by(user: User) -> set[int]:
    """The processes that have filled in some since faults began."""
    path = user.folder / "faults" / "filled"
    return {int(line.split()[1]) for line in path.read_text().splitlines()} if path.exists() else set()


def begun(user: User, trials: int, options: tuple[str, ...]) -> subprocess.Popen[str]:
    """The command, once so many trials wait in it."""
    for mark in user.folder.glob("faults/0-*"):
        mark.unlink()
    (user.folder / "faults" / "go").unlink(missing_ok=True)
    driver = user.start("outcomes", *options)
    wait_until(
        lambda: len(list(user.folder.glob("faults/0-*"))) == trials or driver.poll() is not None, "as many trials wait"
    )
    assert driver.poll() is None, driver.communicate()
    return driver


@pytest.mark.slow
def test_both_nodes_fill_them_in_and_where_one_is_lost_the_other_goes_on(late: tuple[User, Contents]) -> None:
    user, written = late
    user.environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"} | QUICK
    user.faults(WAIT | {"times": 2})
    go, port = user.folder / "faults" / "go", free_port()
    options = "--address", f"127.0.0.2:{port}", "--format", "csv"
    with Node(user, "127.0.0.2", port=port) as head:
        wait_until(lambda: listens(head.address), "the head listens")
        with Node(user, "127.0.0.3", head=head.address) as node:
            driver = begun(user, 2, options)
            on_head, on_node = head.pids(), node.pids()
            go.touch()
            stdout, stderr = driver.communicate(timeout=120)
            assert (driver.returncode, stdout) == (0, rows(16, 8)), stderr
            assert contents(user) == written
            assert filled_by(user) & on_head
            assert filled_by(user) & on_node

            forget(user, written)
            driver = begun(user, 2, options)
        go.touch()
        stdout, stderr = driver.communicate(timeout=120)
        assert (driver.returncode, stdout) == (0, rows(16, 8)), stderr
        assert "its process died; begun again" in stderr
        assert "Traceback" not in stderr
        assert contents(user) == written

        forget(user, written)
        driver = begun(user, 1, options)
    _, stderr = driver.communicate(timeout=120)
    assert driver.returncode == 1
    assert stderr.endswith("error: the head node of the Ray cluster is gone; the same command goes on\n")
    assert contents(user).items() <= written.items()


def test_a_worker_that_is_killed_costs_one_trials_work_and_two_commands_at_once_do_no_harm(
    late: tuple[User, Contents],
) -> None:
    user, written = late
    user.faults({"step": "outcomes", "do": "die", "times": 2})
    both = [user.start("outcomes", "--slots", "1", "--format", "csv") for _ in range(2)]
    said = [process.communicate(timeout=150) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum(stderr.count("its process died; begun again") for _, stderr in said) == 2
    assert {stdout for stdout, _ in said} == {rows(16, 8)}
    assert contents(user) == written
    again = user.run("outcomes", "--format", "csv")
    assert (again.code, again.stdout, again.stderr) == (0, rows(CHAOS_TRIALS, 0), "")
    assert {path.name for path in user.storage.iterdir()} == {"sweeps", "trials"}
    assert user.attempts() == dict.fromkeys(user.results(), 1)


def test_ctrl_c_stops_soon_and_the_same_command_goes_on(late: tuple[User, Contents]) -> None:
    user, written = late
    user.faults(WAIT | {"n": 1, "method": "exp3"})
    process = user.start("outcomes")
    wait_until(
        lambda: len(contents(user)) > 18 and any(user.folder.glob("faults/0-*")), "some are there, and one waits"
    )
    before = {path: path.stat().st_mtime_ns for path in user.storage.glob(f"trials/*/{NAME}")}
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert (process.returncode, stdout) == (130, ""), stderr
    assert "stopping; what is written stays (ctrl-C again stops at once)\n" in stderr
    assert stderr.endswith("error: interrupted; the same command goes on from here\n")
    assert "Traceback" not in stderr
    wait_until(lambda: not user.processes(), "nothing is left", 10)
    user.faults()
    done = user.run("outcomes")
    assert done.code == 0, done.stderr
    assert contents(user) == written
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_those_of_a_bucket_are_filled_in(late: tuple[User, Contents], monkeypatch: pytest.MonkeyPatch) -> None:
    user, written = late
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
        user.environment[name] = value
    with s3_server() as options:
        bucket, folder = storage_at(f"s3://bucket/team/runs{options}"), user.storage
        for path in plain_files(folder):
            bucket.write(str(path.relative_to(folder)), path.read_bytes())
        user.storage = bucket.location  # type: ignore[assignment]
        done = user.run("outcomes", "--format", "csv")
        assert (done.code, done.stdout) == (0, rows(16, 8)), done.stderr
        assert {name: bucket.read(f"trials/{name}/{NAME}") for name in bucket.names("trials")} == written
        assert user.run("outcomes", "--format", "csv").stdout == rows(CHAOS_TRIALS, 0)
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_node_without_an_extension_or_with_other_code_fills_in_nothing(tmp_path: Path) -> None:
    user, without, other = (user_in(tmp_path / name) for name in ("here", "without", "other"))
    user.sweep_file.write_text(SWEEP.format(extension="lab_of_two"))
    for each in (user, other):
        with_path(each, installed(tmp_path / f"site of {each.folder.name}", RAMP))
    changed_code(other, tmp_path / "changed")
    assert user.run("sweep").code == 0
    written = contents(user)
    for name in written:
        (user.storage / "trials" / name / NAME).unlink()
    said = []
    for node in (without, other):
        with Node(node, "127.0.0.2", port=free_port()) as head:
            wait_until(lambda address=head.address: listens(address), "the head listens")
            done = user.run("outcomes", "--address", head.address, "--format", "csv")
        assert (done.code, done.stdout) == (1, rows(0, 0, TRIALS)), done.stderr
        assert f"{TRIALS} of {TRIALS} trials lack outcomes" in done.stderr
        assert f"{TRIALS} trials, such as" in done.stderr, "one cause is one line"
        said.append(done.stderr)
    assert "lab_of_two is not installed here; every node needs it" in said[0]
    assert "install the same code on every node" in said[1]
    assert contents(user) == {}
    assert user.run("outcomes").code == 0
    assert contents(user) == written


def changed_code(user: User, folder: Path) -> None:
    """Gives the user's processes a copy of our packages that differs in a comment."""
    ours = Path(orchestrator.__file__).parents[1]
    for package in ("anytime_core", "orchestrator"):
        shutil.copytree(ours / package, folder / package)
    with open(folder / "anytime_core" / "config.py", "a") as file:
        file.write("# another\n")
    user.environment["PYTHONPATH"] = f"{folder}:{user.environment['PYTHONPATH']}"
