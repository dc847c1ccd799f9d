"""Notices that the head of a cluster is gone before Ray does, which would then end this process with words of its own.

Until then Ray's calls wait for it, and the thread that makes them cannot be woken.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 1.0
"""Seconds between two looks."""
TIMEOUT = 2.0
LIMIT = "RAY_gcs_rpc_server_reconnect_timeout_s"
OWN = 3.0
"""Seconds: the head of a cluster of our own does not come back."""
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Says nothing of the head."""
SOONER = 0.75
"""Another's may, as long as Ray waits for it: so we wait for that part of the time."""


def patience(*, own: bool) -> float:
    """Seconds after which a head that is not there is gone for good."""
    limit = float(os.environ.get(LIMIT) or 60)
    return min(OWN, SOONER * limit) if own else SOONER * limit


@contextmanager
def watched(address: str, seconds: float, lost: Callable[[], object]) -> Iterator[None]:
    """``lost`` is called, from a thread, once nobody has listened at HOST:PORT for so long; the block does not end
    while it runs."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=[address, seconds, lost, over], name="head", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(address: str, seconds: float, lost: Callable[[], object], over: threading.Event) -> None:
    seen = time.monotonic()
    while not over.wait(EVERY):
        if _listens(address):
            seen = time.monotonic()
        elif time.monotonic() - seen >= seconds:
            lost()
            return


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT).close()
    except OSError as error:
        return error.errno in OURS
    return True
