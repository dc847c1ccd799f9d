"""On a disk that is really full every file is whole or as it was, a line says so, and with more space it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from full_disk import disk_of, grow

from orchestrator.errors import StorageError
from orchestrator.execution.worker import Outcome, WorkerContext, run_trial
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.trial import TrialState


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    with disk_of(tmp_path / "runs", kilobytes=200) as folder:
        yield folder


def fill(disk: Path, *, leaving: int = 0) -> None:
    """Up to so many pages of 4 KB."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate((disk / "filler").stat().st_size - 4096 * leaving)


def contents(ledger: Ledger) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in ledger.local.rglob("*")
        if path.is_file() and path.name not in ("filler", "lock")
    }


def test_storage_on_a_full_disk_is_told_at_once(disk) -> None:
    fill(disk)
    with pytest.raises(StorageError, match=f"{disk}: storage cannot be written: No space left on device"):
        Ledger(disk).make()
    assert {path.name for path in disk.iterdir()} <= {"filler", "trials", "sweeps"}


def test_no_sweep_is_driven_on_a_full_disk_until_there_is_space(disk) -> None:
    ledger = Ledger(disk)
    ledger.make()
    fill(disk)
    with pytest.raises(StorageError, match="No space left on device"), ledger.drive("small"):
        pass
    assert ledger.driver("small") is None
    (disk / "filler").unlink()
    with ledger.drive("small"):
        assert ledger.driver("small") is not None


def test_what_does_not_fit_leaves_all_as_it_was(disk, make_trial, make_record, make_epochs) -> None:
    ledger, trial = Ledger(disk), make_trial()
    ledger.make()
    attempt = ledger.begin(trial)
    ledger.write_epochs(attempt, (1, 2, 3), (10, 20, 30), make_epochs(1, 3))
    before = contents(ledger)
    fill(disk)
    for write in (
        lambda: ledger.begin(trial),
        lambda: ledger.write_epochs(attempt, (1, 2, 3), (10, 20, 30), make_epochs(2, 3)),
        lambda: ledger.fail(attempt, "no memory", "Traceback"),
        lambda: ledger.finish(attempt, make_record(trial, (3.0, 2.0, 1.0))),
    ):
        with pytest.raises(OSError, match="No space left on device") as caught:
            write()
        assert str(caught.value.filename).startswith(str(ledger.folder(trial.id)))
        assert contents(ledger) == before


@pytest.mark.parametrize("pages", range(0, 40, 3))
def test_a_trial_on_a_disk_that_fills_up_fails_in_a_line_and_then_goes_on(pages, disk, make_trial, tmp_path) -> None:
    """At each of its writes; those of fewer pages are too early for a checkpoint."""
    ledger, trial = Ledger(disk), make_trial()
    ledger.make()
    fill(disk, leaving=pages)
    where = WorkerContext(storage=disk, data_root=tmp_path / "data")
    outcome = run_trial(trial, where, lambda epochs: None)
    if outcome.state is TrialState.FAILED:
        assert str(outcome.error).count("\n") == 0
        assert "No space left on device" in str(outcome.error)
        assert ledger.state(trial.id) in (TrialState.PENDING, TrialState.FAILED, TrialState.INTERRUPTED)
    assert not [path for path in disk.rglob(".*") if path.is_file()]
    for path in contents(ledger):
        assert path.stat().st_size
    grow(disk, kilobytes=10_000)
    assert run_trial(trial, where, lambda epochs: None) == Outcome(TrialState.FINISHED)
    assert [epoch.step for epoch in ledger.epochs(trial.id)] == [22, 44]
