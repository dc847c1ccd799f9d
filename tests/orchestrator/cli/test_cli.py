"""What a user types, and sees: fast, one message for each mistake, and output that other programs can read."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.cli import cli
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger import checksummed as sealed
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load

REPOSITORY = Path(__file__).parents[3]
ORCHESTRATE = str(Path(sys.executable).with_name("orchestrate"))
TABLE6 = str(REPOSITORY / "sweeps" / "table6.yaml")
QUICKSTART = str(REPOSITORY / "sweeps" / "quickstart.yaml")

TRACEBACK = "Traceback (most recent call last)"


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """The user's own, less what would lead elsewhere."""
    own = ("ORCHESTRATE_", "MLFLOW_", "RAY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


@pytest.fixture
def orchestrate(tmp_path, environment):
    """Runs a command in an empty folder."""

    def run(*arguments: str, **variables: str) -> Done:
        done = subprocess.run(
            [ORCHESTRATE, *arguments],
            cwd=tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def parsed_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# Fast


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


# Plan


def test_a_plan_is_a_json_list_of_390_trials(orchestrate) -> None:
    done = orchestrate("plan", TABLE6, "--format", "json")
    trials = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert len(trials) == len({trial["id"] for trial in trials}) == 390
    assert {trial["id"] for trial in trials} == {trial.id for trial in load(Path(TABLE6)).trials}
    assert sum(trial["method"] == "opt" for trial in trials) == 156
    assert {(trial["action"], trial["reason"], trial["step"]) for trial in trials} == {("run", "never ran", 0)}
    works = [trial["multiply_adds"] for trial in trials]
    assert works == sorted(works, reverse=True)


def test_a_plan_is_a_csv_of_390_rows(orchestrate) -> None:
    done = orchestrate("plan", TABLE6, "--format", "csv")
    assert done.code == 0
    rows = parsed_csv(done.out)
    assert len(rows) == 390
    assert {row["dataset"] for row in rows} == {"cifar10", "cifar100", "svhn"}
    assert {row["unit"] for row in rows if row["method"] != "opt"} == {""}


def test_a_plan_for_people_has_a_title_and_a_line_for_each_trial(orchestrate, tmp_path) -> None:
    done = orchestrate("plan", QUICKSTART)
    lines = done.out.splitlines()
    assert lines[0] == f"{QUICKSTART}: 28 trials: 28 to run"
    assert lines[2].split() == [*["id", "trial", "action", "reason", "cpus", "gpus", "time", "hours", "from", "MiB"]]
    assert len(lines) == 4 + 28 + 1 + 4 + 2
    assert [line.partition(":")[2] for line in lines[-6:-3]] == [" unknown", " unknown", " 28 unknown"]
    assert lines[-1] == (
        "To be better than ann at 5 %, a method must win, of 4 experiments: more than all by hoeffding, "
        "more than all by sign-test."
    )
    assert list(tmp_path.iterdir()) == []  # looking writes nothing


def test_a_plan_tells_what_this_machine_cannot_hold_and_lists_it_still(orchestrate) -> None:
    done = orchestrate("plan", QUICKSTART, "--cpus", "4096")
    assert done.code == 0
    assert "each of 28 trials asks for 4096 CPUs and 0 GPUs, and no node has that here: " in done.out
    assert "makespan on 1 node" in done.out


# Status and report


def one_finished(storage: Path, make_record) -> None:
    trial = load(Path(QUICKSTART)).trials[0]
    ledger = Ledger(storage)
    ledger.make()
    errors = tuple(float(60 - 10 * index) for index in range(len(trial.config.predicting_units)))
    ledger.finish(ledger.begin(trial), make_record(trial, errors))


def test_what_finished_is_in_plan_status_and_report(orchestrate, tmp_path, make_record) -> None:
    one_finished(tmp_path / "runs", make_record)
    plan = json.loads(orchestrate("plan", QUICKSTART, "--format", "json").out)
    assert sum(trial["action"] == "keep" for trial in plan) == 1
    assert plan[-1]["reason"] == "finished"

    assert orchestrate("status", QUICKSTART).out.startswith("quickstart: 27 pending, 1 finished; no driver runs it\n")
    statuses = parsed_csv(orchestrate("status", QUICKSTART, "--format", "csv").out)
    assert [row["state"] for row in statuses].count("finished") == 1

    report = json.loads(orchestrate("report", QUICKSTART, "--format", "json").out)
    assert report["states"]["finished"] == 1
    (row,) = [row for row in report["errors"] if row["seeds"]]
    assert (row["method"], row["network"], row["1"], row["AE"]) == ("ann", "(2,8)", 10, 35)
    errors = parsed_csv(orchestrate("report", QUICKSTART, "--format", "csv").out)
    assert [row["1"] for row in errors if row["seeds"] != "0"] == ["10.0"]
    wins = parsed_csv(orchestrate("report", QUICKSTART, "--format", "csv", "--table", "wins").out)
    assert {(row["method"], row["n"], row["dropped"]) for row in wins} == {("aann", "0", "4"), ("exp3", "0", "4")}
    text = orchestrate("report", QUICKSTART).out
    assert "Not in the tables: 27 pending of 28 trials; a pair that lacks one is dropped." in text
    assert "nan" not in text


@pytest.mark.parametrize("place", ["default", "option", "variable", "both"])
def test_storage_is_a_default_an_option_or_a_variable(orchestrate, tmp_path, make_record, place) -> None:
    storage = tmp_path / ("runs" if place == "default" else "elsewhere")
    one_finished(storage, make_record)
    options = ["--storage", str(storage)] if place in ("option", "both") else []
    variables = {"variable": str(storage), "both": str(tmp_path / "wrong")}
    given = {"ORCHESTRATE_STORAGE": variables[place]} if place in variables else {}
    report = json.loads(orchestrate("report", QUICKSTART, "--format", "json", *options, **given).out)
    assert report["states"]["finished"] == 1


def test_where_nothing_failed_there_is_nothing_to_retry(orchestrate) -> None:
    done = orchestrate("sweep", QUICKSTART, "--retry-failed")
    assert done.code == 1
    assert "no trial has failed: there is nothing to retry\n" in done.err
    assert "28 of 28 trials have not ended" in done.err
    assert "--retry-failed" not in done.err


# Show and reproduce


@pytest.fixture
def small(tmp_path, make_record) -> Path:
    """A finished sweep of the paper's smallest network, in the default storage; it has none of the paper's data."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nnetworks: [{n: 7, c: 16}]\ndatasets: [cifar10]\nmethods: {ann: {}, aann: {strategy: aann}}\n"
        "report: {figures: [periods, cost]}\n"
    )
    ledger = Ledger(tmp_path / "runs")
    ledger.make()
    for trial in load(path).trials:
        ledger.finish(ledger.begin(trial), make_record(trial, (10.0,) * 21))
    return path


def test_a_report_goes_to_a_folder_or_one_page(orchestrate, tmp_path, small) -> None:
    done = orchestrate("report", "small.yaml", "--output", "all", "--html", "pages/one.html")
    assert done.code == 0, done.err
    assert done.out == "written: all\nwritten: pages/one.html\n"
    assert done.err == "Figure periods is not drawn: no network has two periods.\n"
    names = {str(path.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("*") if path.is_file()}
    assert {"report.html", "report.tex", "errors.csv", "figures/cost.svg"} <= names
    page = (tmp_path / "pages" / "one.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "Figure periods is not drawn" in page


def test_errors_stand_beside_the_papers(orchestrate, small) -> None:
    """All ten errors of two methods; within 8 % of the paper's are few of them, and counted."""
    text = orchestrate("report", "small.yaml", "--compare", "paper")
    assert text.code == 0, text.err
    assert re.search(r"\d+ of 10 are within", text.out)
    rows = json.loads(orchestrate("report", "small.yaml", "--compare", "paper", "--format", "json").out)
    assert [(row["method"], row["metric"], row["ours"]) for row in rows][:2] == [("ann", "1/4", 10), ("ann", "1/2", 10)]
    table = list(
        csv.DictReader(io.StringIO(orchestrate("report", "small.yaml", "--compare", "paper", "--format", "csv").out))
    )
    assert [row["paper"] for row in table] == [str(row["paper"]) for row in rows]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--html", "a.html", "--format", "json"], "--html: all there is goes there; not to be given with --format"),
        (
            ["--output", "a", "--html", "b", "--compare", "paper", "--table", "wins"],
            "--html and --output: all there is goes there; not to be given with --compare and --table",
        ),
        (["--compare", "paper", "--table", "wins"], "--compare has one table: not to be given with --table"),
    ],
)
def test_options_of_which_one_would_win_are_refused(orchestrate, small, tmp_path, options, message) -> None:
    done = orchestrate("report", "small.yaml", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert {path.name for path in tmp_path.iterdir()} == {"small.yaml", "runs"}


def test_a_trial_is_shown_by_words_of_its_cell_or_digits_of_its_id(orchestrate, tmp_path, make_record) -> None:
    one_finished(tmp_path / "runs", make_record)
    trial = load(Path(QUICKSTART)).trials[0]
    words = orchestrate("show", QUICKSTART, "ann", "2,8", "seed", "0")
    assert (words.code, words.err) == (0, "")
    assert words.out.startswith("ann (2,8) digits seed 0: finished\n")
    assert words.out == orchestrate("show", QUICKSTART, trial.id[:8]).out
    content = json.loads(orchestrate("show", QUICKSTART, "digits ann (2,8) seed 0", "--format", "json").out)
    assert content["trial"]["id"] == trial.id
    assert [row["error"] for row in content["errors"]] == [60, 50, 40, 30, 20, 10]
    assert content["provenance"]["code_version"] is None  # not written down


ONE = """
name: one
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}}
training: {steps: 22, batch_size: 64, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""


def test_a_trial_is_reproduced_to_the_same_bits_or_told_how_it_differs(orchestrate, tmp_path, capsys) -> None:
    (tmp_path / "one.yaml").write_text(ONE)
    (trial,) = load(tmp_path / "one.yaml").trials
    ledger = Ledger(tmp_path / "runs")
    run_trial(trial, WorkerContext(storage=ledger.storage, data_root=tmp_path / "data"), lambda epochs: None)
    done = orchestrate("reproduce", "one.yaml", "ann", "--no-md5", "--format", "json")
    assert (done.code, json.loads(done.out)["same_bits"]) == (0, True)
    assert "training ann (1,2) digits seed 0 again: 22 steps, 1 thread\n" in done.err
    assert "[1/1 done, 0 running, 0 failed" in done.err

    result = ledger.folder(trial.id) / "result.json"
    content = sealed.unpack(result.read_bytes())
    result.write_bytes(sealed.pack(content | {"config": content["config"] | {"seed": 3}}))
    with pytest.raises(SystemExit) as end:  # here, as torch is imported already
        cli.main(["reproduce", str(tmp_path / "one.yaml"), "ann", "--storage", str(ledger.storage)])
    out = capsys.readouterr().out
    assert end.value.code == 1
    assert out.startswith(f"other bits: ann (1,2) digits seed 0 ({trial.id})\n")
    assert ["config:", "seed", "3", "0"] in [line.split() for line in out.splitlines()]


# Mistakes


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
            "error: address localhost: allowed: auto, HOST:PORT, ray://HOST:PORT\n",
        ),
        (
            ["sweep", QUICKSTART, "--address", "local"],
            "error: address local: allowed: auto, HOST:PORT, ray://HOST:PORT\n",
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


@pytest.mark.parametrize("option", ["--output", "--html"])
def test_a_place_that_cannot_be_written_is_named(orchestrate, option) -> None:
    done = orchestrate("report", QUICKSTART, option, "/proc/none")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("\nerror: /proc/none: No such file or directory\n(give --debug to see where)\n")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:hunter2@127.0.0.1:1", "http://me:***@127.0.0.1:1"),
        ("http://me:hun@ter2@127.0.0.1:1", "http://me:***@127.0.0.1:1"),
        ("mysql://127.0.0.1:1/db?user=me&password=hunter2", "mysql://127.0.0.1:1/db?user=me&password=***"),
    ],
)
def test_a_password_is_not_shown(orchestrate, uri, shown) -> None:
    done = orchestrate("ui", QUICKSTART, "--tracking-uri", uri)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: MLflow at {shown} cannot be reached: ")
    assert "ter2" not in done.err


def test_a_traceback_is_shown_if_asked_for(orchestrate) -> None:
    done = orchestrate("plan", "missing.yaml", "--debug")
    assert done.code == 2
    assert done.err.startswith(TRACEBACK)
    assert done.err.endswith("\nerror: missing.yaml: cannot be read: No such file or directory\n")


UNEXPECTED = """
import sys
from orchestrator import cli; from orchestrator.planning import plan
plan.make = lambda *_: 1 / 0
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


# Data


def test_the_files_of_a_data_set_are_checked_one_by_one(orchestrate, tmp_path) -> None:
    done = orchestrate("data", "check", "svhn")
    assert done.code == 1
    assert done.out.startswith("svhn below runs/data\n")
    assert done.out.count(" missing") == 3
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "test_32x32.mat").write_bytes(b"not it")
    for place in ({"ORCHESTRATE_DATA_ROOT": "images"}, {}):
        root = [] if place else ["--root", "images"]
        done = orchestrate("data", "check", "svhn", "--format", "json", *root, **place)
        assert done.code == 1
        assert json.loads(done.out) == [
            {"file": "images/train_32x32.mat", "state": "missing"},
            {"file": "images/extra_32x32.mat", "state": "missing"},
            {"file": "images/test_32x32.mat", "state": "wrong md5"},
        ]


def test_a_data_set_without_files_is_as_it_should_be(orchestrate) -> None:
    done = orchestrate("data", "check", "digits")
    assert (done.code, done.out) == (0, "digits has no files of its own: there is nothing to check\n")


def test_the_version_is_told(orchestrate) -> None:
    done = orchestrate("--version")
    assert done.code == 0
    assert done.out.startswith("orchestrate, version ")


def test_a_mistyped_storage_folder_is_told(orchestrate) -> None:
    assert "; there is no folder nowhere yet\n" in orchestrate("status", QUICKSTART, "--storage", "nowhere").out


@pytest.mark.parametrize("storage", ["gs://bucket/runs", "s3://me:secret@bucket/runs", "s3://", "s3://bucket?hue=red"])
def test_storage_that_cannot_be_is_refused_without_its_secrets(orchestrate, storage) -> None:
    for done in (
        orchestrate("status", QUICKSTART, "--storage", storage),
        orchestrate("plan", QUICKSTART, ORCHESTRATE_STORAGE=storage),
    ):
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: storage '")
        assert done.err.count("\n") == 1
        assert "secret" not in done.err


def test_a_store_that_does_not_answer_is_told_in_a_line(orchestrate, tmp_path) -> None:
    address = "s3://bucket/runs?endpoint_override=http://127.0.0.1:9&region=us-east-1"
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = orchestrate("status", QUICKSTART, "--storage", address, **keys)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: s3://bucket/runs/trials: cannot be read: AWS Error NETWORK_CONNECTION")
    assert done.err.count("\n") == 1


def test_what_must_be_files_is_in_the_users_cache_where_the_storage_is_a_bucket(orchestrate, tmp_path) -> None:
    place = {"ORCHESTRATE_STORAGE": "s3://bucket/runs", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    browsing = orchestrate("ui", QUICKSTART, **place)
    assert browsing.code == 1
    assert f"error: {tmp_path / 'cache' / 'anytime_orchestrator' / 'bucket-'}" in browsing.err
    assert "mlflow/mlflow.db: no runs yet" in browsing.err
    checked = orchestrate("data", "check", "svhn", **place)
    assert f"svhn below {tmp_path / 'cache' / 'anytime_orchestrator' / 'bucket-'}" in checked.out


def test_a_damaged_file_is_told_once_and_the_rest_is_shown(orchestrate, tmp_path) -> None:
    (tmp_path / "one.yaml").write_text(ONE)
    (trial,) = load(tmp_path / "one.yaml").trials
    ledger = Ledger(tmp_path / "runs")
    ledger.begin(trial)
    path = ledger.folder(trial.id) / "attempt.json"
    path.write_bytes(path.read_bytes().replace(b'"number": 1', b'"number": 7'))
    for command in ("plan", "status", "report", "show"):
        done = orchestrate(command, "one.yaml", *(["ann"] if command == "show" else []))
        assert done.code == 0
        assert done.err == f"warning: {path} is damaged: checksum does not match\n"
        assert "pending" in done.out or "never ran" in done.out
