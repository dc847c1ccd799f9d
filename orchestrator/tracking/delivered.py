"""What MLflow has been told of a sweep, kept beside it: so that a sweep with nothing to tell need not ask MLflow, and a
report can say where its runs are."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from anytime_core.documents import known, parse, typed
from orchestrator.errors import StorageError
from orchestrator.ledger import notes
from orchestrator.ledger.ledger import Ledger, Standing
from orchestrator.ledger.notes import Note
from orchestrator.ledger.storage import described
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState
from orchestrator.system.sources import code_version
from orchestrator.tracking.uris import FOLDER, database_file, default_uri, is_server, public_address, safe_uri
from orchestrator.tracking.views import IDENTITY

log = logging.getLogger(__name__)

TRACKED = "tracked.json"
MOST = 1 << 26
"""Bytes of one of these files; 100,000 trials take 30 MB."""
OWN = "the storage's own"
"""In place of the URI of the database in the storage folder, which may be moved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """``trials`` holds a mark for each, ``summary`` one for what it was made of; ``runs`` are MLflow's ids, and
    ``created`` is when it made the ``experiment``. ``report_files`` are those that reports left at ``report_place``."""

    trials: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    experiment: str = ""
    created: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)
    report_place: str = ""
    report_files: tuple[str, ...] = ()


def last_trials(ledger: Ledger, sweep: str) -> list[str]:
    """The trials of the last sweep of that name, by id, with those that its tuning could choose; of one by an earlier
    version, those that MLflow was told of. None where that cannot be read, which the log says."""
    try:
        names = ledger.read_trials(sweep)
    except StorageError as error:
        log.warning("sweep %s: which trials it last had is not known: %s", sweep, error)
        return []
    return list(_recorded(ledger, sweep)[1].trials) if names is None else names


def _read(ledger: Ledger, sweep: str, name: str) -> Any:
    """What one of the files holds; None where there is none, or it is damaged, which the log says."""
    folder = ledger.sweep_files(sweep)
    try:
        return parse(folder.read(name, MOST))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is damaged: %s", folder.address(name), described(error))
        return None


def marks_of(ledger: Ledger, sweep: Sweep) -> dict[str, str]:
    """What the ledger knows of each trial that began, in a word: it changes when there is something to tell."""
    standings = ledger.standings(trial.id for trial in sweep.trials)
    noted = notes.seen(ledger, "trials", standings)
    return {
        trial.id: f"{_progress(standing)}, {trial.cell.label}" + _noted(noted.get(trial.id, []))
        for trial in sweep.trials
        if (standing := standings[trial.id]).state is not TrialState.PENDING
    }


def _noted(those: Sequence[Note]) -> str:
    return f", notes {notes.mark(those)}" if those else ""


def _progress(standing: Standing) -> str:
    """With what tells this training of the trial from another."""
    known = standing.record.provenance if standing.record else {IDENTITY[0]: standing.first_began}
    how_far = (
        [str(standing.state)]
        if standing.state.ended
        else [str(standing.state), str(standing.attempts), str(standing.step)]
    )
    return " ".join([*how_far, *(str(known[name]) for name in IDENTITY if known.get(name))])


def missing(delivered: Delivered, marks: Mapping[str, str]) -> list[str]:
    """The trials of which there is something to tell."""
    return [trial_id for trial_id, mark in marks.items() if delivered.trials.get(trial_id) != mark]


def summary_mark(sweep: Sweep, marks: Mapping[str, str], ledger: Ledger) -> str:
    """Of all that a report is made of: the trials, the places and the report section of the sweep, what was noted of
    it, and the code."""
    noted = notes.seen(ledger, "sweeps", [sweep.name]).get(sweep.name, [])
    parts = {
        "trials": marks,
        "cells": {cell.label: trial_id for cell, trial_id in sweep.cells.items()},
        "description": sweep.description,
        "report": sweep.report.model_dump(),
        "code": code_version(),
        **({"notes": notes.mark(noted)} if noted else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read(ledger: Ledger, sweep: str, uri: str) -> Delivered:
    """What was told there; nothing where another place was told last."""
    database, (recorded, delivered) = database_file(uri), _recorded(ledger, sweep)
    gone = database and not database.exists()
    return delivered if recorded == _name_of(uri, ledger) and not gone else Delivered()


def _recorded(ledger: Ledger, sweep: str) -> tuple[str, Delivered]:
    """The place that was told last, and what."""
    content = _read(ledger, sweep, TRACKED)
    if not isinstance(content, dict) or not isinstance(uri := content.get("uri"), str):
        return "", Delivered()
    try:
        return uri, typed(Delivered, known(Delivered, content))
    except ValueError as error:
        log.warning("%s is damaged: %s", ledger.sweep_files(sweep).address(TRACKED), error)
        return "", Delivered()


def remember(ledger: Ledger, sweep: str, uri: str, delivered: Delivered) -> None:
    _write(ledger, sweep, _name_of(uri, ledger), delivered)


def forget(ledger: Ledger, trial_ids: Collection[str]) -> None:
    """Has MLflow told anew of these trials, should they come back: it lists their runs no more."""
    for sweep in ledger.sweeps():
        recorded, delivered = _recorded(ledger, sweep)
        if delivered.trials.keys() & set(trial_ids):
            trials, runs = (
                {name: told for name, told in part.items() if name not in trial_ids}
                for part in (delivered.trials, delivered.runs)
            )
            _write(ledger, sweep, recorded, replace(delivered, trials=trials, runs=runs))


def _write(ledger: Ledger, sweep: str, recorded: str, delivered: Delivered) -> None:
    content = asdict(delivered) | {"trials": dict(sorted(delivered.trials.items()))}
    words = json.dumps({"uri": recorded, **content}, indent=1)
    ledger.sweep_files(sweep).write(TRACKED, words.encode())


def _name_of(uri: str, ledger: Ledger) -> str:
    return OWN if uri == default_uri(ledger.storage) else safe_uri(uri)


def is_current(ledger: Ledger, sweep: Sweep, uri: str) -> bool:
    """Whether MLflow has been told all that the ledger knows of the sweep, in a report as the sweep asks for now."""
    delivered, marks = read(ledger, sweep.name, uri), marks_of(ledger, sweep)
    told = not missing(delivered, marks)
    return told and (not marks or delivered.summary == summary_mark(sweep, delivered.trials, ledger))


def run_links(ledger: Ledger, sweep: str) -> dict[str, str]:
    """Where the run of each trial is in MLflow's UI, by the place that was told last; of a database, as
    `orchestrate ui` serves it. None where that database is gone."""
    recorded, delivered = _recorded(ledger, sweep)
    database = _database_of(recorded, ledger)
    if database and not database.exists():
        return {}
    base = public_address(recorded) if is_server(recorded) else "http://127.0.0.1:5000"
    return {
        trial_id: f"{base}/#/experiments/{delivered.experiment}/runs/{run_id}"
        for trial_id, run_id in delivered.runs.items()
    }


def _database_of(recorded: str, ledger: Ledger) -> Path | None:
    """Earlier versions wrote where the storage was when they told its own database."""
    path = database_file(recorded)
    moved = path and not path.exists() and path.parent.name == FOLDER
    return database_file(default_uri(ledger.storage)) if recorded == OWN or moved else path
