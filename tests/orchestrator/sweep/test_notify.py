"""Who asked for it is told, by a real HTTP server or a real command; what goes wrong is said, and secrets are not."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orchestrator.sweep import notify
from orchestrator.sweep.notify import Notifier, Notify

SECRET = "token-that-nobody-sees"


class Server:
    def __init__(self) -> None:
        self.bodies: list[dict[str, str]] = []
        self.status = 200
        self.sends_on_to = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(json.loads(body) | {"path": self.path, "type": self.headers["Content-Type"]})
                self.send_response(outer.status)
                if outer.sends_on_to:
                    self.send_header("Location", outer.sends_on_to)
                self.end_headers()

            def do_GET(self) -> None:
                outer.bodies.append({"path": self.path})

            def log_message(self, *words: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook/{SECRET}"


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def told(whom: Notify, event: notify.Event = "finished") -> list[str]:
    """What the user is told."""
    said: list[str] = []
    with Notifier(whom, "small", said.append) as notifier:
        notifier.tell(event, "all 6 trials have ended")
    return said


def test_a_webhook_is_posted_what_happened(server) -> None:
    assert told(Notify(webhook=server.url)) == []
    assert server.bodies == [
        {
            "event": "finished",
            "sweep": "small",
            "text": "small: all 6 trials have ended",
            "host": socket.gethostname(),
            "path": f"/hook/{SECRET}",
            "type": "application/json",
        }
    ]


def test_a_webhook_can_be_in_the_environment(server, monkeypatch) -> None:
    monkeypatch.setenv("HOOK", server.url)
    assert told(Notify(webhook="${HOOK}")) == []
    assert len(server.bodies) == 1


def test_a_command_reads_it(tmp_path: Path) -> None:
    script = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read()); print('noise')"
    path = tmp_path / "told"
    assert told(Notify(command=(sys.executable, "-c", script, str(path))), "method stopped") == []
    assert json.loads(path.read_text())["event"] == "method stopped"


def test_what_refuses_is_said_without_the_address(server) -> None:
    server.status = 404
    (said,) = told(Notify(webhook=server.url))
    assert said == "nobody was notified that small finished: webhook at 127.0.0.1: HTTP 404"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_webhook_that_sends_on_is_not_followed(server, status) -> None:
    server.status, server.sends_on_to = status, server.url.replace("hook", "elsewhere")
    (said,) = told(Notify(webhook=server.url))
    assert said == f"nobody was notified that small finished: webhook at 127.0.0.1: HTTP {status}"
    assert [body["path"] for body in server.bodies] == [f"/hook/{SECRET}"]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("whom", "said"),
    [
        (Notify(webhook=f"http://127.0.0.1:{closed_port()}/{SECRET}"), "webhook at 127.0.0.1: Connection refused"),
        (Notify(webhook=f"http://127.0.0.1/{SECRET} x"), "webhook: InvalidURL"),
        (Notify(webhook=f"http://[{SECRET}"), "webhook: ValueError"),
        (Notify(command=(sys.executable, "-c", "import sys; sys.exit(3)")), "exit code 3"),
        (Notify(command=("/no/such/program",)), "command /no/such/program: No such file or directory"),
    ],
)
def test_what_fails_fails_nothing_and_is_said(monkeypatch, whom, said) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    (line,) = told(whom)
    assert said in line
    assert SECRET not in line + repr(whom)


def test_a_variable_that_is_not_there_is_said_before_anything_runs() -> None:
    first, last = told(Notify(webhook="$NOT_THERE_AT_ALL"))
    assert (
        first == "nobody will be notified: webhook: its variable holds no address that begins with http:// or https://"
    )
    assert last.startswith("nobody was notified that small finished: webhook: its variable")


def test_one_that_hangs_is_waited_for_so_long_and_no_longer(monkeypatch) -> None:
    monkeypatch.setattr(notify, "SECONDS", 0.2)
    (line,) = told(Notify(command=(sys.executable, "-c", "import time; time.sleep(60)")))
    assert line.endswith("not done in 0.2 s")


def test_what_ends_a_sweep_by_an_error_is_told_and_ctrl_c_is_not(server) -> None:
    for error in (ValueError("no cluster"), KeyboardInterrupt()):
        with pytest.raises(type(error)), Notifier(Notify(webhook=server.url), "small", print):
            raise error
    assert [(body["event"], body["text"]) for body in server.bodies] == [("failed", "small: no cluster")]


def test_what_it_is_told_holds_no_secret_and_no_command_to_a_terminal(server) -> None:
    with pytest.raises(ValueError, match="hun/ter"), Notifier(Notify(webhook=server.url), "small", print):
        raise ValueError("postgresql://me:hun/ter@db: \x1b[2J")
    assert server.bodies[0]["text"] == r"small: postgresql://me:***@db: \x1b[2J"


def test_the_command_line_takes_an_address_or_a_command() -> None:
    assert notify.given("https://host/x") == Notify(webhook="https://host/x")
    assert notify.given("mail -s 'it is done' me") == Notify(command=("mail", "-s", "it is done", "me"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{{webhook: {SECRET}}}", "notify: webhook must begin with http:// or https://"),
        ("{webhook: https://host/$HOME}", "notify: webhook must begin with http:// or https://, or be $NAME of a"),
        ("{webhook: $HOOK/x}", "or be $NAME of a variable that holds it all"),
        ("{webhook: $AWS_SECRET_ACCESS_KEY}", "notify: webhook must not be $AWS_SECRET_ACCESS_KEY, whose name is that"),
        ("{webhook: '${GITHUB_TOKEN}'}", "webhook must not be $GITHUB_TOKEN"),
        ("{webhook: $PGPASSWORD}", "webhook must not be $PGPASSWORD"),
        ("{command: mail-me}", "notify.command: given 'mail-me'; must be a valid list"),
        ("{command: ['']}", "notify: command must begin with a program"),
        ("{webhok: x}", "notify.webhok: unknown key; allowed: command, webhook (did you mean webhook?)"),
    ],
)
def test_a_sweep_file_says_whom_to_tell(load_text, text, said) -> None:
    rest = "name: a\nnetworks: [{n: 1, c: 2}]\ndatasets: [digits]\nmethods: {ann: {}}\n"
    assert load_text(rest + "notify: {command: [ls], webhook: $HOOK}\n").notify.command == ("ls",)
    with pytest.raises(Exception, match="1 fault") as refused:
        load_text(rest + f"notify: {text}\n")
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
