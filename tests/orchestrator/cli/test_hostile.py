"""What others wrote can do the user's terminal no harm, and no command shows a secret."""

from __future__ import annotations

import ast
import csv
import io
import json
from pathlib import Path

import pytest

import orchestrator
from orchestrator.ledger import checksummed
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\u2028\x9b31m"
WRITTEN = r"\x1b]0;owned\x07\x1b[2J\u202e\u2028\x9b31m"
URI = "postgresql://me:hun/ter#2@db/mlflow"
SECRETS = ("hun/ter#2", "hun%2Fter%232", "AKIAIOSFODNN7EXAMPLE", "s3cr3t-t0ken")
SEEN = set(HOSTILE)


def failed(storage: Path, sweep: Path, error: str, trace: str) -> str:
    """The id of the sweep's first trial, which failed so."""
    trial, ledger = load(sweep).trials[0], Ledger(storage)
    ledger.make()
    ledger.fail(ledger.begin(trial), error, trace, kind="bug", signature=error)
    return trial.id


@pytest.fixture
def by_others(tmp_path: Path, one: Path) -> str:
    """A failure as an earlier version, or somebody else, may have written it: not cleaned."""
    trial_id = failed(tmp_path / "runs", one, "PLAIN", "TRACE")
    path = tmp_path / "runs" / "trials" / trial_id / "failure.json"
    said = f"=1+1 {HOSTILE} {URI} AKIAIOSFODNN7EXAMPLE Authorization: Bearer s3cr3t-t0ken"
    written = {"error": said, "traceback": f"Traceback\n  {said}\nE: x"}
    path.write_bytes(checksummed.pack(checksummed.unpack(path.read_bytes()) | written))
    return trial_id


@pytest.mark.parametrize(
    "arguments",
    [
        *(["plan"], ["plan", "--format", "csv"], ["plan", "--format", "json"]),
        *(["status", "--wide"], ["status", "--format", "csv"], ["status", "--format", "json"]),
        *(["report"], ["report", "--format", "markdown"], ["report", "--format", "latex"]),
        *(["show", "ann"], ["show", "ann", "--format", "json"]),
    ],
    ids=" ".join,
)
def test_the_failures_of_others_are_shown_without_harm(arguments, by_others, one, orchestrate) -> None:
    command, *rest = arguments
    done = orchestrate(command, str(one), *rest)
    assert done.code == 0, done.err
    shown = done.out + done.err
    assert not SEEN & set(shown) - set("]0;owned[2J31m")
    assert [secret for secret in SECRETS if secret in shown] == []
    if command in ("status", "show") and "json" not in rest:
        assert WRITTEN in shown or WRITTEN.replace("\\u2028", " ") in shown  # a table has lines of its own
    if arguments == ["status", "--format", "csv"]:
        (row,) = csv.DictReader(io.StringIO(done.out))
        assert row["failure"].startswith("'=1+1 ")
    if arguments == ["status", "--format", "json"]:
        assert json.loads(done.out)[0]["failure"].startswith(f"=1+1 {HOSTILE} postgresql://me:***@db/mlflow")


@pytest.mark.parametrize("place", ["file", "key", "value", "option", "variable"])
def test_what_the_user_was_given_is_named_without_harm(place, tmp_path, one, orchestrate) -> None:
    path = tmp_path / ("\x1b[2J.yaml" if place == "file" else "given.yaml")
    text = one.read_text()
    if place == "key":
        text += '"\\e[2J": 1\n'
    if place == "value":
        text += 'weights: "\\e[2J"\n'
    path.write_text(text.replace("ann: {}", "ann: {}, bnn: 1") if place == "file" else text)
    options = ["--tracking-uri", "\x1b[2J"] if place == "option" else []
    variables = {"MLFLOW_TRACKING_URI": "\x1b[2J"} if place == "variable" else {}
    done = orchestrate("ui" if options or variables else "plan", str(path), *options, **variables)
    assert (done.code, done.out) == (2, "")
    assert "\x1b" not in done.err
    assert r"\x1b[2J" in done.err


@pytest.mark.parametrize(
    "uri", ["http://me:{}@127.0.0.1:1", "postgresql://me:{}@127.0.0.1:1/db", "ftp://me:{}@h", "http://me:{}@[::1"]
)
@pytest.mark.parametrize("password", ["hun/ter#2", "hun%2Fter%232", "hun ter@2", "12/hunter", "-hunter?"])
def test_no_message_holds_a_password(uri, password, one, orchestrate) -> None:
    for given in (["--tracking-uri", uri.format(password)], []):
        variables = {} if given else {"MLFLOW_TRACKING_URI": uri.format(password)}
        done = orchestrate("ui", str(one), "--debug", *given, **variables)
        assert done.code in (1, 2)
        assert password not in done.out + done.err
        assert "hun" not in done.err.replace("hundred", ""), done.err


def test_a_failure_is_written_down_without_secrets(tmp_path, one, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cr3t-t0ken")
    trial_id = failed(tmp_path / "runs", one, f"no {URI}", "Traceback\n s3cr3t-t0ken")
    written = (tmp_path / "runs" / "trials" / trial_id / "failure.json").read_text()
    assert [secret for secret in SECRETS if secret in written] == []
    assert "no postgresql://me:***@db/mlflow" in written


def test_there_is_one_way_to_print() -> None:
    """All that is printed goes through the doors that clean it."""
    doors = {"cli/output.py", "execution/console.py", "execution/progress.py", "execution/live_view.py"}
    alone = {"inference/onnx_runner.py", "cluster/probe.py"}  # these run without this package
    alone.add(
        "execution/worker.py"
    )  # what it prints goes to the trial's log, as what the trial prints, and is cleaned there
    root = Path(orchestrator.__file__).parent
    printing = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in ("print", "click.echo", "click.secho") or name.endswith((".print", ".print_exc")):
                printing.add(path.relative_to(root).as_posix())
    assert printing - alone <= doors
