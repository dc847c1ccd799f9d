"""A trial that makes no step for too long is noticed, by the caller's clock alone, and its process is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from orchestrator.execution.heartbeat import REMIND, STARTING, Beat, StallDetector, created, end_process


def beat(steps: int, token: str = "t") -> Beat:
    return Beat(node="n", pid=1, created=2.5, token=token, steps=steps)


def test_a_trial_that_makes_steps_is_let_be_however_long_it_takes() -> None:
    watch = StallDetector(stalled_after=10)
    assert not any(watch.stalled("a", beat(second // 9), second) for second in range(5000))


def test_a_trial_that_makes_none_is_told_and_told_again_later() -> None:
    watch = StallDetector(stalled_after=10)
    told = [second for second in range(100) if watch.stalled("a", beat(5), second)]
    assert told == [10, 10 + int(REMIND), 10 + 2 * int(REMIND)]


def test_until_its_first_step_a_trial_has_longer() -> None:
    watch = StallDetector(stalled_after=10)
    told = [second for second in range(int(STARTING) + 20) if watch.stalled("a", beat(0), second)]
    assert told == [int(STARTING) + 10]


def test_each_trial_and_each_attempt_has_its_own_time() -> None:
    watch = StallDetector(stalled_after=10)
    assert not watch.stalled("a", beat(5), 0)
    assert not watch.stalled("b", beat(5), 9)
    assert not watch.stalled("a", beat(5, "another attempt"), 12)
    assert watch.stalled("b", beat(5), 19)
    watch.forget("a")
    assert not watch.stalled("a", beat(5, "another attempt"), 100)


def test_a_beat_is_read_as_it_was_written() -> None:
    assert Beat.unpack(beat(7).pack()) == beat(7)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_is_ended_also_if_it_is_stopped_but_not_another_of_its_number(stopped: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        began = created(process.pid)
        if stopped:
            os.kill(process.pid, signal.SIGSTOP)
        assert not end_process(process.pid, began - 60)
        assert process.poll() is None
        assert end_process(process.pid, began)
        assert process.wait(10) == -signal.SIGKILL
    assert not end_process(process.pid, began)
