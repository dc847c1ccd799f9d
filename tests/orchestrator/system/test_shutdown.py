"""Ctrl-C and SIGTERM: once to stop when the state is saved, again to stop at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from orchestrator.system import shutdown as shutdowns
from orchestrator.system.shutdown import PATIENCE, STOPPING, Shutdown

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> Iterator[None]:
    """Whoever runs the tests under nohup, or in the background, has some of them ignored."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_is_a_request_and_the_second_an_interrupt(first: int, second: int, monkeypatch) -> None:
    monkeypatch.setattr(shutdowns, "ECHO", 0.0)
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
    with Shutdown(lambda text: None, patience=600.0) as shutdown:
        os.kill(os.getpid(), signal.SIGTERM)
        now += 599
        assert not shutdown.overdue
        now += 2
        assert shutdown.overdue


def test_afterwards_the_signals_are_as_they_were() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Shutdown(lambda text: None):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_sigterm_that_comes_twice_is_one() -> None:
    """`timeout` sends it to the command, and then to the group that the command is in."""
    with Shutdown(lambda text: None) as shutdown:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert shutdown.requested


def test_under_nohup_a_closed_terminal_stops_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Shutdown(lambda text: None) as shutdown:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not shutdown.requested
    finally:
        signal.signal(signal.SIGHUP, before)
