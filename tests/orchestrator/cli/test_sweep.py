"""A sweep is planned, run and watched in forms for people and for machines."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from orchestrator.sweepfile.load import load
from orchestrator.system.hardware import cpu_model

TABLE6 = str(Path(__file__).parents[3] / "sweeps" / "table6.yaml")
QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")


def parsed_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


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
    assert lines[0] == f"{QUICKSTART}: 28 trials: 28 to run; there is no folder runs yet"
    assert lines[2].split() == ["id", "trial", "action", "reason", "MiB", "cpus"]  # times are unknown throughout
    assert max(map(len, lines[2:32])) <= 80
    assert len(lines) == 4 + 28 + 1 + 6 + 4
    assert [line.partition(":")[2] for line in lines[-10:-7]] == [" unknown", " unknown", " 28 unknown"]
    assert lines[-7] == " what is unknown, --calibrate measures on the device, in a minute or so"
    assert lines[-5] == " Left out to fit 80 columns: gpus, from; --wide shows all."
    assert lines[-3] == (
        "To be better than ann at 5 %, a method must win, of 2 cells: more than all by hoeffding, "
        "more than all by sign-test."
    )
    assert lines[-2].startswith("Differences that 2 cells with 2 seeds show with a chance of 80 %, in points (spread: ")
    assert list(tmp_path.iterdir()) == []  # looking writes nothing


def test_a_plan_leaves_nothing_out_where_it_may_be_wide(orchestrate) -> None:
    lines = orchestrate("plan", QUICKSTART, "--wide").out.splitlines()
    columns = ["id", "trial", "action", "time", "reason", "hours", "least", "most", "MiB", "cpus", "gpus", "from"]
    assert lines[2].split() == columns
    assert {len(line.split()[0]) for line in lines[4:32]} == {16}


def test_a_plan_of_many_trials_has_a_line_for_each_network_and_method(orchestrate) -> None:
    lines = orchestrate("plan", TABLE6).out.splitlines()
    assert lines[2].split() == ["network", "method", "trials", "what", "GiB"]
    groups = [line.split()[:4] for line in lines[4 : 4 + 13 * 7]]
    assert ["(9,128)", "ann", "3", "3"] in groups
    assert ["(9,128)", "opt", "12", "12"] in groups
    assert sum(int(trials) for _, _, trials, _ in groups) == 390
    assert " 390 trials; --trials lists them." in lines
    listed = orchestrate("plan", TABLE6, "--trials").out.splitlines()
    assert sum(" run " in line for line in listed) == 390


SMALL = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64, learning_rate: {"0": 0.1}}
price: 2.50 EUR
"""


def test_a_calibrated_plan_says_hours_and_money_from_the_first_command_on(orchestrate, tmp_path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    done = orchestrate("plan", "small.yaml", "--calibrate", "1s", "--wide")
    assert (done.code, done.err.count("calibrating for about 1 s")) == (0, 1)
    assert ": 2 of 2 shapes, 2 at once" in done.out or ": 2 of 2 shapes, one at a time" in done.out
    assert "of so many trials: 4 calibrated" in done.out
    assert "unknown" not in done.out.partition(" GiB of disk")[0]
    assert re.search(r"EUR: \d+\.\d\d.*, at 2\.50 for an hour of a device", done.out)
    rows = json.loads(orchestrate("plan", "small.yaml", "--format", "json").out)  # kept
    assert {row["seconds_from"] for row in rows} == {"calibrated (n=5)"}
    assert all(row["seconds_least"] <= row["seconds"] <= row["seconds_most"] for row in rows)

    name = cpu_model().split()[0]
    away = json.loads(orchestrate("plan", "small.yaml", "--devices", f"1x{name}", "--format", "json").out)
    assert max(row["ends"] for row in away) == pytest.approx(sum(row["seconds"] for row in away), abs=0.3)
    named = orchestrate("plan", "small.yaml", "--devices", f"1x{name}").out
    assert f"{cpu_model()} was not asked; the ledger knows 2 shapes calibrated at 20" in named
    unknown = orchestrate("plan", "small.yaml", "--devices", "4xH100")
    assert (unknown.code, unknown.out) == (2, "")
    assert f"nothing is known of such a device; known: {cpu_model()}" in unknown.err

    brought = orchestrate("import", "runs", "--storage", "other")
    assert (brought.code, "the speeds of 1 calibrated device came along" in brought.err) == (0, True)
    there = json.loads(orchestrate("plan", "small.yaml", "--storage", "other", "--format", "json").out)
    assert [row["seconds"] for row in there] == [row["seconds"] for row in rows]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--calibrate", "soon"), "given 'soon'; allowed: a number with s, m, h, d or w"),
        (("--price", "much"), "--price: given 'much'"),
        (("--devices", "H100"), "--devices 'H100': allowed: a number of GPUs"),
        (("--devices", "4xH100", "--address", "127.0.0.1:1"), "leave out --address"),
    ],
)
def test_what_a_plan_cannot_be_asked_for_is_one_message(orchestrate, options, said) -> None:
    done = orchestrate("plan", QUICKSTART, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_bundle_is_not_calibrated(orchestrate, tmp_path, one_finished) -> None:
    one_finished(tmp_path / "runs")
    assert orchestrate("bundle", QUICKSTART, "--output", "x.zip").code == 0
    done = orchestrate("plan", QUICKSTART, "--storage", "x.zip", "--calibrate", "1s")
    assert (done.code, done.out) == (2, "")
    assert "is a bundle; name a --storage" in done.err


def test_a_plan_tells_what_this_machine_cannot_hold_and_lists_it_still(orchestrate) -> None:
    done = orchestrate("plan", QUICKSTART, "--cpus", "4096")
    assert done.code == 0
    assert "each of 28 trials asks for 4096 CPUs and 0 GPUs, and no node has that here: " in done.out
    assert "makespan on 1 node" in done.out


def test_what_finished_is_in_plan_status_and_report(orchestrate, tmp_path, one_finished) -> None:
    one_finished(tmp_path / "runs")
    plan = json.loads(orchestrate("plan", QUICKSTART, "--format", "json").out)
    assert sum(trial["action"] == "keep" for trial in plan) == 1
    assert plan[-1]["reason"] == "finished, other code: unknown"  # a record that names none
    assert [trial["code"] for trial in plan if trial["code"]] == ["unknown"]

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


def test_where_nothing_failed_there_is_nothing_to_retry(orchestrate) -> None:
    done = orchestrate("sweep", QUICKSTART, "--retry-failed")
    assert done.code == 1
    assert "no trial has failed: there is nothing to retry\n" in done.err
    assert "28 of 28 trials have not ended" in done.err
    assert "--retry-failed" not in done.err


def test_a_mistyped_storage_folder_is_told(orchestrate) -> None:
    for command in ("status", "plan"):
        assert "; there is no folder nowhere yet\n" in orchestrate(command, QUICKSTART, "--storage", "nowhere").out
