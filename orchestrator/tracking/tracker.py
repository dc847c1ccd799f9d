"""Tells MLflow what happens: a projection of the ledger by one writer, a thread of the driver, in batches.

Where MLflow cannot be reached training goes on, and what is missing is written from the ledger once it can; nothing is
ever written twice.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from anytime_core.result import EpochMetrics
from orchestrator.analysis.answers import kept_of, metric_values
from orchestrator.errors import StorageError, TrackingError, UsageError
from orchestrator.ledger import notes
from orchestrator.ledger.ledger import Ledger, Standing
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialState
from orchestrator.text import counted
from orchestrator.tracking import delivered as known
from orchestrator.tracking import run_files, views
from orchestrator.tracking.artifacts import names_in
from orchestrator.tracking.delivered import Delivered
from orchestrator.tracking.refusals import Refusal, RefusedError, cause, in_words
from orchestrator.tracking.store import SUMMARY, Store
from orchestrator.tracking.uris import movable, safe_uri
from orchestrator.tracking.usable import check_version

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
    not, and ``outage`` why. ``say`` is told, from the thread, when an outage begins and ends, and what happens
    ``meanwhile``. What MLflow refuses while it answers harms nothing else: see ``refusals``.
    """

    def __init__(
        self,
        uri: str,
        sweep: Sweep,
        ledger: Ledger,
        say: Callable[[str], object],
        *,
        meanwhile: str = "training goes on without it",
    ) -> None:
        self.outage: str | None = None
        self.behind: list[str] = []
        self._uri, self._sweep, self._ledger = uri, sweep, ledger
        self._largest_model = largest_model()
        self._trials = {trial.id: trial for trial in sweep.trials}
        self._say, self._meanwhile = say, meanwhile
        self._news: dict[str, _News] = {}
        self._live: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._begun = threading.Event()
        self._store: Store | None = None
        self._refused_runs: dict[str, Refusal] = {}
        self._refused: dict[str, list[Refusal]] = {}
        self._closed: Refusal | None = None
        self._unfit = ""
        self._next_try = 0.0
        self._doubtful = False
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)

    def __enter__(self) -> Tracker:
        try:
            check_version(self._uri)
        except TrackingError as error:
            self.outage = self._unfit = str(error)
            self._say(f"MLflow at {safe_uri(self._uri)} cannot be used: {error}; {self._meanwhile}")
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
        """Files of an older report, such as its figures, are deleted: those that we know we wrote, and where we did."""
        noted = notes.seen(self._ledger, "sweeps", [self._sweep.name]).get(self._sweep.name, [])
        tags = {"sweep_file": str(self._sweep.path), **views.note_tags(noted)}
        files = self._connected().summary(metrics, tags)
        told = known.read(self._ledger, self._sweep.name, self._uri)
        place, new = movable(files.place, self._uri), names_in(folder)
        older = set(told.report_files) - set(new) if told.report_place == place else set()
        self._remember(replace(told, report_place=place, report_files=tuple(sorted(older.union(new)))))
        refused = files.put_all(folder, "the report")
        if all(refusal.too_large for refusal in refused):
            files.delete(older)
        if refused:
            self._refused[SUMMARY] = refused
            return
        mark = known.summary_mark(self._sweep, told.trials, self._ledger) if whole else ""
        self._remember(replace(told, summary=mark, report_place=place, report_files=tuple(new)))

    def _remember(self, told: Delivered) -> None:
        known.remember(self._ledger, self._sweep.name, self._uri, told)

    def troubles(self) -> list[str]:
        """What MLflow lacks, and why, in a line each. To be called after leaving."""
        uri, late = safe_uri(self._uri), [trial_id for trial_id in self.behind if not self._is_refused(trial_id)]
        files = [refusal for refusals in self._refused.values() for refusal in refusals]
        lines = in_words(uri, [*self._refused_runs.values(), *files], MODELS)
        if self.outage:
            what = counted(len(late), "trial") if late else "the report"
            lines.append(f"MLflow at {uri} lacks {what}: {self.outage}; once it can be told, the same command does so")
        return lines

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
        self._reopen()
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
            self.outage, self._doubtful = cause(error), True
            self._store = None  # what it knows of runs may be out of date
            self._next_try = time.monotonic() + RETRY_SECONDS
            if not before:
                uri, of_storage = safe_uri(self._uri), isinstance(error, StorageError)
                what = self.outage if of_storage else f"MLflow at {uri} cannot be reached: {self.outage}"
                self._say(f"{what}; {'MLflow is told later' if of_storage else self._meanwhile}")
        if before and not self.outage and not self._unfit:
            self._say("MLflow can be reached again")

    def _connected(self) -> Store:
        if self._unfit:
            raise TrackingError(self._unfit)
        if self._store is None:
            self._store = Store(self._uri, self._sweep, self._ledger, self._say)
        return self._store

    def _flush(self) -> None:
        """Writes what the driver said since the last time; what cannot be written waits for the next."""
        store = self._connected()
        with self._lock:
            news, self._news = self._news, {}
        try:
            for trial_id, new in news.items():
                self._write(store, trial_id, new.state, new.epochs, self._ledger.standing(trial_id))
            for trial_id in list(news):
                self._write_files(store, trial_id, news[trial_id].state)
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
        noted = notes.seen(self._ledger, "trials", [trial_id]).get(trial_id, [])
        trial, tags = self._trials[trial_id], _tags(state, standing) | views.note_tags(noted)
        if standing.record:
            tags |= views.expense_tags(self._sweep, standing.record)
        history, outcomes = partial(self._ledger.epochs, trial_id), partial(self._outcomes, trial)
        try:
            store.write(trial, state, epochs, tags, history, outcomes)
            self._refused_runs.pop(trial_id, None)
        except RefusedError as error:
            self._refused_runs[trial_id] = error.refusal

    def _outcomes(self, trial: Trial) -> dict[str, float]:
        """A handful of numbers that its answers to single images come to; empty where these are not kept."""
        kept = kept_of(self._ledger.outcomes(trial.id), held_out=trial.config.data.validated)
        values = metric_values(kept, views.OF_OUTCOMES) if kept else {}
        return {name: value for name, value in values.items() if value is not None}

    def _write_files(self, store: Store, trial_id: str, state: TrialState) -> None:
        """Of a trial that failed its log alone. What was refused is not tried again by this command, nor the others
        once their place refuses one."""
        failed = state is TrialState.FAILED
        if not (state.ended or failed) or self._is_refused(trial_id):
            return
        trial = self._trials[trial_id]
        if self._closed:
            self._refused[trial_id] = [replace(self._closed, what=f"files of {trial.cell.label} ({trial.id})", size=0)]
            return
        if failed:
            refused = store.write_log(trial, partial(run_files.write_log, trial, self._ledger))
        else:
            fill = partial(run_files.write, trial, state, self._ledger, largest=self._largest_model)
            refused = store.write_files(trial, fill)
        if refused:
            self._refused[trial_id] = refused
            self._closed = next((refusal for refusal in refused if not refusal.too_large), None)

    def _reopen(self) -> None:
        """At the end a place that refused files is tried once more: that may have been for a moment only."""
        self._closed = None
        passing = [
            name for name, refusals in self._refused.items() if not all(refusal.too_large for refusal in refusals)
        ]
        for name in passing:
            del self._refused[name]

    def _reconcile(self) -> None:
        """Makes the run of every trial that is not running now say what the ledger says."""
        marks = known.marks_of(self._ledger, self._sweep)
        told = known.read(self._ledger, self._sweep.name, self._uri)
        self.behind = known.missing(told, marks)
        connects = self.behind or self._store
        if connects and told.created not in ("", self._connected().created):  # a server that was emptied
            told = Delivered()
            self.behind = list(marks)
        trials = dict(told.trials)
        try:
            for trial_id in self._told([trial_id for trial_id in self.behind if trial_id not in self._live]):
                trials[trial_id] = marks[trial_id]
                self.behind.remove(trial_id)
        finally:
            if self._store:
                store = self._store
                told = replace(told, experiment=store.experiment, created=store.created, runs=store.run_ids)
            self._remember(replace(told, trials=trials))

    def _told(self, trial_ids: Sequence[str]) -> Iterator[str]:
        """Tells of these trials, first how all of them stand. Yields each that MLflow then has with its files."""
        states = {}
        for trial_id in trial_ids:
            standing, epochs = self._ledger.standing(trial_id), self._ledger.epochs(trial_id)
            self._write(self._connected(), trial_id, standing.state, epochs, standing)
            states[trial_id] = standing.state
        for trial_id, state in states.items():
            self._write_files(self._connected(), trial_id, state)
            if not self._is_refused(trial_id):
                yield trial_id

    def _is_refused(self, trial_id: str) -> bool:
        return trial_id in self._refused_runs or trial_id in self._refused


def _tags(state: TrialState, standing: Standing) -> dict[str, str]:
    tags = {"state": str(state), "attempts": str(standing.attempts)}
    if state is TrialState.FAILED:
        tags["failure"] = (standing.failure or "")[:4000]
    if record := standing.record:
        tags |= views.record_tags(record)
    elif standing.first_began:
        tags[views.IDENTITY[0]] = standing.first_began
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
