"""The metrics of a trial come back from Parquet as they were, in any tool, or the file is refused."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, fields, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anytime_core.result import ENERGY, TIMES, USAGE, EpochMetrics
from orchestrator.ledger import epochs_file

UNITS, COSTS = (1, 3, 6), (100, 2**40, 2**41)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "metrics.parquet"


def written(path: Path, epochs: list[EpochMetrics]) -> Path:
    path.write_bytes(epochs_file.pack("0123456789abcdef", UNITS, COSTS, epochs))
    return path


# There and back


def test_epochs_come_back_as_they_were(path, make_epochs) -> None:
    epochs = make_epochs(5, 3)
    assert epochs_file.read(written(path, epochs)) == epochs


def test_no_epochs_come_back_as_none(path) -> None:
    assert epochs_file.read(written(path, [])) == []


def test_a_strategy_that_amplifies_nothing_has_no_probabilities(path, make_epochs) -> None:
    epochs = make_epochs(2, 3, probabilities=())
    assert [epoch.probabilities for epoch in epochs_file.read(written(path, epochs))] == [(), ()]
    assert pd.read_parquet(path)["probability"].isna().all()


def test_an_epoch_without_an_evaluation_has_no_test_errors(path, make_epochs) -> None:
    first, last = make_epochs(2, 3)
    epochs = [replace(first, test_loss=(), test_error=()), last]
    assert epochs_file.read(written(path, epochs)) == epochs
    assert pd.read_parquet(path)["test_error"].isna().tolist() == [True] * 3 + [False] * 3


def test_what_diverged_comes_back_as_no_number(path, make_epochs) -> None:
    losses = (1.0, math.nan, math.inf)
    (epoch,) = epochs_file.read(written(path, make_epochs(1, 3, train_loss=losses, test_loss=losses)))
    for found in (epoch.train_loss, epoch.test_loss):
        assert found[0] == 1
        assert math.isnan(found[1])
        assert found[2] == math.inf
    assert epoch.diverged


def test_what_was_not_measured_of_the_machine_comes_back_as_nothing(path, make_epochs) -> None:
    (epoch,) = epochs_file.read(written(path, make_epochs(1, 3, cpu_percent=150.5, memory=2.0**33)))
    assert (epoch.cpu_percent, epoch.memory) == (150.5, 2**33)
    assert (epoch.gpu_percent, epoch.gpu_memory) == (None, None)


@pytest.mark.parametrize(
    "lacking",
    [ENERGY, (*TIMES, *ENERGY), (*USAGE, *TIMES, *ENERGY)],
    ids=["its energy", "its times", "anything"],
)
def test_files_from_before_all_of_the_machine_was_measured_are_read(path, make_epochs, lacking) -> None:
    epochs = make_epochs(2, 3)
    table = pq.read_table(written(path, epochs))
    pq.write_table(table.drop_columns(list(lacking)).replace_schema_metadata(None), path)
    assert epochs_file.read(path) == epochs


# For other tools


def test_pandas_reads_a_row_for_each_epoch_and_prediction(path, make_epochs) -> None:
    frame = pd.read_parquet(written(path, make_epochs(2, 3)))
    assert {name: str(kind) for name, kind in frame.dtypes.items() if name != "trial_id"} == {
        "prediction": "int32",
        "unit": "int32",
        "cost": "int64",
        "epoch": "int32",
        "step": "int32",
        "learning_rate": "float64",
        "seconds": "float64",
        "timestamp": "float64",
        "cpu_percent": "float64",
        "memory": "float64",
        "gpu_percent": "float64",
        "gpu_memory": "float64",
        "data_seconds": "float64",
        "evaluation_seconds": "float64",
        "checkpoint_seconds": "float64",
        "waiting_seconds": "float64",
        "cpu_joules": "float64",
        "gpu_joules": "float64",
        "train_loss": "float64",
        "train_error": "float64",
        "test_loss": "float64",
        "test_error": "float64",
        "probability": "float64",
    }
    assert list(frame.columns)[:4] == ["trial_id", "prediction", "unit", "cost"]
    assert set(frame["trial_id"]) == {"0123456789abcdef"}
    assert list(frame["prediction"]) == [1, 2, 3] * 2
    assert list(frame["unit"]) == list(UNITS) * 2
    assert list(frame["cost"]) == list(COSTS) * 2
    assert list(frame["epoch"]) == [1, 1, 1, 2, 2, 2]
    assert list(frame["step"]) == [22, 22, 22, 44, 44, 44]
    assert list(frame["test_error"]) == [31, 31.125, 31.25, 32, 32.125, 32.25]
    assert list(frame["probability"]) == [0, 0.125, 0.25] * 2


def test_nothing_of_an_epoch_is_left_out() -> None:
    columns = {"train_loss", "train_error", "test_loss", "test_error", *epochs_file.OF_EPOCH}
    assert {field.name for field in fields(EpochMetrics)} == columns | {"probabilities"}


def test_many_trials_are_read_as_one_table(tmp_path, make_epochs) -> None:
    paths = [written(tmp_path / f"{number}.parquet", make_epochs(2, 3)) for number in range(3)]
    assert len(pd.read_parquet(paths)) == 3 * 2 * 3


def test_as_many_units_as_costs_are_asked_for(make_epochs) -> None:
    with pytest.raises(ValueError, match="shorter"):
        epochs_file.pack("a", (1, 2, 3), (1, 2), make_epochs(1, 3))


# Damage


def test_a_file_cut_short_anywhere_is_refused(path, make_epochs) -> None:
    whole, rng = written(path, make_epochs(3, 3)).read_bytes(), random.Random(0)
    for length in (0, 1, 4, 8, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(300))):
        path.write_bytes(whole[:length])
        with pytest.raises((ValueError, OSError)):
            epochs_file.read(path)


def test_a_flipped_bit_changes_no_number(path, make_epochs) -> None:
    """It is refused, or it does not matter."""
    epochs = make_epochs(3, 3)
    whole, rng, refused = written(path, epochs).read_bytes(), random.Random(0), 0
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = epochs_file.read(path)
        except (ValueError, OSError):
            refused += 1
        else:
            assert [asdict(epoch) for epoch in found] == [asdict(epoch) for epoch in epochs]
    assert refused > 200


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"{}", b"\0" * 5000])
def test_what_is_no_parquet_is_refused(path, content) -> None:
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        epochs_file.read(path)


def test_parquet_of_something_else_is_refused(path) -> None:
    pq.write_table(pa.table({"epoch": [1], "name": ["a"]}), path)
    with pytest.raises(ValueError, match="its columns are epoch, name"):
        epochs_file.read(path)
