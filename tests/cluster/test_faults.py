"""What goes wrong with trials is told apart and handled by the sweep's policy; nothing is left behind by anything.

The faults are real, in the workers' processes: faults/sitecustomize.py.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest
from cluster_user import ONE_FIGURE, Finished, User, free_port, wait_until

from anytime_core.training.trainer import train
from orchestrator.sweepfile.load import load

pytestmark = pytest.mark.cluster

GRID = """
networks: [{n: 2, c: 4}, {n: 1, c: 4}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann}
  exp3: {strategy: exp3}
  opt: {regime: opt, at: [1]}
training: {steps: 66, batch_size: 64, learning_rate: {0: 0.1, 40: 0.01}}
retries: {lost: 1, same_failure: 1, stalled_after: 5}
"""
PAIR = """
networks: [{n: 1, c: 4}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {steps: 66, batch_size: 64, learning_rate: {0: 0.1}}
"""
HANGS = {"method": "ann", "step": 30, "do": "loop"}


def rows(user: User, command: str) -> dict[tuple[str, int], dict]:
    """What a command says of each trial, by method and n."""
    return {(row["method"], row["n"]): row for row in json.loads(user.run(command, "--format", "json").stdout)}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, Finished]:
    """A sweep in which everything goes wrong, a little of it for good. To be read, not changed."""
    user = User(tmp_path_factory.mktemp("faulty"), f"name: faulty\n{GRID}{ONE_FIGURE}\n")
    user.faults(
        {"method": "ann", "n": 1, "step": 30, "do": "loop", "times": 1},
        {"method": "ann", "n": 2, "step": 30, "do": "stop", "times": 1},
        {"method": "aann", "step": 5, "do": "bug"},
        {"method": "exp3", "n": 1, "step": 30, "do": "memory", "times": 1},
        {"method": "exp3", "n": 2, "step": 30, "do": "storage", "times": 1},
        {"method": "opt", "n": 1, "step": 30, "do": "die"},
    )
    return user, user.run("sweep")


def test_what_may_go_well_again_is_tried_again_and_the_rest_is_not(faulty: tuple[User, Finished]) -> None:
    user, done = faulty
    status = rows(user, "status")
    assert {cell: row["state"] for cell, row in status.items()} == {
        ("ann", 1): "finished",
        ("ann", 2): "finished",
        ("aann", 1): "pending",
        ("aann", 2): "failed",
        ("exp3", 1): "finished",
        ("exp3", 2): "finished",
        ("opt", 1): "failed",
        ("opt", 2): "finished",
    }
    attempts = {cell: row["attempts"] for cell, row in status.items()}
    assert attempts[("ann", 1)] == attempts[("ann", 2)] == attempts[("exp3", 1)] == attempts[("exp3", 2)] == 2
    assert (attempts[("aann", 1)], attempts[("aann", 2)], attempts[("opt", 1)]) == (0, 1, 2)
    assert (status[("aann", 2)]["kind"], status[("opt", 1)]["kind"]) == ("bug", "bug")
    assert done.stderr.count("it made no step; starts again from its last checkpoint") == 2
    assert "storage failed; 2 trials tried again in " in done.stderr


def test_what_was_tried_again_has_the_bits_of_a_trial_that_nothing_disturbed(faulty: tuple[User, Finished]) -> None:
    user, _ = faulty
    results = user.results()
    for trial in load(user.sweep_file).trials:
        if trial.cell.method in ("ann", "exp3"):
            errors = train(trial.config, device="cpu", threads=1).errors
            assert results[trial.id]["result"]["errors"] == list(errors)


def test_the_end_says_what_failed_and_why_and_how_to_retry_just_that(faulty: tuple[User, Finished]) -> None:
    user, done = faulty
    assert done.code == 1
    assert "Traceback" not in done.stderr
    assert "no more trials of aann are begun: 1 failed in the same way" in done.stderr
    end = done.stderr.partition("error: ")[2].splitlines()
    assert end[0] == "3 of 8 trials have not ended; the same command goes on with them"
    assert end[1].endswith(f"orchestrate sweep {user.sweep_file} --storage {user.storage}")
    (bug,) = [line for line in end if "aann (2,4) digits seed 0" in line]
    assert "failed (bug) at step 0 of 66: ZeroDivisionError: injected" in bug
    (died,) = [line for line in end if "opt (1,4) digits unit 3 seed 0" in line]
    assert "its process died, 2 times in a row without a new checkpoint" in died
    (held,) = [line for line in end if "aann (1,4) digits seed 0" in line]
    assert "not begun: too many of aann failed in the same way" in held
    assert end[-1] == f"{end[1]} --retry-failed"
    assert user.processes() == []


def test_what_a_trial_said_is_there_also_of_a_process_that_was_killed(faulty: tuple[User, Finished]) -> None:
    user, _ = faulty
    killed = user.run("logs", "ann", "1,4").stdout.splitlines()  # it hung, until the driver ended it by SIGKILL
    assert killed[0].startswith("== attempt 1 on ")
    assert "loops for ever" in killed
    failed = user.run("logs", "aann", "2,4").stdout
    assert "Traceback (most recent call last):" in failed
    assert failed.splitlines()[-1].startswith("ZeroDivisionError: injected in process ")


def test_the_failed_ones_alone_are_tried_again(faulty: tuple[User, Finished]) -> None:
    user, _ = faulty
    user.faults()
    done = user.run("sweep", "--retry-failed")
    assert "8 trials: 5 finished, 2 to retry, 1 left as they are" in done.stderr
    assert {cell for cell, row in rows(user, "status").items() if row["state"] == "pending"} == {("aann", 1)}
    assert done.code == 1
    assert "1 of 8 trials have not ended" in done.stderr
    assert "aann (1,4) digits seed 0" in done.stderr
    assert "--retry-failed" not in done.stderr  # nothing failed


def test_what_ray_ends_for_want_of_memory_gets_a_larger_share_and_is_given_up(tmp_path: Path) -> None:
    """Ray is told that hardly any memory is free, so it ends every worker, often before that can ask what it may do."""
    user = User(tmp_path, f"name: small\n{PAIR}{ONE_FIGURE}\nretries: {{memory: 1}}\n")
    user.environment |= {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    done = user.run("sweep")
    assert done.code == 1
    assert done.stderr.count("failed ann (1,4) digits seed 0: its node ran low on memory") == 2
    assert "2 trials, such as" in done.stderr
    assert "failed (memory) at step 0 of 66: its node ran low on memory" in done.stderr


def test_sweeps_that_share_trials_train_them_once_and_one_takes_over_from_the_other(tmp_path: Path) -> None:
    """The first sweep hangs; the second trains the rest, waits, and goes on when the first is killed."""
    first, second = (User(tmp_path / name, f"name: {name}\n{PAIR}{ONE_FIGURE}\n") for name in ("first", "second"))
    second.storage = first.storage
    first.faults(HANGS)
    hanging = first.start("sweep")
    with ended(hanging):
        wait_until(lambda: len(first.results()) == 1 and len(first.steps()) == 2, "the first sweep hangs")
        waiting = second.start("sweep")
        with ended(waiting):
            said = ""
            assert waiting.stderr
            while "waiting for 1 trial that sweep first trains now" not in said:
                line = waiting.stderr.readline()
                assert line, said
                said += line
            assert max(first.attempts().values()) == 1
            hanging.kill()
            wait_until(lambda: not first.processes(), "nothing is left of a killed driver", 10)
            _, stderr = waiting.communicate(timeout=90)
    assert waiting.returncode == 0, stderr
    assert sorted(first.attempts().values()) == [1, 2]
    assert len(first.results()) == 2


def test_ctrl_c_once_waits_for_a_checkpoint_and_twice_does_not(tmp_path: Path) -> None:
    """The first is a SIGTERM here, which is the same; the trial that runs never comes to its checkpoint."""
    user = User(tmp_path, f"name: small\n{PAIR}{ONE_FIGURE}\n")
    user.faults(HANGS)
    process = user.start("sweep")
    with ended(process):
        wait_until(lambda: len(user.results()) == 1 and len(user.steps()) == 2, "a trial hangs")
        process.terminate()
        assert process.stderr
        said = ""
        while "stopping: running trials save their state (ctrl-C again stops at once)" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; the same command goes on from here" in stderr
    wait_until(lambda: not user.processes(), "nothing is left", 5)


def test_a_ui_that_is_killed_leaves_no_server(finished: tuple[User, Finished]) -> None:
    user, _ = finished
    browsing = user.start("ui", "--port", str(free_port()))
    with ended(browsing):
        wait_until(lambda: len(psutil.Process(browsing.pid).children()) >= 2, "the server starts")
        browsing.kill()
        wait_until(lambda: not user.processes(), "nothing is left", 10)


class ended:  # noqa: N801
    """Kills a process with all of its session, whatever the block does."""

    def __init__(self, process) -> None:
        self._process = process

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            stream.close()
