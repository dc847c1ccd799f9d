"""Takes the runs of trials that the ledger is to hold no more from MLflow's lists. MLflow can bring them back."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.errors import TrackingError
from orchestrator.tracking.refusals import cause
from orchestrator.tracking.store import client, runs_of
from orchestrator.tracking.uris import check_listening, database_file, safe_uri


def retire(uri: str, ledger_id: str, trial_ids: Collection[str]) -> None:
    """Deletes the runs of these trials in all experiments of a ledger. Raises TrackingError where MLflow cannot be
    told."""
    database = database_file(uri)
    if not trial_ids or not ledger_id or (database and not database.exists()):
        return
    try:
        check_listening(uri)
        store = client(uri)
        runs = [run for run in runs_of(store, ledger_id) if run.data.tags.get("trial_id") in trial_ids]
        for run in runs:
            store.delete_run(run.info.run_id)
    except Exception as error:  # whatever MLflow raises
        raise TrackingError(f"MLflow at {safe_uri(uri)} cannot be told: {cause(error)}") from error
