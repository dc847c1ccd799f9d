"""Tells somebody that a sweep has ended, or that a part of it has stopped: by a webhook, a command, or both.

Both are given ``{"event", "sweep", "text", "host"}`` as JSON, which chat programs that look for ``text`` show as it is:
a webhook as the body of a POST, a command on its standard input. A notification that fails is told, and fails nothing
else. Where a webhook leads is a secret: no message names more of it than its host.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from orchestrator.errors import UsageError
from orchestrator.text import shown

SECONDS = 20.0
"""That a webhook or a command may take."""
MORE_SECONDS = 5.0
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
CREDENTIAL = re.compile(r"^(AWS|AZURE|GOOGLE)_|SECRET|TOKEN|PASSW|PWD|KEY|CREDENTIAL|COOKIE|AUTH", re.IGNORECASE)
"""Names of variables that open something else than a chat."""
NO_ADDRESS = "webhook: its variable holds no address that begins with http:// or https://"
WEB = ("http://", "https://")

Event = Literal["finished", "stopped", "failed", "method stopped", "decided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Notify:
    """Whom to tell. ``webhook`` is an address, or ``$NAME`` of the environment that holds it."""

    command: tuple[str, ...] = ()
    webhook: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        faults = []
        variable = VARIABLE.fullmatch(self.webhook)
        if self.webhook and not variable and (not self.webhook.startswith(WEB) or VARIABLE.search(self.webhook)):
            faults.append("webhook must begin with http:// or https://, or be $NAME of a variable that holds it all")
        if variable and CREDENTIAL.search(name := variable[1] or variable[2]):
            faults.append(f"webhook must not be ${name}, whose name is that of a password or key; such as $CHAT_HOOK")
        if self.command and not self.command[0]:
            faults.append("command must begin with a program")
        if faults:
            raise ValueError("; ".join(faults))


def given(text: str) -> Notify:
    """What ``--notify`` says: an address, or a command as a shell reads it. Raises ValueError."""
    return Notify(webhook=text) if text.startswith((*WEB, "$")) else Notify(command=tuple(shlex.split(text)))


def checked(text: str | None) -> Notify | None:
    """The same; None for no text. Raises UsageError."""
    try:
        return given(text) if text else None
    except ValueError as error:
        raise UsageError(f"--notify: {error}") from error


class Notifier:
    """For one command on one sweep. ``say`` tells the user what could not be delivered. A context manager: what ends it
    by an exception is told too, but for ctrl-C."""

    def __init__(self, notify: Notify, sweep: str, say: Callable[[str], object]) -> None:
        self._notify, self._sweep, self._say = notify, sweep, say
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Notifier:
        if (webhook := self._notify.webhook) and not _address(webhook).startswith(WEB):
            self._say(f"nobody will be notified: {NO_ADDRESS}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self.tell("failed", str(error) or type(error).__name__)
        self.wait()

    def wait(self) -> None:
        """Until all have been told, or it has taken too long."""
        for thread in self._threads:
            thread.join(SECONDS + MORE_SECONDS)

    def tell(self, event: Event, text: str) -> None:
        """At once, without waiting for it: training goes on."""
        content = {
            "event": event,
            "sweep": self._sweep,
            "text": shown(f"{self._sweep}: {text}"),
            "host": socket.gethostname(),
        }
        for send, where in ((_post, self._notify.webhook), (_run, self._notify.command)):
            if where:
                thread = threading.Thread(target=self._send, args=(send, where, content), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _send(self, send: Callable[..., str], where: object, content: dict[str, str]) -> None:
        if fault := send(where, content):
            self._say(f"nobody was notified that {self._sweep} {content['event']}: {fault}")


class _NoRedirects(HTTPRedirectHandler):
    """A server that was told must not choose who is told next."""

    def redirect_request(self, *_: object) -> None:
        return None


def _address(webhook: str) -> str:
    """With the value of its variable, if it is one."""
    variable = VARIABLE.fullmatch(webhook)
    return os.environ.get(variable[1] or variable[2], "") if variable else webhook


def _post(webhook: str, content: dict[str, str]) -> str:
    """Returns why it could not be delivered, "" if it was."""
    if not (address := _address(webhook)).startswith(WEB):
        return NO_ADDRESS
    try:
        host = urlsplit(address).hostname
        request = Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
        with build_opener(_NoRedirects).open(request, timeout=SECONDS):
            return ""
    except HTTPError as error:
        return f"webhook at {host}: HTTP {error.code}"
    except URLError as error:
        return f"webhook at {host}: {_reason(error.reason)}"
    except OSError as error:
        return f"webhook at {host}: {_reason(error)}"
    except Exception as error:  # such as InvalidURL, whose text holds the address
        return f"webhook: {type(error).__name__}"


def _reason(error: object) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror) if strerror else "no answer" if isinstance(error, TimeoutError) else type(error).__name__


def _run(command: tuple[str, ...], content: dict[str, str]) -> str:
    """The same of a command. Its output is nobody's."""
    try:
        done = subprocess.run(
            command,
            input=json.dumps(content),
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"command {command[0]}: not done in {SECONDS:g} s"
    except (OSError, ValueError) as error:
        return f"command {command[0]}: {getattr(error, 'strerror', None) or type(error).__name__}"
    return "" if done.returncode == 0 else f"command {command[0]}: exit code {done.returncode}"
