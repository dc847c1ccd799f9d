"""A proxy before a server that is slow once: it passes the first of some requests on when the second has gone by."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Late:
    """``word`` is in the requests that are meant; ``passed`` counts those that have gone by."""

    target: tuple[str, int]
    word: bytes
    passed: int = 0
    second: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._connect, args=[listener.accept()[0]], daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.target) as server:
            answered = threading.Event()
            threading.Thread(target=self._answer, args=[server, client, answered], daemon=True).start()
            while request := _received(client):
                answered.clear()
                self._pass(request, server)
            answered.wait(20)  # or the server would drop what nobody waits for

    def _pass(self, request: bytes, server: socket.socket) -> None:
        number = 0
        if self.word in request:
            with self.lock:
                self.passed = number = self.passed + 1
        if number == 1:
            self.second.wait(60)
        server.sendall(request)
        if number == 2:
            self.second.set()

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket, answered: threading.Event) -> None:
        while answer := _received(server):
            answered.set()
            with suppress(OSError):
                client.sendall(answer)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


@contextmanager
def late(port: int, word: bytes) -> Iterator[tuple[str, Late]]:
    """The proxy's address, and what it does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Late(("127.0.0.1", port), word)
        threading.Thread(target=proxy.serve, args=[listener], daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", proxy
        listener.shutdown(socket.SHUT_RDWR)
