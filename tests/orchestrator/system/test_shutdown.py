"""Ctrl-C and SIGTERM: once to stop when the state is saved, again to stop at once."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest

from orchestrator.system import shutdown as shutdowns
from orchestrator.system.shutdown import PATIENCE, STOPPING, Shutdown


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_a_request_and_the_second_an_interrupt(first: int, second: int) -> None:
    said: list[str] = []
    with Shutdown(said.append) as shutdown:
        assert not shutdown.requested
        assert not shutdown.wait(0)
        os.kill(os.getpid(), first)
        assert shutdown.requested
        assert shutdown.requested
        assert shutdown.wait(600)  # does not
        assert said == [STOPPING]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), second)


def test_trials_are_waited_for_for_so_long(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(shutdowns, "time", SimpleNamespace(monotonic=lambda: now))
    with Shutdown(lambda text: None) as shutdown:
        now += 1000
        assert not shutdown.overdue
        os.kill(os.getpid(), signal.SIGINT)
        now += PATIENCE
        assert not shutdown.overdue
        now += 1
        assert shutdown.overdue


def test_afterwards_the_signals_are_as_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Shutdown(lambda text: None):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
