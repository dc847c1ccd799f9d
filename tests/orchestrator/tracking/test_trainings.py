"""A run in MLflow shows one training of its trial, and another training gets another run."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable

import pandas as pd
import pytest
from mlflow.entities import ViewType
from told import Told, history

from anytime_core.result import EpochMetrics
from orchestrator.sweep.trial import TrialRecord

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend

Epochs = Callable[..., list[EpochMetrics]]
Record = Callable[..., TrialRecord]


def ids(told: Told) -> dict[str, str]:
    return {trial_id: run.info.run_id for trial_id, run in told.runs().items()}


def execute(told: Told, statement: str, *values: object) -> None:
    with sqlite3.connect(told.ledger.local / "mlflow" / "mlflow.db") as database:
        database.execute(statement, values)
    database.close()


def train_again(told: Told, make_record: Record, make_epochs: Epochs, epochs: int) -> None:
    for trial in told.sweep.trials:
        shutil.rmtree(told.ledger.folder(trial.id))
    told.train(make_record, lambda count: make_epochs(epochs, count))


def assert_all_of_the_ledger(told: Told) -> None:
    for trial in told.sweep.trials:
        kept = pd.read_parquet(told.ledger.folder(trial.id) / "metrics.parquet").drop(columns="cost")
        shown = pd.read_parquet(told.artifacts(trial.id) / "metrics.parquet").drop(columns="cost")
        pd.testing.assert_frame_equal(shown, kept)
        steps = {step for run, _, step, _ in history(told) if run == ids(told)[trial.id]}
        assert steps == set(kept["epoch"])


def test_another_training_of_a_trial_replaces_its_run(told: Told, make_record: Record, make_epochs: Epochs) -> None:
    before = ids(told)
    train_again(told, make_record, make_epochs, epochs=1)
    told.tell()
    after = ids(told)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    deleted = told.client.search_runs([told.experiment], run_view_type=ViewType.DELETED_ONLY)
    assert {run.info.run_id for run in deleted} == set(before.values())
    assert_all_of_the_ledger(told)


def test_the_run_of_a_trial_that_begins_anew_is_empty(told: Told) -> None:
    trial = told.sweep.trials[0]
    before = ids(told)
    shutil.rmtree(told.ledger.folder(trial.id))
    told.ledger.begin(trial)
    execute(told, "UPDATE tags SET value = 'some time ago' WHERE key = 'first_attempt_began'")
    told.tell()
    run = told.runs()[trial.id]
    assert run.info.run_id != before[trial.id]
    assert (run.info.status, run.data.metrics) == ("KILLED", {})


def test_a_run_of_an_earlier_version_is_kept_where_its_numbers_are_the_ledgers(told: Told) -> None:
    before, numbers = ids(told), history(told)
    execute(told, "DELETE FROM tags WHERE key = 'training'")
    (told.ledger.sweep_folder("small") / "tracked.json").unlink()
    told.tell()
    assert (ids(told), history(told)) == (before, numbers)
    assert all(run.data.tags["training"] for run in told.runs().values())


def test_a_run_that_an_earlier_version_left_with_the_numbers_of_another_training_is_replaced(told: Told) -> None:
    """Its tags are those of the later training."""
    before, (stale, fresh) = ids(told), told.sweep.trials
    execute(told, "DELETE FROM tags WHERE key = 'training'")
    for table in ("metrics", "latest_metrics"):
        execute(told, f"UPDATE {table} SET value = 1 WHERE key = 'error/at_1.00' AND run_uuid = ?", before[stale.id])
    (told.ledger.sweep_folder("small") / "tracked.json").unlink()
    told.tell()
    assert ids(told)[fresh.id] == before[fresh.id]
    assert ids(told)[stale.id] != before[stale.id]
    assert_all_of_the_ledger(told)
