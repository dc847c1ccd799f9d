"""The program starts fast, tells each mistake in one message, and ends with the right exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load

ORCHESTRATE = str(Path(sys.executable).with_name("orchestrate"))
TABLE6 = str(Path(__file__).parents[3] / "sweeps" / "table6.yaml")
QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")
TRACEBACK = "Traceback (most recent call last)"


MODULES = """
import sys
from orchestrator import cli
sys.argv = ["orchestrate", *sys.argv[1:]]
try:
    cli.main()
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["--help"], {"torch", "ray", "mlflow", "pandas", "pydantic", "numpy", "pyarrow", "sklearn"}),
        (["sweep", "--help"], {"torch", "ray", "mlflow", "pandas", "pydantic"}),
        (["predict", "--help"], {"torch", "ray", "mlflow", "pandas", "pydantic", "onnx"}),
        (["plan", TABLE6], {"torch", "ray", "mlflow", "pandas"}),
        (["status", TABLE6], {"torch", "ray", "mlflow", "pandas"}),
        (["report", TABLE6], {"torch", "ray", "mlflow", "pandas"}),
        (["show", TABLE6, "aann (7,16) cifar10"], {"torch", "ray", "mlflow", "pandas"}),
    ],
)
def test_a_command_that_trains_nothing_imports_nothing_that_trains(tmp_path, environment, arguments, forbidden) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = set(done.stderr.split())
    assert "click" in imported
    assert not imported & forbidden


@pytest.mark.parametrize(
    ("command", "content", "message"),
    [
        ("plan", "a: [1\n", "is not valid YAML: line 2, column 1: expected ',' or ']'"),
        ("status", "name: a\nnetwork: 3\n", "4 faults\n  line 1: datasets: is missing\n"),
        ("report", "", "1 fault\n  line 1: must be a mapping with the keys name, "),
        ("sweep", "name: a\nname: b\n", "1 fault\n  line 2: name: is given twice, first on line 1\n"),
    ],
)
def test_a_broken_sweep_is_one_message_and_exit_code_2(orchestrate, tmp_path, command, content, message) -> None:
    (tmp_path / "broken.yaml").write_text(content)
    done = orchestrate(command, "broken.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: broken.yaml: {message}")
    assert TRACEBACK not in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "missing.yaml"], "error: missing.yaml: cannot be read: No such file or directory\n"),
        (["plan", "."], "error: .: cannot be read: Is a directory\n"),
        (["plan"], "Missing argument 'SWEEP.yaml'"),
        (["plan", TABLE6, "--format", "xml"], "'xml' is not one of 'table', 'json', 'csv'"),
        (["plan", TABLE6, "--fromat", "json"], "No such option"),
        (["plan", TABLE6, "--storage", TABLE6], "is a file"),
        (["show", TABLE6], "Missing argument 'CELL...'"),
        (["show", TABLE6, "abcd", "--format", "csv"], "'csv' is not one of 'table', 'json'"),
        (["show", TABLE6, "aann (7,16)"], "'aann (7,16)' may be 3 trials; give more words, or the id, of one:\n"),
        (["show", TABLE6, "aann (7,16) mnist"], "no cell is 'aann (7,16) mnist'; words of cells are:\n"),
        (["reproduce", TABLE6, "aann (7,16) cifar10"], "has not finished: it is pending in "),
        (["report", TABLE6, "--table", "losses"], "'losses' is not one of 'errors', 'wins'"),
        (["sweep", QUICKSTART, "--cpus", "0"], "0 is not in the range x>=1"),
        (["sweep", QUICKSTART, "--gpus", "2"], "2.0 is not in the range 0<=x<=1"),
        (
            ["plan", QUICKSTART, "--address", "localhost"],
            "error: --address localhost: allowed: local (this machine alone), auto, HOST:PORT, ray://HOST:PORT\n",
        ),
        (["sweep", QUICKSTART, "--slots", "0"], "0 is not in the range x>=1"),
        (
            ["sweep", QUICKSTART, "--slots", "2", "--address", "there:6379"],
            "error: --slots 2 limits what a sweep uses of this machine, and --address there:6379 names a cluster; ",
        ),
        (["ui", QUICKSTART, "--tracking-uri", "http://["], "tracking URI 'http://[': Invalid IPv6 URL"),
        (["ui", QUICKSTART, "--port", "0"], "0 is not in the range 1<=x<=65535"),
        (["paln", TABLE6], "No such command 'paln'"),
        (["data", "check", "mnist"], "'mnist' is not one of 'cifar10', "),
        ([], "Usage: orchestrate"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(orchestrate, arguments, message) -> None:
    done = orchestrate(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert TRACEBACK not in done.err


@pytest.mark.parametrize(
    ("command", "variable", "value", "message"),
    [
        ("plan", "RAY_ADDRESS", "nowhere", "error: RAY_ADDRESS=nowhere: allowed: local (this machine alone), auto, "),
        ("ui", "MLFLOW_TRACKING_URI", "databricks", "error: MLFLOW_TRACKING_URI=databricks: must begin with one of "),
        ("ui", "MLFLOW_TRACKING_URI", "ftp://me:secret@h/x", "error: MLFLOW_TRACKING_URI=ftp://me:***@h/x: must begin"),
        ("plan", "ORCHESTRATE_STORAGE", "ftp://x", "s3://BUCKET/PREFIX (given by ORCHESTRATE_STORAGE)\n"),
        ("sweep", "ORCHESTRATE_NOTIFY", "'", "error: --notify: No closing quotation (given by ORCHESTRATE_NOTIFY)\n"),
    ],
)
def test_a_value_of_the_environment_is_named_with_its_variable(orchestrate, command, variable, value, message) -> None:
    done = orchestrate(command, QUICKSTART, **{variable: value})
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize(("given", "variable"), [("local", ""), ("", "local"), ("auto", "local"), ("local", "there:1")])
def test_local_is_this_machine_alone_as_for_ray(orchestrate, given, variable) -> None:
    address = ["--address", given] if given else []
    done = orchestrate("plan", QUICKSTART, *address, RAY_ADDRESS=variable)
    assert "makespan on 1 node" in done.out


def test_a_traceback_is_shown_if_asked_for(orchestrate) -> None:
    done = orchestrate("plan", "missing.yaml", "--debug")
    assert done.code == 2
    assert done.err.startswith(TRACEBACK)
    assert done.err.endswith("\nerror: missing.yaml: cannot be read: No such file or directory\n")


UNEXPECTED = """
import sys
from orchestrator import cli; from orchestrator.planning import plan
plan.make = lambda *_, **__: 1 / 0
sys.argv = ["orchestrate", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_a_bug_is_one_message_too_and_exit_code_1(tmp_path, environment, debug) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNEXPECTED, "plan", TABLE6, *debug],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    hint = "" if debug else "\n(give --debug to see where)"
    assert done.stderr.endswith(f"error: unexpected ZeroDivisionError: division by zero{hint}\n")
    assert (TRACEBACK in done.stderr) == bool(debug)


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_a_reader_that_goes_away_is_no_reason_to_complain(tmp_path, environment, form) -> None:
    """As in ``orchestrate plan ... | head -1``; the JSON is more than a pipe holds."""
    with subprocess.Popen(
        [ORCHESTRATE, "plan", TABLE6, "--format", form],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_version_is_told(orchestrate) -> None:
    done = orchestrate("--version")
    assert done.code == 0
    assert re.fullmatch(r"orchestrate, version \d+\.\d+\.\d+ \([\w.+-]{12,}\)\n", done.out)


def test_a_damaged_file_is_told_once_and_the_rest_is_shown(orchestrate, tmp_path, one) -> None:
    (trial,) = load(one).trials
    ledger = Ledger(tmp_path / "runs")
    ledger.begin(trial)
    path = ledger.folder(trial.id) / "attempt.json"
    path.write_bytes(path.read_bytes().replace(b'"number": 1', b'"number": 7'))
    for command in ("plan", "status", "report", "show"):
        done = orchestrate(command, "one.yaml", *(["ann"] if command == "show" else []))
        assert done.code == 0
        assert done.err == f"warning: {path} is damaged: checksum does not match\n"
        assert "pending" in done.out or "never ran" in done.out
