"""Runs of trials that are taken away go from MLflow; those that another copy of the storage made stay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from told import Told, made_in

from orchestrator.execution import cleaning
from orchestrator.ledger.ledger import Ledger
from orchestrator.tracking.retired import Retired, retire
from orchestrator.tracking.uris import default_uri

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend


def sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def shared(tmp_path: Path, empty: Path, server: int, make_record: Callable, make_epochs: Callable) -> Told:
    """As ``told``, by a server that others share."""
    made = made_in(tmp_path, empty, f"http://127.0.0.1:{server}")
    made.train(make_record, lambda count: make_epochs(2, count))
    made.tell()
    return made


def test_files_beside_the_storages_database_go_with_the_run(told: Told) -> None:
    gone, kept = told.sweep.ids
    files, others = told.artifacts(gone), sizes(told.artifacts(kept))
    (files / "mine.txt").write_text("a user's own")
    size = sum(size for name, size in sizes(files).items() if name != "mine.txt")
    assert size > 0
    assert retire(told.uri, told.ledger, {gone}) == Retired(runs=1, size=size)
    assert sizes(files).keys() == {"mine.txt"}
    assert told.runs().keys() == {kept}
    assert sizes(told.artifacts(kept)) == others
    assert retire(told.uri, told.ledger, {gone}) == Retired(runs=0, size=0)


def test_a_copy_with_its_database_takes_its_own_files_alone(told: Told, tmp_path: Path) -> None:
    gone, before = told.sweep.ids[0], sizes(told.ledger.local)
    copy = Ledger(Path(shutil.copytree(told.ledger.local, tmp_path / "copy")))
    assert retire(default_uri(copy.storage), copy, {gone}).runs == 1
    assert sizes(told.ledger.local) == before
    assert gone in told.runs()
    assert sum(sizes(copy.local / "mlflow" / "artifacts").values()) < sum(
        size for name, size in before.items() if name.startswith("mlflow/artifacts")
    )


def test_runs_that_another_copy_of_the_storage_made_stay(shared: Told, tmp_path: Path) -> None:
    ids, copy = {*shared.sweep.ids}, Ledger(Path(shutil.copytree(shared.ledger.local, tmp_path / "copy")))
    assert copy.id == shared.ledger.id
    assert retire(shared.uri, copy, ids) == Retired(runs=0, others=2)
    assert shared.runs().keys() == ids
    moved = Ledger(shared.ledger.local.rename(tmp_path / "moved"))
    _, second = shared.sweep.ids
    shared.client.delete_tag(shared.runs()[second].info.run_id, "storage")  # as of an earlier version
    retired = retire(shared.uri, moved, ids)
    assert retired == Retired(runs=1, others=1)
    assert shared.runs().keys() == {second}
    assert [*cleaning.in_words(retired)] == [
        "MLflow: 1 run deleted; it keeps their files until `mlflow gc`",
        "MLflow: 1 run left: another copy of this storage made them, or an earlier version that did not say which",
    ]
