"""Reads what a ledger keeps of each trial."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anytime_core.config import from_dict
from anytime_core.documents import typed
from anytime_core.outcomes import Outcomes
from anytime_core.result import EpochMetrics
from anytime_core.training.checkpoint import Place, latest, latest_step, newest
from orchestrator.ledger import log_file
from orchestrator.ledger.records import record_of
from orchestrator.ledger.standings import Attempt, Failure, Standing
from orchestrator.ledger.storage import Stamp, described, reading
from orchestrator.ledger.sweeps import Sweeps
from orchestrator.redaction import redacted
from orchestrator.sweep.trial import TrialRecord, TrialState, identity

if TYPE_CHECKING:
    from orchestrator.ledger.guarantees_file import Guarantees

log = logging.getLogger(__name__)

FEW = 256
"""So many files are read sooner than an index, whose import and reading take that long, too."""
RESULT, OUTCOMES, GUARANTEES, LOG = "result.json", "outcomes.parquet", "guarantees.json", "log.txt"
ATTEMPT, PAUSE = "attempt.json", "pause.json"
FILES = ("config.json", RESULT, "metrics.parquet", OUTCOMES, GUARANTEES, "failure.json", LOG)
SETTLED = 2_000_000_000
"""In nanoseconds: a file that was changed less long ago could change again and bear the same time."""


class Trials(Sweeps):
    """The folder of each trial, to be read. Whether one is trained now, the folder of its sweep says."""

    def folder(self, trial_id: str) -> Path:
        """The trial's folder on this machine: empty where the storage is a bucket."""
        return self.local / "trials" / trial_id

    def checkpoints(self, trial_id: str) -> Place:
        """Where a trial's checkpoints are."""
        name = f"trials/{trial_id}/checkpoints"
        return self._files.below(name)

    def files(self, trial_id: str) -> dict[str, str]:
        """Where the files of a trial are that there are, by name."""
        names = {name: f"trials/{trial_id}/{name}" for name in FILES}
        if checkpoint := newest(self.checkpoints(trial_id)):
            names["checkpoint"] = f"trials/{trial_id}/checkpoints/{checkpoint}"
        return {name: self._files.address(path) for name, path in names.items() if self._files.exists(path)}

    def record(self, trial_id: str) -> TrialRecord | None:
        """How a trial ended; None if it has not. Raises StorageError where that cannot be read."""
        content = self._read(trial_id, RESULT)
        if content is None:
            return None
        try:
            return record_of(trial_id, content)
        except ValueError as error:
            log.warning("%s: result.json is damaged (%s); the trial counts as not ended", trial_id, error)
            return None

    def records(self, trial_ids: Iterable[str]) -> dict[str, TrialRecord]:
        """How those of the trials ended that did, by id, in the order given. They share parts: not to be changed.

        What the index holds is not read again, and it is brought up to date where more than a few were not in it.
        Raises StorageError where a result cannot be read.
        """
        stamps = self._stamps(trial_ids)
        records = self._indexed(stamps) if len(stamps) > FEW else self._records_of(stamps)
        return {name: record for name in stamps if (record := records[name])}

    def config(self, trial_id: str) -> dict[str, Any] | None:
        """What a trial is or was to train, as JSON has it; None where it is lost. Raises StorageError."""
        config = self._read(trial_id, "config.json")
        if config and identity(config) == trial_id:
            return config
        record = self.record(trial_id)
        return record.config if record else None

    def all_records(self) -> dict[str, TrialRecord]:
        """Of all trials that ended, whatever sweep they are of."""
        return self.records(self.begun())

    def _records_of(self, trial_ids: Iterable[str]) -> dict[str, TrialRecord | None]:
        names = list(trial_ids)
        return dict(zip(names, self._files.each(self.record, names), strict=True))

    def _stamps(self, trial_ids: Iterable[str]) -> dict[str, Stamp]:
        """What tells one ``result.json`` from another, of all trials that have one."""
        begun = self.begun()
        paths = {f"trials/{name}/{RESULT}": name for name in trial_ids if name in begun}
        with reading(self._files, "trials"):
            return {paths[path]: stamp for path, stamp in self._files.stamps(paths).items()}

    def begun(self) -> set[str]:
        """The trials that have a folder, by id."""
        with reading(self._files, "trials"):
            return set(self._files.names("trials"))

    def _indexed(self, stamps: Mapping[str, Stamp]) -> dict[str, TrialRecord | None]:
        from orchestrator.ledger.index import Index, IndexEntry

        settled = time.time_ns() - SETTLED
        index = Index(self._files, "index.bin")
        held = index.records(stamps)
        read = self._records_of(name for name in stamps if name not in held)
        new = {n: IndexEntry(stamps[n], record) for n, record in read.items() if record and stamps[n][0] < settled}
        if len(new) > FEW:
            index.update(new, self.begun())
        return held | read

    def standing(self, trial_id: str) -> Standing:
        """Where a trial stands. Raises StorageError where its result cannot be read."""
        record = self.record(trial_id)
        return _ended(record) if record else self._unended(trial_id)

    def standings(self, trial_ids: Iterable[str]) -> dict[str, Standing]:
        """The same of many, by id, with the help of the index."""
        names = list(trial_ids)
        records, begun = self.records(names), self.begun()
        open_ = [name for name in dict.fromkeys(names) if name in begun and name not in records]
        unended = dict(zip(open_, self._files.each(self._unended, open_), strict=True))
        return {name: _ended(records[name]) if name in records else unended.get(name, Standing()) for name in names}

    def _unended(self, trial_id: str) -> Standing:
        attempt = self.attempt(trial_id)
        failure, step = self._failure_of(attempt), self.step(trial_id)
        begun = attempt or step  # what attempt.json said may be lost
        state = TrialState.INTERRUPTED if begun else TrialState.PENDING
        if attempt and (failure or self._is_paused(attempt)):
            state = TrialState.FAILED if failure else TrialState.PAUSED
        return Standing(
            state=state,
            attempts=attempt.number if attempt else 0,
            began=attempt.began if attempt else None,
            driver=attempt.driver if attempt else "",
            step=step,
            failure=failure.error if failure else None,
            kind=failure.kind if failure else "",
            signature=failure.signature if failure else "",
            first_began=attempt.trial_began if attempt else "",
            sweep=attempt.sweep if attempt else "",
        )

    def failure(self, trial_id: str) -> str | None:
        """Why the last attempt failed; None if it did not."""
        return self.standing(trial_id).failure

    def last_failure(self, trial_id: str) -> Failure | None:
        """Of the last attempt; None if it did not fail."""
        failure = self._failure_of(self.attempt(trial_id))
        return failure and replace(failure, traceback=redacted(failure.traceback))

    def _failure_of(self, attempt: Attempt | None) -> Failure | None:
        content = attempt and self._read(attempt.trial_id, "failure.json")
        if not content or not attempt or content.get("token") != attempt.token:
            return None
        return Failure(
            attempt=attempt.number,
            error=redacted(str(content.get("error"))),  # as others, or an earlier version, may have written it
            traceback=str(content.get("traceback", "")),
            time=str(content.get("time", "")),
            kind=str(content.get("kind", "")),
            signature=str(content.get("signature", "")),
        )

    def _is_paused(self, attempt: Attempt) -> bool:
        content = self._read(attempt.trial_id, PAUSE) or {}
        return content.get("token") == attempt.token

    def state(self, trial_id: str) -> TrialState:
        return self.standing(trial_id).state

    def attempt(self, trial_id: str) -> Attempt | None:
        """The last attempt that began."""
        content = self._read(trial_id, ATTEMPT)
        try:
            return typed(Attempt, content) if content else None
        except ValueError as error:
            log.warning("%s: attempt.json is damaged: %s", trial_id, error)
            return None

    def elsewhere(self, trial_id: str, sweep: str) -> str | None:
        """The other sweep whose driver has this trial trained now; None if there is none."""
        attempt = self.attempt(trial_id)
        if not attempt or attempt.sweep in ("", sweep) or self._failure_of(attempt) or self._is_paused(attempt):
            return None
        driver = self.driver(attempt.sweep)
        return attempt.sweep if driver and driver.runs(attempt.began, attempt.driver) else None

    def attempts(self, trial_id: str) -> int:
        attempt = self.attempt(trial_id)
        return attempt.number if attempt else 0

    def step(self, trial_id: str) -> int:
        """The step of the newest checkpoint; 0 without one."""
        with reading(self._files, f"trials/{trial_id}/checkpoints"):
            return latest_step(self.checkpoints(trial_id)) or 0

    def epochs(self, trial_id: str) -> list[EpochMetrics]:
        """The metrics of a trial so far, one for each epoch; those of its newest checkpoint if their file is damaged.

        Raises StorageError where they cannot be read now.
        """
        from orchestrator.ledger import epochs_file

        name = f"trials/{trial_id}/metrics.parquet"
        with reading(self._files, name):
            try:
                return epochs_file.unpack(self._files.read(name, epochs_file.MOST), self._predictions(trial_id))
            except (FileNotFoundError, NotADirectoryError):
                return []
            except ValueError as error:
                epochs = self.epochs_of_checkpoint(trial_id)
                other = f"the {len(epochs)} epochs of its checkpoint stand in" if epochs else "it counts as empty"
                log.warning("%s is damaged (%s); %s", self._files.address(name), described(error), other)
                return epochs

    def epochs_of(self, trial_ids: Iterable[str]) -> dict[str, list[EpochMetrics]]:
        """The same of those of many trials that began, by id."""
        names = sorted(self.begun().intersection(trial_ids))
        return dict(zip(names, self._files.each(self.epochs, names), strict=True))

    def _predictions(self, trial_id: str) -> int | None:
        """How many a trial has; None where its config is not there, or this version does not know it."""
        with suppress(LookupError, TypeError, ValueError):
            return len(from_dict(self.config(trial_id) or {}).predicting_units)
        record = self.record(trial_id)
        return len(record.result.units) if record else None

    def epochs_of_checkpoint(self, trial_id: str) -> list[EpochMetrics]:
        """Those that its newest checkpoint holds; empty where there is none, or it cannot be read, which the log
        says."""
        try:
            checkpoint = latest(self.checkpoints(trial_id))
            return [EpochMetrics.of(epoch) for epoch in checkpoint.meta.get("history", [])] if checkpoint else []
        except (TypeError, ValueError) as error:
            log.warning("%s: its checkpoint is damaged: %s", trial_id, described(error))
            return []

    def _read(self, trial_id: str, name: str) -> dict[str, Any] | None:
        return self._content(f"trials/{trial_id}/{name}")

    def log(self, trial_id: str) -> str:
        """What a trial printed and logged so far (``log_file``); empty where it said nothing, or ran under a version
        that kept no log. Others may have written it. Raises StorageError."""
        name = f"trials/{trial_id}/{LOG}"
        with reading(self._files, name):
            try:
                return self._files.read(name, log_file.MOST).decode(errors="replace")
            except (FileNotFoundError, NotADirectoryError):
                return ""

    def log_size(self, trial_id: str) -> int | None:
        """Bytes of the same; None without a log. Raises StorageError."""
        name = f"trials/{trial_id}/{LOG}"
        with reading(self._files, name):
            stamp = self._files.stamps([name]).get(name)
        return stamp[1] if stamp else None

    def outcomes(self, trial_id: str) -> dict[str, Outcomes]:
        """By split; empty where there are none, or they are damaged or of another network than the trial's, which the
        log says. Raises StorageError where they cannot be read now."""
        from orchestrator.ledger import outcomes_file

        name = f"trials/{trial_id}/{OUTCOMES}"
        with reading(self._files, name):
            try:
                content = self._files.read(name, outcomes_file.MOST)
                return outcomes_file.unpack(content, self.network_hash(trial_id))
            except (FileNotFoundError, NotADirectoryError):
                return {}
            except outcomes_file.OtherNetworkError as error:
                log.warning("%s is %s; it counts as missing", self._files.address(name), described(error))
                return {}
            except ValueError as error:
                log.warning("%s is damaged (%s); it counts as missing", self._files.address(name), described(error))
                return {}

    def network_hash(self, trial_id: str) -> str:
        """Of the network of a trial that ended; empty where that was not written down."""
        record = self.record(trial_id)
        return str(record.provenance.get("network_hash") or "") if record else ""

    def lacking_outcomes(self, trial_ids: Iterable[str]) -> list[str]:
        """The trials whose outcomes are not there, damaged or of another network, in the order given.

        Raises StorageError.
        """
        names = list(trial_ids)
        there = self._files.each(lambda name: bool(self.outcomes(name)), names)
        return [name for name, kept in zip(names, there, strict=True) if not kept]

    def guarantees(self, trial_id: str) -> Guarantees | None:
        """The thresholds with a guarantee that were found for its network; None where there are none, or they are
        damaged, which the log says. Raises StorageError where they cannot be read now."""
        from orchestrator.ledger.guarantees_file import guarantees_of

        content = self._read(trial_id, GUARANTEES)
        try:
            return guarantees_of(content) if content is not None else None
        except ValueError as error:
            log.warning("%s is damaged: %s", self._files.address(f"trials/{trial_id}/{GUARANTEES}"), error)
            return None


def _ended(record: TrialRecord) -> Standing:
    return Standing(state=record.state, attempts=record.attempts, step=record.result.steps, record=record)
