"""Tells MLflow what happens: a projection of the ledger by one writer, a thread of the driver, in batches.

Where MLflow cannot be reached training goes on, and what is missing is written from the ledger once it can; nothing is
ever written twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path

from anytime_core.files import write_atomically
from anytime_core.result import EpochMetrics
from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger.ledger import Ledger, Standing
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState
from orchestrator.system.provenance import code_version
from orchestrator.tracking import run_files, views
from orchestrator.tracking.store import Store, database_file, first_line, safe_uri

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
RETRY_SECONDS = 10.0
MODELS = "ORCHESTRATE_MLFLOW_MODELS"
LARGEST_MODEL = 25.0
"""In MB: a trained network of up to this size goes to MLflow too, unless the variable gives another. Of the paper's 390
trials these are 276, with 2 GB; all of them are 12 GB, which the ledger has already."""


@dataclass(slots=True)
class _News:
    """What has happened to a trial since the last flush."""

    epochs: list[EpochMetrics] = field(default_factory=list)
    state: TrialState = TrialState.RUNNING


class Tracker:
    """Projects a sweep into MLflow, from a thread of its own.

    A context manager: on leaving, everything that the ledger holds is delivered, or ``behind`` says how many trials are
    not, and ``outage`` why. ``say`` is told, from the thread, when an outage begins and ends.
    """

    def __init__(self, uri: str, sweep: Sweep, ledger: Ledger, say: Callable[[str], object]) -> None:
        self.outage: str | None = None
        self.behind: list[str] = []
        self._uri, self._sweep, self._ledger = uri, sweep, ledger
        self._largest_model = largest_model()
        self._trials = {trial.id: trial for trial in sweep.trials}
        self._say = say
        self._news: dict[str, _News] = {}
        self._live: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._begun = threading.Event()
        self._store: Store | None = None
        self._next_try = 0.0
        self._doubtful = False
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)

    def __enter__(self) -> Tracker:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._begun.set()
        self._thread.join()

    def summarise(self, folder: Path, metrics: Mapping[str, float], *, whole: bool = True) -> None:
        """Puts the files of a folder into the sweep's summary run. To be called after leaving. A report that
        is not ``whole`` is not taken for current: the next command makes it anew."""
        self._attempt(partial(self._summarise, folder, metrics, whole))

    def _summarise(self, folder: Path, metrics: Mapping[str, float], whole: bool) -> None:
        self._connected().summarise(folder, metrics, {"sweep_file": str(self._sweep.path)})
        delivered = _delivered(self._ledger, self._sweep.name, self._uri)
        mark = _summary_mark(self._sweep, delivered.trials) if whole else ""
        _remember(self._ledger, self._sweep.name, self._uri, replace(delivered, summary=mark))

    # What the driver says; returns at once

    def started(self, trial_id: str) -> None:
        self._add(trial_id, TrialState.RUNNING)

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        self._add(trial_id, TrialState.RUNNING, epochs)

    def ended(self, trial_id: str, state: TrialState) -> None:
        self._add(trial_id, state)

    def _add(self, trial_id: str, state: TrialState, epochs: Sequence[EpochMetrics] = ()) -> None:
        with self._lock:
            self._live.add(trial_id)
            news = self._news.setdefault(trial_id, _News())
            news.epochs.extend(epochs)
            news.state = state
        self._begun.set()

    # The thread

    def _work(self) -> None:
        self._begun.wait()  # MLflow's import takes seconds, from which the start of the first trials would suffer
        self._attempt(self._reconcile)
        while not self._closing.wait(FLUSH_SECONDS):
            if time.monotonic() >= self._next_try:
                self._attempt(self._flush)
        self._attempt(self._flush)
        self._live.clear()
        self._attempt(self._reconcile)
        if self._doubtful and not self.outage:
            self._attempt(self._look_again)

    def _look_again(self) -> None:
        """After an outage: what was asked for in vain may have been done since, as a run made twice."""
        self._store = None
        self._connected()
        self._reconcile()

    def _attempt(self, delivery: Callable[[], None]) -> None:
        before, self.outage = self.outage, None
        try:
            delivery()
        except Exception as error:  # whatever MLflow raises, training goes on
            log.info("MLflow cannot be reached", exc_info=True)
            self.outage, self._doubtful = first_line(error), True
            self._store = None  # what it knows of runs may be out of date
            self._next_try = time.monotonic() + RETRY_SECONDS
            if not before:
                uri, of_storage = safe_uri(self._uri), isinstance(error, StorageError)
                what = self.outage if of_storage else f"MLflow at {uri} cannot be reached: {self.outage}"
                self._say(f"{what}; {'MLflow is told later' if of_storage else 'training goes on without it'}")
        if before and not self.outage:
            self._say("MLflow can be reached again")

    def _connected(self) -> Store:
        if self._store is None:
            self._store = Store(self._uri, self._sweep, self._ledger.id)
        return self._store

    def _flush(self) -> None:
        """Writes what the driver said since the last time; what cannot be written waits for the next."""
        store = self._connected()
        with self._lock:
            news, self._news = self._news, {}
        try:
            for trial_id in list(news):
                new = news[trial_id]
                self._write(store, trial_id, new.state, new.epochs, self._ledger.standing(trial_id))
                del news[trial_id]
        finally:
            with self._lock:
                for trial_id, new in news.items():
                    if later := self._news.get(trial_id):
                        new = _News(new.epochs + later.epochs, later.state)
                    self._news[trial_id] = new

    def _write(
        self, store: Store, trial_id: str, state: TrialState, epochs: Sequence[EpochMetrics], standing: Standing
    ) -> None:
        trial = self._trials[trial_id]
        fill = partial(run_files.write, trial, state, self._ledger, largest=self._largest_model)
        store.write(trial, state, epochs, _tags(state, standing), fill)

    def _reconcile(self) -> None:
        """Makes the run of every trial that is not running now say what the ledger says."""
        marks = _marks(self._ledger, self._sweep)
        delivered = _delivered(self._ledger, self._sweep.name, self._uri)
        self.behind = _missing(delivered, marks)
        connects = self.behind or self._store
        if connects and delivered.created not in ("", self._connected().created):  # a server that was emptied
            delivered = _Delivered()
            self.behind = list(marks)
        trials = dict(delivered.trials)
        try:
            for trial_id in [trial_id for trial_id in self.behind if trial_id not in self._live]:
                standing, epochs = self._ledger.standing(trial_id), self._ledger.epochs(trial_id)
                self._write(self._connected(), trial_id, standing.state, epochs, standing)
                trials[trial_id] = marks[trial_id]
                self.behind.remove(trial_id)
        finally:
            if self._store:
                store = self._store
                delivered = replace(delivered, experiment=store.experiment, created=store.created, runs=store.run_ids)
            _remember(self._ledger, self._sweep.name, self._uri, replace(delivered, trials=trials))


def _tags(state: TrialState, standing: Standing) -> dict[str, str]:
    tags = {"state": str(state), "attempts": str(standing.attempts)}
    if state is TrialState.FAILED:
        tags["failure"] = (standing.failure or "")[:4000]
    if record := standing.record:
        tags |= views.record_tags(record)
    return tags


def largest_model() -> float:
    """In bytes. Raises UsageError where the user gave what is no size."""
    given = os.environ.get(MODELS, "")
    try:
        size = float(given or LARGEST_MODEL)
    except ValueError:
        size = -1
    if not size >= 0:
        raise UsageError(
            f"{MODELS} is {given!r}, must be the size in MB of the largest network that goes to MLflow, or 0"
        )
    return size * 1e6


# What is delivered, so that a sweep with nothing to do need not ask MLflow, and a report can say where its runs are.


@dataclass(frozen=True, kw_only=True, slots=True)
class _Delivered:
    """``trials`` holds a mark for each, ``summary`` one for what it was made of; ``runs`` are MLflow's ids, and
    ``created`` is when it made the ``experiment``."""

    trials: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    experiment: str = ""
    created: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)


def _tracked_file(ledger: Ledger, sweep: str) -> Path:
    return ledger.sweep_folder(sweep) / "tracked.json"


def _marks(ledger: Ledger, sweep: Sweep) -> dict[str, str]:
    """What the ledger knows of each trial that began, in a word: it changes when there is something to tell."""
    standings = ledger.standings(trial.id for trial in sweep.trials)
    return {
        trial.id: f"{_progress(found)}, {trial.cell.label}"
        for trial in sweep.trials
        if (found := standings[trial.id]).state is not TrialState.PENDING
    }


def _progress(found: Standing) -> str:
    return str(found.state) if found.state.ended else f"{found.state} {found.attempts} {found.step}"


def _missing(delivered: _Delivered, marks: Mapping[str, str]) -> list[str]:
    """The trials of which there is something to tell."""
    return [trial_id for trial_id, mark in marks.items() if delivered.trials.get(trial_id) != mark]


def _summary_mark(sweep: Sweep, marks: Mapping[str, str]) -> str:
    """Of all that a report is made of: the trials, the places and the report section of the sweep, and the code."""
    parts = {
        "trials": marks,
        "cells": {cell.label: trial_id for cell, trial_id in sweep.cells.items()},
        "description": sweep.description,
        "report": sweep.report.model_dump(),
        "code": code_version(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _delivered(ledger: Ledger, sweep: str, uri: str) -> _Delivered:
    database = database_file(uri)
    if database and not database.exists():  # deleted since
        return _Delivered()
    try:
        content = json.loads(_tracked_file(ledger, sweep).read_bytes())
        known = {part.name: content[part.name] for part in fields(_Delivered) if part.name in content}
        return _Delivered(**known) if content["uri"] == safe_uri(uri) else _Delivered()
    except (OSError, ValueError, KeyError, TypeError):
        return _Delivered()


def _remember(ledger: Ledger, sweep: str, uri: str, delivered: _Delivered) -> None:
    content = {"uri": safe_uri(uri), **asdict(delivered), "trials": dict(sorted(delivered.trials.items()))}
    write_atomically(_tracked_file(ledger, sweep), json.dumps(content, indent=1).encode())


def is_current(ledger: Ledger, sweep: Sweep, uri: str) -> bool:
    """Whether MLflow has been told all that the ledger knows of the sweep, in a report as the sweep asks for now."""
    delivered, marks = _delivered(ledger, sweep.name, uri), _marks(ledger, sweep)
    told = not _missing(delivered, marks)
    return told and (not marks or delivered.summary == _summary_mark(sweep, delivered.trials))


def run_links(ledger: Ledger, sweep: str, uri: str) -> dict[str, str]:
    """Where the run of each trial is in MLflow's UI; of a database, as `orchestrate ui` serves it; of the one that was
    told last, where ``uri`` has not been told yet."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        uri = str(json.loads(_tracked_file(ledger, sweep).read_bytes())["uri"])
    delivered = _delivered(ledger, sweep, uri)
    base = safe_uri(uri).rstrip("/") if uri.startswith(("http://", "https://")) else "http://127.0.0.1:5000"
    return {
        trial_id: f"{base}/#/experiments/{delivered.experiment}/runs/{run_id}"
        for trial_id, run_id in delivered.runs.items()
    }
