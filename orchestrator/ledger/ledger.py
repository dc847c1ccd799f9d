"""The truth about all trials, on disk: one folder a trial, named by its id. MLflow and the tables are views of it.

::

    STORAGE/trials/ID/config.json        what is trained
                      attempt.json       who trains it now, or did last
                      checkpoints/       the newest states of its network
                      metrics.parquet    a row for each epoch and prediction so far
                      outcomes.parquet   what its network answers to each image, once it is trained
                      guarantees.json    thresholds with a guarantee, once somebody has asked for them
                      log.txt            what its attempts printed and logged, if they did
                      failure.json       why the last attempt failed
                      pause.json         that it paused, for its sweep to decide whether it goes on
                      result.json        how it ended: once this is there, the trial never runs again
                      lock               held for the moment in which one of these takes its place
    STORAGE/sweeps/NAME/                 the driver's lock and log, its word while it runs, what the sweep is made of
    STORAGE/sweeps/NAME/trials.json      the trials that it needs, which nobody may take away
    STORAGE/speeds/                      how long steps took that were thrown away (``calibrations``)
    STORAGE/gc.json                      who takes away what nobody needs, just now
    STORAGE/index.bin                  a copy of many results, made where it is missing

Every file but the locks appears whole, and all but the logs say by a checksum whether they are as they were written. An
attempt writes only while it is the last one that began, so a worker that was given up and comes back late changes
nothing: it looks, and renames, under the trial's lock. What that leaves open is a worker that is stopped between the
two for longer than ``LOCK_SECONDS``, and storage without locks. STORAGE is a folder, or a prefix in a bucket
(``storage``).
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from anytime_core.config import to_dict
from anytime_core.files import Guard
from anytime_core.outcomes import Outcomes
from anytime_core.result import EpochMetrics
from anytime_core.training.checkpoint import NAME, is_whole, keep_newest, newest
from orchestrator.ledger import checksummed, lock
from orchestrator.ledger.standings import (
    Attempt,
    Driver,
    ElsewhereError,
    Failure,
    Standing,
    SupersededError,
    now,
)
from orchestrator.ledger.storage import writing
from orchestrator.ledger.sweeps import OF_SWEEP, driver_of
from orchestrator.ledger.trials import ATTEMPT, GUARANTEES, LOG, OUTCOMES, PAUSE, RESULT, Trials
from orchestrator.redaction import redacted
from orchestrator.sweep.trial import Trial, TrialRecord

if TYPE_CHECKING:
    from orchestrator.ledger.guarantees_file import Calibration

__all__ = [
    "GUARANTEES",
    "LOG",
    "OF_SWEEP",
    "OUTCOMES",
    "RESULT",
    "Attempt",
    "Driver",
    "ElsewhereError",
    "Failure",
    "Ledger",
    "Standing",
    "SupersededError",
    "driver_of",
    "now",
]

log = logging.getLogger(__name__)

LOCK_SECONDS = 10.0
"""Longer than the lock of a trial is held, but by a worker that was stopped just then: it is not waited for."""


class Ledger(Trials):
    """All trials below one storage: reads them, and writes what the workers that make attempts have to say.

    Storage is a folder, which workers on all nodes must see at the same path, or a prefix in a bucket. What is written
    is whole or not there, whoever dies meanwhile; ``records`` has what ended, ``standing`` where a trial is.

    >>> from pathlib import Path
    >>> ledger = Ledger(Path("runs"))
    >>> ledger.make()
    >>> ledger.records(["0123456789abcdef"]), str(ledger.standing("0123456789abcdef").state)
    ({}, 'pending')
    """

    def begin(self, trial: Trial, sweep: str = "", device: str = "", driver: str = "") -> Attempt:
        """Starts an attempt for a sweep and its ``driver``, which from now on is the only one that may write.

        Raises ElsewhereError where another sweep has one under way.
        """
        return self.take(trial.id, to_dict(trial.config), sweep, device, driver)

    def take(
        self, trial_id: str, config: dict[str, Any], sweep: str = "", device: str = "", driver: str = ""
    ) -> Attempt:
        """The same of a trial by its id and its config as JSON has it. Of no sweep, any that trains it is another."""
        if self._read(trial_id, "config.json") != config:
            self._files.write(f"trials/{trial_id}/config.json", json.dumps(config, indent=1).encode())
        with self.alone(trial_id):
            if other := self.elsewhere(trial_id, sweep):
                raise ElsewhereError(trial_id, other)
            return self._begin(trial_id, sweep, device, driver)

    def _begin(self, trial_id: str, sweep: str, device: str, driver: str) -> Attempt:
        before, began = self.attempt(trial_id), now()
        attempt = Attempt(
            trial_id=trial_id,
            number=before.number + 1 if before else 1,
            token=uuid4().hex,
            host=socket.gethostname(),
            pid=os.getpid(),
            began=began,
            first_began=before.trial_began if before else began,
            sweep=sweep,
            device=device,
            driver=driver,
        )
        self._write(trial_id, ATTEMPT, asdict(attempt))
        result = f"trials/{trial_id}/{RESULT}"
        if self._files.exists(result) and self.record(trial_id) is None:
            # Damaged, and `check` would take it for the end.
            kept = f"{result}.damaged"
            kept += f"-{uuid4().hex[:8]}" if self._files.exists(kept) else ""
            self._files.rename(result, kept)
            log.warning("%s is damaged: kept as %s", self._files.address(result), kept.rpartition("/")[2])
        return attempt

    def check(self, attempt: Attempt) -> None:
        """Raises SupersededError unless this is the last attempt that began and the trial has not ended."""
        ended = self._files.exists(f"trials/{attempt.trial_id}/{RESULT}")
        if ended or self.attempt(attempt.trial_id) != attempt:
            raise SupersededError(f"{attempt.trial_id}: attempt {attempt.number} came back after another had begun")

    @contextmanager
    def fenced(self, attempt: Attempt) -> Iterator[None]:
        """A moment in which no other attempt at the trial can begin. Raises SupersededError as ``check`` does."""
        with self.alone(attempt.trial_id):
            self.check(attempt)
            yield

    def _guard(self, attempt: Attempt) -> Guard:
        return partial(self.fenced, attempt)

    def alone(self, trial_id: str) -> AbstractContextManager[None]:
        """Holds a trial's lock; goes on without it where there is none to be had."""
        return lock.alone(self._files, f"trials/{trial_id}/lock", LOCK_SECONDS)

    def write_epochs(
        self,
        attempt: Attempt,
        units: Sequence[int],
        costs: Sequence[int],
        epochs: Sequence[EpochMetrics],
        about: Mapping[str, str | int | None] | None = None,
    ) -> None:
        """``about`` says what trial it is."""
        from orchestrator.ledger import epochs_file

        self.check(attempt)
        name, content = (
            f"trials/{attempt.trial_id}/metrics.parquet",
            epochs_file.pack(attempt.trial_id, units, costs, epochs, about),
        )
        self._files.write(name, content, self._guard(attempt))

    def write_log(self, attempt: Attempt, content: bytes) -> None:
        """Replaces the trial's log, which is redacted already."""
        self.check(attempt)
        self._files.write(f"trials/{attempt.trial_id}/{LOG}", content, self._guard(attempt))

    def write_outcomes(self, attempt: Attempt, outcomes: Mapping[str, Outcomes], network_hash: str = "") -> None:
        """What a trial's network answers to each image, by split; before its end is written, so that nothing is looked
        for that is still to come. The hash says which network that is, where it is known."""
        self.check(attempt)
        self.fill_outcomes(attempt.trial_id, outcomes, network_hash, self._guard(attempt))

    def fill_outcomes(
        self, trial_id: str, outcomes: Mapping[str, Outcomes], network_hash: str = "", guard: Guard = nullcontext
    ) -> None:
        """The same of a trial that ended without them, whoever comes first: all write the same."""
        from orchestrator.ledger import outcomes_file

        self._files.write(f"trials/{trial_id}/{OUTCOMES}", outcomes_file.pack(outcomes, network_hash), guard)

    def keep_guarantee(self, trial_id: str, network_hash: str, calibration: Calibration) -> None:
        """Adds one for the network of that hash, or replaces the one with the same words; those of another network, and
        a damaged file, go. Raises StorageError."""
        from orchestrator.ledger.guarantees_file import Guarantees

        with writing(self._files, f"trials/{trial_id}/{GUARANTEES}"), self.alone(trial_id):
            before = self.guarantees(trial_id)
            if before is None or before.network_hash != network_hash:
                before = Guarantees(network_hash=network_hash, calibrations=())
            self._write(trial_id, GUARANTEES, asdict(before.with_one(calibration)))

    def finish(self, attempt: Attempt, record: TrialRecord) -> None:
        """Ends a trial. Of its checkpoints the newest stays: the trained network."""
        self.check(attempt)
        self._write(attempt.trial_id, RESULT, asdict(record), self._guard(attempt))
        keep_newest(self.checkpoints(attempt.trial_id))

    def fail(self, attempt: Attempt, error: str, traceback: str = "", *, kind: str = "", signature: str = "") -> None:
        self.check(attempt)
        failure = {
            "attempt": attempt.number,
            "token": attempt.token,
            "error": redacted(error),
            "traceback": redacted(traceback),
            "time": now(),
            "kind": kind,
            "signature": redacted(signature),
        }
        self._write(attempt.trial_id, "failure.json", failure, self._guard(attempt))

    def pause(self, attempt: Attempt, step: int) -> None:
        """Ends an attempt at a step that a checkpoint and the metrics hold; the trial can go on from there."""
        self.check(attempt)
        self._write(attempt.trial_id, PAUSE, {"token": attempt.token, "step": step}, self._guard(attempt))

    # Taking away

    def remove(self, trial_id: str) -> None:
        """Takes away a trial. Its end goes first: what a kill leaves of the rest is a trial that has not ended, which
        goes on from its checkpoint. Raises OSError."""
        with self.alone(trial_id):
            self._files.delete(f"trials/{trial_id}/{RESULT}")
            self._files.clear(f"trials/{trial_id}")

    def drop_checkpoints(self, trial_id: str) -> None:
        """Of a trial that ended, all checkpoints but the newest, the trained network; none while that is damaged.
        Raises OSError, StorageError."""
        checkpoints = self.checkpoints(trial_id)
        with self.alone(trial_id):
            if self.record(trial_id) and (saved := newest(checkpoints)) and is_whole(checkpoints, saved):
                keep_newest(checkpoints)

    def drop_unended(self, trial_id: str) -> None:
        """Of a trial that has not ended, and that nobody trains now, all checkpoints; what it had at each epoch stays.
        Raises OSError, StorageError."""
        with self.alone(trial_id):
            if self.record(trial_id) is None and not self.elsewhere(trial_id, ""):
                folder = self._files.below(f"trials/{trial_id}/checkpoints")
                for name in filter(NAME.fullmatch, folder.names()):
                    folder.delete(name)

    def _write(self, trial_id: str, name: str, content: dict[str, Any], guard: Guard = nullcontext) -> None:
        self._files.write(f"trials/{trial_id}/{name}", checksummed.pack(content), guard)
