"""An MLflow server, or what stands before it, that refuses some of what it is sent: a real server and a proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from refusing_proxy import RefusingProxy
from told import Told, made_in

from orchestrator import doctor
from orchestrator.doctor import State
from orchestrator.sweep.trial import TrialRecord
from orchestrator.tracking import delivered, uris
from orchestrator.tracking.refusals import cause
from orchestrator.tracking.tracker import MODELS

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend
LIMIT = 20_000
"""In bytes: between what the API is sent, and a network of the sweep."""
FILES = {"curves.svg", "metrics.parquet"}


@contextmanager
def saying(words: bytes) -> Iterator[str]:
    """The address of a server that answers whatever it is asked by these words."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(words)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def files(told: Told) -> list[set[str]]:
    experiment = delivered.read(told.ledger, "small", told.uri).experiment
    runs = told.client.search_runs([experiment], "tags.trial_id != ''")
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all("error/at_1.00" in run.data.metrics for run in runs)
    return [{file.path for file in told.client.list_artifacts(run.info.run_id)} for run in runs]


def is_file(method: str, path: str) -> bool:
    return method == "PUT" and "mlflow-artifacts" in path


def test_networks_above_a_proxys_limit_keep_nothing_else_out(
    trained: Told, proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.rule = lambda method, path, size: 413 if size > LIMIT else None
    tracker = trained.try_to_tell()
    (said,) = tracker.troubles()
    assert tracker.outage is None
    assert f"MLflow at {proxy.uri} refused 2 items, such as the network of " in said
    assert "MB: 413 Request Entity Too Large" in said
    assert "nginx: client_max_body_size" in said
    assert f"{MODELS}=0.00" in said
    assert files(trained) == [FILES, FILES]
    assert len(proxy.refused) == 2

    passed: list[str] = []
    proxy.rule = lambda method, path, size: (
        passed.append(path) if is_file(method, path) and size <= LIMIT else (413 if size > LIMIT else None)
    )
    assert trained.try_to_tell().troubles() == [said]
    assert len(proxy.refused) == 4, "each refused file is tried once by a command"
    assert passed == []

    monkeypatch.setenv(MODELS, said.partition(f"{MODELS}=")[2].partition(" ")[0])
    trained.tell()
    assert len(proxy.refused) == 4
    assert files(trained) == [FILES, FILES]


def test_what_was_refused_is_there_once_it_is_taken(trained: Told, proxy: RefusingProxy) -> None:
    proxy.rule = lambda method, path, size: 413 if size > LIMIT else None
    trained.try_to_tell()
    proxy.rule = lambda method, path, size: None
    trained.tell()
    assert files(trained) == [FILES | {"model"}] * 2
    runs = trained.client.search_runs([delivered.read(trained.ledger, "small", trained.uri).experiment])
    assert not any("refused" in run.data.tags for run in runs)


def test_a_place_that_takes_no_files_keeps_no_numbers_out(trained: Told, proxy: RefusingProxy) -> None:
    proxy.rule = lambda method, path, size: 403 if is_file(method, path) else None
    tracker = trained.try_to_tell()
    (said,) = tracker.troubles()
    assert f"MLflow at {proxy.uri} answers, but the place of its files, mlflow-artifacts:/" in said
    assert ": 403 Forbidden; mend that place; the same command tries these again" in said
    assert files(trained) == [set(), set()]
    assert len(proxy.refused) <= 2, "one file stands for all of them, at the beginning and at the end"
    proxy.rule = lambda method, path, size: None
    trained.tell()
    assert files(trained) == [FILES | {"model"}] * 2


@pytest.mark.parametrize("times", [1, 100])
def test_a_run_that_is_refused_is_told_again_and_keeps_no_other_out(
    trained: Told, proxy: RefusingProxy, times: int
) -> None:
    proxy.rule = lambda method, path, size: 400 if path.endswith("log-batch") and len(proxy.refused) < times else None
    tracker = trained.try_to_tell()
    assert tracker.outage is None
    if times > 1:
        assert len(proxy.refused) == 4, "both trials, at the beginning and at the end"
        (said,) = tracker.troubles()
        assert f"MLflow at {proxy.uri} refused 2 items, such as {trained.sweep.trials[0].cell.label}" in said
        assert "400 Bad Request" in said
        proxy.rule = lambda method, path, size: None
    trained.tell()
    assert files(trained) == [FILES | {"model"}] * 2


def test_a_report_of_which_a_file_is_refused_is_told_again(trained: Told, proxy: RefusingProxy, tmp_path: Path) -> None:
    report = tmp_path / "report"
    (report / "figures").mkdir(parents=True)
    (report / "report.html").write_bytes(b" " * LIMIT * 2)
    (report / "figures" / "errors.svg").write_text("small")
    tracker = trained.tell()
    proxy.rule = lambda method, path, size: 413 if size > LIMIT else None
    tracker.summarise(report, {})
    (said,) = tracker.troubles()
    assert "refused report.html of the report, 0.04 MB: 413 Request Entity Too Large" in said
    assert MODELS not in said
    assert not delivered.is_current(trained.ledger, trained.sweep, trained.uri)
    proxy.rule = lambda method, path, size: None
    again = trained.tell()
    again.summarise(report, {})
    assert again.troubles() == []
    assert delivered.is_current(trained.ledger, trained.sweep, trained.uri)


def test_the_doctor_tries_to_write_a_file_and_leaves_none(proxy: RefusingProxy) -> None:
    assert doctor.tracking(proxy.uri).state is State.OK
    proxy.rule = lambda method, path, size: 403 if is_file(method, path) else None
    check = doctor.tracking(proxy.uri)
    assert check.state is State.PROBLEM
    assert "answers, but files cannot be written to mlflow-artifacts:/" in check.found
    assert check.found.endswith("403 Forbidden")
    assert "--artifacts-destination" in check.mend


@pytest.mark.parametrize(("limit", "least", "remedy"), [(2**20, "1.5 MB", "1.49"), (10**4, "0.1 MB", "0.099")])
def test_the_doctor_finds_from_which_size_on_a_proxy_refuses_networks(
    proxy: RefusingProxy, limit: int, least: str, remedy: str
) -> None:
    proxy.rule = lambda method, path, size: 413 if size > limit else None
    sizes = (100_000, 200_000, 800_000, 1_500_000, 2_500_000, 3_500_000)
    check = doctor.tracking(proxy.uri, sizes)
    assert check.state is State.PROBLEM
    assert check.found == f"{proxy.uri}: answers, but a network of {least} is refused: 413 Request Entity Too Large"
    assert "client_max_body_size" in check.mend
    assert check.mend.endswith(f"{MODELS}={remedy} (MB)")
    assert len(proxy.refused) <= 4  # not every size is sent
    proxy.rule = lambda method, path, size: None
    assert doctor.tracking(proxy.uri, sizes).state is State.OK


def test_without_a_sweep_the_doctor_tries_what_a_proxy_refuses_by_default(
    proxy: RefusingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sizes() -> tuple[int, ...]:
        settings = doctor.settings_of(None, storage=tmp_path, data_root=tmp_path, tracking_uri=proxy.uri, address=None)
        return settings.networks

    proxy.rule = lambda method, path, size: 413 if size > 2**20 else None
    assert doctor.tracking(proxy.uri, sizes()).state is State.PROBLEM
    monkeypatch.setenv(MODELS, "0.5")
    assert doctor.tracking(proxy.uri, sizes()).state is State.OK


def test_a_server_that_is_known_to_a_proxy_alone_is_reached(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = "http://mlflow.corp.example:5000"
    monkeypatch.setenv("http_proxy", proxy.uri)
    assert doctor.tracking(hidden).state is State.OK
    monkeypatch.setenv("no_proxy", "corp.example")
    with pytest.raises(OSError, match=r"not known|resolution"):
        uris.check_listening(hidden)


@pytest.mark.parametrize(("said", "expected"), [(b"2.9.2", (2, 9, 2)), (b"3.0.0rc1", (3, 0, 0)), (b"<html>", ())])
def test_a_server_says_its_version(said: bytes, expected: tuple[int, ...]) -> None:
    with saying(said) as uri:
        assert uris.server_version(uri) == expected


def test_a_server_that_is_too_old_is_told_before_anything_is_sent(
    tmp_path: Path, empty: Path, make_record: Callable[..., TrialRecord], make_epochs: Callable
) -> None:
    with saying(b"2.9.2") as uri:
        told = made_in(tmp_path, empty, uri)
        told.train(make_record, lambda count: make_epochs(1, count))
        tracker = told.try_to_tell()
        check = doctor.tracking(uri)
    fault = "the server is MLflow 2.9.2, must be 3.0 or later"
    assert told.said == [f"MLflow at {uri} cannot be used: {fault}; training goes on without it"]
    (line,) = tracker.troubles()
    assert line.startswith(f"MLflow at {uri} lacks 2 trials: {fault}")
    assert (check.state, check.found) == (State.PROBLEM, f"{uri}: {fault}")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            Exception(
                "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block)\n"
                "(sqlite3.OperationalError) database or disk is full\n[SQL: UPDATE]"
            ),
            "database or disk is full",
        ),
        (
            Exception(
                "API request to endpoint /api/a failed with error code 404 != 200. Response body: '<!doctype html>\n"
                "<html lang=en>\n<title>404 Not Found</title>'"
            ),
            "API request to endpoint /api/a failed with error code 404 != 200: 404 Not Found",
        ),
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b: Permission denied"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_cause_is_told_and_not_who_passed_it_on(error: Exception, expected: str) -> None:
    assert cause(error) == expected
