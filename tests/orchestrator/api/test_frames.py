"""Tidy frames hold each number that the ledger does, once for each place in the sweep, and nothing else."""

from __future__ import annotations

import csv
import io
import math

import pandas as pd
import pytest
from click.testing import CliRunner

from anytime_core.result import OF_THE_MACHINE
from orchestrator import api
from orchestrator.analysis import tidy
from orchestrator.cli import cli
from orchestrator.errors import UsageError
from orchestrator.sweep.metrics import errors_of
from orchestrator.sweep.trial import TrialState

PLACE = list(tidy.PLACE)


@pytest.fixture
def sweep(ended) -> api.Sweep:
    return api.load("small.yaml")


def cells_of(ended):
    """With the record of each, where there is one."""
    return [(cell, ended.ledger.record(trial_id)) for cell, trial_id in ended.sweep.cells.items()]


def test_errors_are_those_of_the_results(ended, sweep) -> None:
    frame = sweep.errors()
    assert list(frame.columns) == list(tidy.ERRORS)
    expected = [
        (cell.method, cell.network, cell.seed, number + 1, unit, cost, error, record.trial_id)
        for cell, record in cells_of(ended)
        if record and record.state is TrialState.FINISHED
        for number, (unit, cost, error) in enumerate(
            zip(record.result.units, record.result.costs, record.result.errors, strict=True)
        )
    ]
    there = frame[frame["error"].notna()]
    columns = ["method", "network", "seed", "prediction", "unit", "cost", "error", "trial"]
    assert list(there[columns].itertuples(index=False, name=None)) == expected
    assert set(there["state"]) == {"finished"}
    assert set(frame["images"]) == {"test"}


def test_a_trial_that_diverged_has_rows_without_errors_and_one_that_runs_has_none(sweep) -> None:
    frame = sweep.errors()
    diverged = frame[frame["state"] == "diverged"]
    assert diverged[PLACE].drop_duplicates().values.tolist() == [["aann", "(1,2)", "digits", 1]]
    assert diverged["prediction"].tolist() == [1, 2, 3]
    assert diverged["error"].isna().all()
    assert len(sweep.errors("aann", "(2,2)/2")[PLACE].drop_duplicates()) == 1  # of two seeds


def test_a_trial_that_two_methods_share_has_rows_for_each(sweep) -> None:
    one, other = sweep.errors("ann"), sweep.errors("same")
    assert set(one["method"]) == {"ann"}
    pd.testing.assert_frame_equal(one.drop(columns="method"), other.drop(columns="method"))


def test_fractions_put_errors_where_the_tables_have_them(ended, sweep) -> None:
    """A table has the last prediction that costs no more than its fraction; an optimum for the depth nearest to it."""
    frame = sweep.errors()
    for cell, record in cells_of(ended):
        if record and record.state is TrialState.FINISHED and cell.unit is None:
            of_cell = frame[(frame[PLACE] == [getattr(cell, name) for name in PLACE]).all(axis=1)]
            metrics = errors_of(cell, record)
            assert of_cell["fraction"].iloc[-1] == 1
            for metric, fraction in (("1/4", 0.25), ("1/2", 0.5), ("3/4", 0.75), ("1", 1.0)):
                reached = of_cell[of_cell["fraction"] <= fraction]["error"]
                assert (reached.iloc[-1] if len(reached) else None) == metrics.get(metric)
    optima = frame[frame["method"] == "opt"]
    assert optima["fraction"].between(0.3, 1, inclusive="left").all()


def test_report_prints_the_same_rows_in_a_shell(sweep) -> None:
    done = CliRunner().invoke(
        cli, ["report", "small.yaml", "--format", "csv", "--table", "trials"], catch_exceptions=False
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    frame = sweep.errors()
    assert list(rows[0]) == list(frame.columns)
    for row, ours in zip(rows, frame.to_dict("records"), strict=True):
        for name, value in ours.items():
            missing = isinstance(value, float) and math.isnan(value)
            assert row[name] == ("" if missing else str(value)), name


def test_trials_stand_neither_among_all_tables_nor_in_the_reports_folder(sweep, tmp_path) -> None:
    done = CliRunner().invoke(cli, ["report", "small.yaml", "--format", "json"], catch_exceptions=False)
    assert '"trials"' not in done.stdout


def test_epochs_are_those_of_the_files(ended, sweep) -> None:
    frame = sweep.epochs()
    assert list(frame.columns) == list(tidy.EPOCHS)
    assert frame["gpu_memory"].dtype == float
    for cell, record in cells_of(ended):
        of_cell = frame[(frame["trial"] == ended.sweep.cells[cell]) & (frame["method"] == cell.method)]
        if record is None:
            assert of_cell.empty
            continue
        kept = pd.read_parquet(ended.ledger.folder(record.trial_id) / "metrics.parquet")
        columns = ["epoch", "step", "learning_rate", "prediction", "unit", "cost", *tidy.OF_PREDICTION, *OF_THE_MACHINE]
        pd.testing.assert_frame_equal(
            of_cell[columns].reset_index(drop=True), kept[columns], check_dtype=False, check_exact=True
        )


def test_metrics_of_a_trial_say_which_it_is(ended) -> None:
    for cell, record in cells_of(ended):
        if record:
            attrs = pd.read_parquet(ended.ledger.folder(record.trial_id) / "metrics.parquet").attrs
            named = {name: getattr(cell, name) for name in ("network", "dataset", "seed", "unit")}
            method = "ann" if cell.method == "same" else cell.method
            network = cell.network.partition("/")[0] if cell.unit else cell.network  # an optimum has no period
            assert attrs == named | {"method": method, "trial": record.trial_id, "network": network}


def test_outcomes_have_a_row_for_each_image_and_prediction(ended, sweep) -> None:
    frame = sweep.outcomes("aann", "(1,2)", seed=0)
    assert list(frame.columns) == list(tidy.OUTCOMES)
    (trial_id,) = set(frame["trial"])
    kept = ended.ledger.outcomes(trial_id)["test"]
    assert len(frame) == kept.classes.size
    for row in frame.iloc[:: len(frame) // 17].itertuples():
        at = row.prediction - 1, row.image
        assert (row.label, row.answer) == (kept.labels[row.image], kept.classes[at])
        assert row.right == (row.label == row.answer)
        assert (row.confidence, row.of_truth, row.entropy) == tuple(
            float(getattr(kept, name)[at]) for name in ("confidence", "of_truth", "entropy")
        )
        assert row.cost == kept.costs[at[0]]
    assert frame.groupby("prediction")["right"].mean().tolist() == kept.right.mean(axis=1).tolist()


def test_trials_without_outcomes_are_told_of(sweep) -> None:
    with pytest.warns(UserWarning, match="1 of 2 trials that finished have no outcomes; `orchestrate outcomes`"):
        frame = sweep.outcomes("ann", "(1,2)")
    assert set(frame["seed"]) == {0}
    with pytest.raises(UsageError, match="1 of 1 trial that finished have no outcomes"):
        sweep.outcomes("ann (1,2) seed 1")
    with pytest.raises(UsageError, match="none of these trials has finished"):
        sweep.outcomes("aann (1,2) seed 1")


def test_cells_are_chosen_by_their_words_or_an_id(sweep) -> None:
    frame = sweep.errors()
    assert len(sweep.errors("seed 0")) == len(frame[frame["seed"] == 0]) == len(sweep.errors(seed=0))
    trial_id = frame["trial"].iloc[0]
    assert sweep.errors(trial_id[:8])["method"].drop_duplicates().tolist() == ["ann", "same"]
    with pytest.raises(UsageError, match=r"small\.yaml: no cell is 'aan'; words of cells are:\n  methods: ann, same"):
        sweep.errors("aan")


def test_a_sweep_that_never_ran_has_empty_frames_of_the_same_columns(ended, tmp_path) -> None:
    new = api.load("small.yaml", storage=tmp_path / "empty")
    assert (len(new.errors()), list(new.errors().columns)) == (0, list(tidy.ERRORS))
    assert (len(new.epochs()), list(new.epochs().columns)) == (0, list(tidy.EPOCHS))
    assert new.errors()["error"].dtype == float
    assert new.verdicts().frame.columns.tolist()
