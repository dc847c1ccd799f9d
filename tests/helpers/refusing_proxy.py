"""What may stand before an MLflow server: passes requests on, whatever host they name, and refuses some."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = ("host", "connection", "proxy-connection", "transfer-encoding", "content-length")
Rule = Callable[[str, str, int], int | None]
"""The status by which a request is refused, by its method, its path and the size of its body; None passes it on."""


class RefusingProxy:
    """Listens on ``port`` of loopback; ``rule`` may be set at any time, and ``refused`` lists what it refused."""

    def __init__(self, upstream: int) -> None:
        self.rule: Rule = lambda method, path, size: None
        self.refused: list[str] = []
        self._upstream = upstream
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                proxy._answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = _body(request)
        parts = urlsplit(request.path)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if refusal := self.rule(request.command, path, len(body)):
            self.refused.append(f"{request.command} {path}")
            page = f"<html><head><title>{refusal} {http.client.responses[refusal]}</title></head></html>"
            _send(request, refusal, {"Content-Type": "text/html"}, page.encode())
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=60)
        upstream.request(request.command, path, body or None, _kept(dict(request.headers)))
        response = upstream.getresponse()
        _send(request, response.status, _kept(dict(response.getheaders())), response.read())
        upstream.close()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in (request.headers.get("Transfer-Encoding") or ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline().strip(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _kept(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _send(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def proxy_before(upstream: int) -> Iterator[RefusingProxy]:
    proxy = RefusingProxy(upstream)
    thread = threading.Thread(target=proxy.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()
