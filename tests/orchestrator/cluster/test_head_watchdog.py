"""A head that is gone is noticed, one that is away for a moment is waited for."""

from __future__ import annotations

import socket
import threading

import pytest

from orchestrator.cluster import head_watchdog


def test_a_head_that_is_gone_is_told_once_and_one_that_comes_back_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_watchdog, "EVERY", 0.01)
    lost = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "{}:{}".format(*listener.getsockname())
        with head_watchdog.watched(address, 0.0, lost.set):
            assert not lost.wait(0.2)
    with head_watchdog.watched(address, 60.0, lost.set):
        assert not lost.wait(0.2)
    with head_watchdog.watched(address, 0.05, lost.set):
        assert lost.wait(10)


def test_it_is_given_up_before_ray_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(head_watchdog.LIMIT, raising=False)
    assert head_watchdog.patience(own=True) < head_watchdog.patience(own=False) < 60
    monkeypatch.setenv(head_watchdog.LIMIT, "2")
    assert head_watchdog.patience(own=True) == head_watchdog.patience(own=False) < 2
