"""The benchmarks run, and find that what they compare gives the same tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]


def measured(name: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "benchmarks" / name), *options, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_the_ledger_and_mlflow_are_measured_side_by_side() -> None:
    options = ["--trials", "300", "--mlflow-runs", "20", "--predictions", "4", "--repeats", "1"]
    found = measured("aggregate.py", *options)
    told = [(row["from"], row["trials"]) for row in found["rows"]]
    assert told == [("ledger, no index", 468), ("ledger", 468), ("ledger", 234), ("mlflow.search_runs", 234)]
    for row in found["rows"]:
        assert 0 < sum(row["steps"].values()) < row["least"] <= row["seconds"] <= row["most"]
        assert row["peak_mib"] > 10


@pytest.mark.slow
def test_null_grids_count_what_is_wrong_in_a_scope() -> None:
    found = measured("null_grids.py", "--grids", "8", "--scope", "data_sets")
    assert {(row["units"], row["test"]) for row in found["verdicts"]} >= {(3, "sign-flip"), (8, "hoeffding")}
    assert {row["alone"] for row in found["verdicts"] if row["units"] == 3} == {0}
    assert [row["mean"] is None for row in found["coverage"]] == [True, False]


@pytest.mark.cluster
@pytest.mark.slow
def test_a_sweep_of_many_trials_is_measured_beside_a_plain_pool() -> None:
    found = measured("scale.py", "--trials", "40")
    assert found["trials"] == 40
    assert 0 < found["pool_trial_seconds"] < found["seconds"]
    assert 0 < found["trial_seconds"] < found["seconds"]
    assert found["driver_peak_mib"] > 50


@pytest.mark.cluster
@pytest.mark.slow
def test_tracking_is_measured_beside_none_and_tunes_own() -> None:
    found = measured("tracking.py", "--trials", "4", "--epochs", "2", "--repeats", "1")
    none, ours, stock = found["rows"]
    assert none["metrics"] == 0
    assert none["ratio"] == 1
    assert ours["metrics"] > 4 * 2
    assert stock["metrics"] >= ours["metrics"]


@pytest.mark.cluster
@pytest.mark.slow
def test_a_soak_says_what_it_broke_and_loses_nothing() -> None:
    """Of small trials, with a seed whose first fault comes soon: the driver is killed, and a file of the ledger cut."""
    found = measured("chaos.py", "--minutes", "0.1", "--seed", "21", "--steps", "33")
    assert found["faults"] == []
    assert (found["rounds"], found["trials"]) == (1, 24)
    assert sum(row["injected"] for row in found["rows"]) >= 1
    assert all(row["injected"] == row["survived"] for row in found["rows"])


@pytest.mark.slow
def test_the_predictor_is_measured_beside_a_plain_forward_pass_and_the_exported_network() -> None:
    found = measured("predictor.py", "--network", "1", "2", "8", "2", "--repeats", "3", "--runtime")
    assert [(row["what"], row["network"], row["units"], row["n"]) for row in found["rows"]] == [
        ("predictor", "(1,2)", 3, 3),
        ("exported", "(1,2)", 3, 3),
    ]
    assert all(0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in found["rows"])


@pytest.mark.slow
def test_no_reader_of_the_storage_is_harmed_by_what_it_reads() -> None:
    """Of ten minutes, the first seconds."""
    found = measured("fuzz_readers.py", "--minutes", "0.1")
    assert found["cases"] >= 3
    assert found["wrong"] == 0
    assert 0 < found["slowest"] < 10
