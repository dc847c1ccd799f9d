"""Nobody gets past the gate but who has the token, and who has it sees what is behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.tracking.gate import Gate, link

TOKEN = "kV3-x_9"
COOKIE = f"orchestrate-ui-5000={TOKEN}"


async def _inside(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "inside", "path": scope.get("path")})


def ask(path: str = "/", query: str = "", *, kind: str = "http", **headers: str) -> list[dict[str, Any]]:
    """What the gate sends to one request."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "server": ("127.0.0.1", 5000),
    }
    asyncio.run(Gate(_inside, TOKEN)(scope, None, send))
    return sent


@pytest.mark.parametrize("path", ["/", "/health", "/version", "/static-files/x.js", "/ajax-api/2.0/x", "/api/2.0/x"])
@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("token=", {}),
        ("token=other", {"cookie": "orchestrate-ui-5000="}),
        ("", {"cookie": f"orchestrate-ui-5001={TOKEN}; orchestrate-ui-5000=other"}),
        ("", {"cookie": "\xff=;;;"}),
        ("", {"authorization": "Bearer "}),
        ("", {"authorization": f"Basic {TOKEN}"}),
        ("token=%FF%00", {"authorization": "Bearer \xe9"}),
    ],
)
def test_whoever_has_no_token_is_refused(path: str, query: str, headers: dict[str, str]) -> None:
    start, body = ask(path, query, **headers)
    assert start["status"] == 403
    assert TOKEN not in str((start, body))
    assert b"`orchestrate ui`" in body["body"]


@pytest.mark.parametrize("headers", [{"cookie": f"a=b; {COOKIE}"}, {"authorization": f"Bearer {TOKEN}"}])
def test_whoever_has_the_token_is_let_in(headers: dict[str, str]) -> None:
    assert ask("/ajax-api/2.0/x", "token=other", **headers) == [{"type": "inside", "path": "/ajax-api/2.0/x"}]


def test_the_link_sets_the_cookie_and_takes_the_token_out_of_the_address() -> None:
    assert link("http://[::1]:5000", TOKEN, "#/x?a=b") == f"http://[::1]:5000/?token={TOKEN}#/x?a=b"
    start, _ = ask("/", f"token={TOKEN}")
    headers = dict(start["headers"])
    assert (start["status"], headers[b"location"]) == (303, b"/")
    assert headers[b"set-cookie"].decode().split("; ") == [COOKIE, "Path=/", "HttpOnly", "SameSite=Lax"]


def test_the_token_in_another_address_opens_nothing() -> None:
    assert ask("/ajax-api/2.0/x", f"token={TOKEN}")[0]["status"] == 403


def test_web_sockets_are_refused_and_the_server_s_own_messages_are_not() -> None:
    assert ask(kind="websocket") == [{"type": "websocket.close", "code": 1008}]
    assert ask(kind="lifespan") == [{"type": "inside", "path": "/"}]
