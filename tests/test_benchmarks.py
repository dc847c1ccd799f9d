"""The benchmarks run, and find that what they compare gives the same tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_ledger_and_mlflow_are_measured_side_by_side() -> None:
    options = ["--trials", "300", "--mlflow-runs", "20", "--predictions", "4", "--repeats", "1", "--format", "json"]
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "benchmarks" / "aggregate.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    told = [(row["from"], row["trials"]) for row in found["rows"]]
    assert told == [("ledger, no index", 468), ("ledger", 468), ("ledger", 234), ("mlflow.search_runs", 234)]
    for row in found["rows"]:
        assert 0 < sum(row["steps"].values()) < row["least"] <= row["seconds"] <= row["most"]
        assert row["peak_mib"] > 10
