"""Takes the runs of trials that the ledger is to hold no more from MLflow's lists. MLflow can bring them back, but for
files beside a SQLite database, which nobody else takes away."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator.errors import TrackingError
from orchestrator.ledger.ledger import Ledger
from orchestrator.tracking import database as sqlite_file
from orchestrator.tracking.artifacts import delete_beside
from orchestrator.tracking.refusals import cause
from orchestrator.tracking.store import STORAGE_TAG, client, runs_of
from orchestrator.tracking.uris import check_listening, database_file, default_uri, safe_uri


@dataclass(frozen=True, kw_only=True, slots=True)
class Retired:
    """How many runs were deleted. ``size`` is that of their files, in bytes; None where MLflow keeps these until its
    own `mlflow gc`. So many ``others`` stay: another copy of the storage made them, or one that did not say which.
    """

    runs: int = 0
    size: int | None = None
    others: int = 0


def retire(uri: str, ledger: Ledger, trial_ids: Collection[str]) -> Retired:
    """Deletes the runs of these trials in all experiments of a ledger. Those that a copy of the storage made are its
    own, but in the storage's own database, which was copied with it. Raises TrackingError where MLflow cannot be told.
    """
    database = database_file(uri)
    if not trial_ids or not ledger.id or (database and not database.exists()):
        return Retired()
    try:
        check_listening(uri)
        store = client(uri)
        if database:
            sqlite_file.adopt(database)  # or a copy would take the original's files
        runs = [run for run in runs_of(store, ledger.id) if run.data.tags.get("trial_id") in trial_ids]
        shared = uri != default_uri(ledger.storage)
        own = [run for run in runs if not shared or run.data.tags.get(STORAGE_TAG) == ledger.copy]
        size = 0
        for run in own:
            size += delete_beside(str(run.info.artifact_uri), uri) if database else 0
            store.delete_run(run.info.run_id)
    except Exception as error:  # whatever MLflow raises
        raise TrackingError(f"MLflow at {safe_uri(uri)} cannot be told: {cause(error)}") from error
    return Retired(runs=len(own), size=size if database else None, others=len(runs) - len(own))
