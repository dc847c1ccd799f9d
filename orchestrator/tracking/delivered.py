"""What MLflow has been told of a sweep, kept beside it: so that a sweep with nothing to tell need not ask MLflow, and a
report can say where its runs are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from anytime_core.files import write_atomically
from orchestrator.ledger.ledger import Ledger, Standing
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState
from orchestrator.system.provenance import code_version
from orchestrator.tracking.uris import FOLDER, database_file, default_uri, is_server, public_address, safe_uri
from orchestrator.tracking.views import IDENTITY

OWN = "the storage's own"
"""In place of the URI of the database in the storage folder, which may be moved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """``trials`` holds a mark for each, ``summary`` one for what it was made of; ``runs`` are MLflow's ids, and
    ``created`` is when it made the ``experiment``."""

    trials: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    experiment: str = ""
    created: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)


def _tracked_file(ledger: Ledger, sweep: str) -> Path:
    return ledger.sweep_folder(sweep) / "tracked.json"


def last_trials(ledger: Ledger, sweep: str) -> list[str]:
    """The trials of the last sweep of that name, by id; of one by an earlier version, those that MLflow was told of."""
    try:
        return [str(name) for name in json.loads(_trials_file(ledger, sweep).read_bytes())]
    except (OSError, ValueError, TypeError):
        return list(_recorded(ledger, sweep)[1].trials)


def remember_trials(ledger: Ledger, sweep: Sweep) -> None:
    with suppress(OSError):  # a full disk is told of by what needs it
        write_atomically(_trials_file(ledger, sweep.name), json.dumps([trial.id for trial in sweep.trials]).encode())


def _trials_file(ledger: Ledger, sweep: str) -> Path:
    return ledger.sweep_folder(sweep) / "trials.json"


def marks_of(ledger: Ledger, sweep: Sweep) -> dict[str, str]:
    """What the ledger knows of each trial that began, in a word: it changes when there is something to tell."""
    standings = ledger.standings(trial.id for trial in sweep.trials)
    return {
        trial.id: f"{_progress(standing)}, {trial.cell.label}"
        for trial in sweep.trials
        if (standing := standings[trial.id]).state is not TrialState.PENDING
    }


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


def summary_mark(sweep: Sweep, marks: Mapping[str, str]) -> str:
    """Of all that a report is made of: the trials, the places and the report section of the sweep, and the code."""
    parts = {
        "trials": marks,
        "cells": {cell.label: trial_id for cell, trial_id in sweep.cells.items()},
        "description": sweep.description,
        "report": sweep.report.model_dump(),
        "code": code_version(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read(ledger: Ledger, sweep: str, uri: str) -> Delivered:
    """What was told there; nothing where another place was told last."""
    database, (recorded, delivered) = database_file(uri), _recorded(ledger, sweep)
    gone = database and not database.exists()
    return delivered if recorded == _name_of(uri, ledger) and not gone else Delivered()


def _recorded(ledger: Ledger, sweep: str) -> tuple[str, Delivered]:
    """The place that was told last, and what."""
    try:
        content = json.loads(_tracked_file(ledger, sweep).read_bytes())
        known = {part.name: content[part.name] for part in fields(Delivered) if part.name in content}
        return str(content["uri"]), Delivered(**known)
    except (OSError, ValueError, KeyError, TypeError):
        return "", Delivered()


def remember(ledger: Ledger, sweep: str, uri: str, delivered: Delivered) -> None:
    content = asdict(delivered) | {"trials": dict(sorted(delivered.trials.items()))}
    words = json.dumps({"uri": _name_of(uri, ledger), **content}, indent=1)
    write_atomically(_tracked_file(ledger, sweep), words.encode())


def _name_of(uri: str, ledger: Ledger) -> str:
    return OWN if uri == default_uri(ledger.storage) else safe_uri(uri)


def is_current(ledger: Ledger, sweep: Sweep, uri: str) -> bool:
    """Whether MLflow has been told all that the ledger knows of the sweep, in a report as the sweep asks for now."""
    delivered, marks = read(ledger, sweep.name, uri), marks_of(ledger, sweep)
    told = not missing(delivered, marks)
    return told and (not marks or delivered.summary == summary_mark(sweep, delivered.trials))


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
