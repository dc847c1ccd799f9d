"""A store that accepts requests and does not answer is named, once for each time that it falls silent."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from contextlib import suppress

import pytest

from orchestrator.errors import StorageError
from orchestrator.ledger import silence
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.silence import Silence

WORDS = "s3://bucket/runs: no answer for"


@pytest.fixture(autouse=True)
def impatient(monkeypatch, caplog) -> None:
    monkeypatch.setattr(silence, "PATIENCE", 0.1)
    monkeypatch.setattr(silence, "LOOK", 0.02)
    caplog.set_level(logging.WARNING)


def test_it_is_said_once_while_it_lasts_and_again_after_an_answer(caplog) -> None:
    watched = Silence()
    for times in (1, 2):
        with watched.waiting_for("s3://bucket/runs"):
            time.sleep(0.5)
        assert caplog.text.count(WORDS) == times
        time.sleep(0.1)


def test_requests_that_are_answered_in_time_are_no_silence(caplog) -> None:
    watched = Silence()
    for _ in range(20):
        with watched.waiting_for("s3://bucket/runs"):
            time.sleep(0.02)
    assert not caplog.text


def test_the_thread_ends_with_the_last_request() -> None:
    watched = Silence()
    with watched.waiting_for("s3://bucket/runs"):
        assert any(thread.name == "silence" for thread in threading.enumerate())
    time.sleep(0.3)
    assert not watched._watching


def test_a_store_that_accepts_and_never_answers_is_named(caplog, tmp_path, monkeypatch) -> None:
    """For real: a port that nobody reads from."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"s3://bucket/runs?endpoint_override=http://127.0.0.1:{server.getsockname()[1]}&region=us-east-1"
        asking = threading.Thread(target=_ask, args=[address], daemon=True)
        asking.start()
        for _ in range(200):
            if "no answer for" in caplog.text:
                break
            time.sleep(0.05)
    assert re.search(r"s3://bucket/runs\S*: no answer for 0.1 s; waiting on", caplog.text)
    asking.join(60)


def _ask(address: str) -> None:
    with suppress(OSError, StorageError):
        Ledger(address).begun()
