"""Keeps everybody out of MLflow's UI who has no token: whoever else is logged in to a machine can reach its loopback.

MLflow serves it as an app of its own (``mlflow server --app-name``), which lies around MLflow's. A link with the token
sets a cookie and leads on to the page without it; programs send the token as MLflow's clients do, from
``MLFLOW_TRACKING_TOKEN``. All others are answered 403, whatever they ask for.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

APP = "orchestrate-ui"
"""Its name among MLflow's apps, as ``pyproject.toml`` declares it."""
TOKEN = "ORCHESTRATE_UI_TOKEN"
"""The variable that gives it to the server, as arguments can be read by all users of a machine."""
REFUSED = "This needs the link that `orchestrate ui` printed: it holds a token, which the browser then keeps.\n"

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]


def app() -> Gate:
    """MLflow's own application behind the gate, for its server. Needs the token in the environment."""
    from mlflow.server.fastapi_app import app as of_mlflow

    return Gate(of_mlflow, os.environ[TOKEN])


class Gate:
    """An ASGI application around another."""

    def __init__(self, inner: Application, token: str) -> None:
        self._inner, self._token = inner, token

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        if scope["type"] == "lifespan":  # not a request
            await self._inner(scope, receive, send)
        elif scope["type"] == "http" and self._is_link(scope):
            cookie = f"{_cookie(scope)}={self._token}; Path=/; HttpOnly; SameSite=Lax"
            await _answer(send, HTTPStatus.SEE_OTHER, {"location": "/", "set-cookie": cookie})
        elif self._is_known(scope):
            await self._inner(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, HTTPStatus.FORBIDDEN, {"content-type": "text/plain; charset=utf-8"}, REFUSED)
        else:  # a web socket, which no server accepts after this
            await send({"type": "websocket.close", "code": 1008})

    def _is_link(self, scope: Message) -> bool:
        """Whether this opens what ``link`` made. What follows the ``#`` stays in the browser."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        return scope["path"] == "/" and any(map(self._is_token, query.get("token", [])))

    def _is_known(self, scope: Message) -> bool:
        headers = [(name, value.decode("latin-1")) for name, value in scope["headers"]]
        kept = (_kept(value, _cookie(scope)) for name, value in headers if name == b"cookie")
        sent = (value.removeprefix("Bearer ") for name, value in headers if name == b"authorization")
        return any(map(self._is_token, (*kept, *sent)))

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def link(address: str, token: str, page: str) -> str:
    """Where a page of a server behind the gate is; ``page`` begins with ``#``."""
    return f"{address}/?token={token}{page}"


def _cookie(scope: Message) -> str:
    """A browser sends the cookies of one port of a host to all others, too; so each server's has another name."""
    return f"orchestrate-ui-{scope['server'][1]}"


def _kept(header: str, name: str) -> str:
    """The value of a cookie; empty where there is none."""
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


async def _answer(send: Send, status: HTTPStatus, headers: dict[str, str], body: str = "") -> None:
    headers |= {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
    encoded: Iterable[tuple[bytes, bytes]] = ((name.encode(), value.encode()) for name, value in headers.items())
    await send({"type": "http.response.start", "status": int(status), "headers": list(encoded)})
    await send({"type": "http.response.body", "body": body.encode()})
