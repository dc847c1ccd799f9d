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
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from anytime_core.config import from_dict, to_dict
from anytime_core.documents import PARTS, known, parse, typed
from anytime_core.files import MOST, Guard, LocalFolder, plain_files
from anytime_core.outcomes import Outcomes
from anytime_core.result import EpochMetrics
from anytime_core.training.checkpoint import Place, is_whole, keep_newest, latest, latest_step, newest
from orchestrator.errors import HeldError, StorageError
from orchestrator.ledger import checksummed, lock, log_file
from orchestrator.ledger.records import record_of
from orchestrator.ledger.storage import LocalStorage, Location, Stamp, described, reason, storage_at
from orchestrator.redaction import redacted
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState, identity

if TYPE_CHECKING:
    from orchestrator.ledger.guarantees_file import Calibration, Guarantees

log = logging.getLogger(__name__)

ID_FILE, LONGEST_ID = "id", 64
FEW = 256
"""So many files are read sooner than an index, whose import and reading take that long, too."""
RESULT, OUTCOMES, GUARANTEES, LOG = "result.json", "outcomes.parquet", "guarantees.json", "log.txt"
OF_SWEEP = "trials.json"
"""Which trials a sweep needs, in its folder."""
FILES = ("config.json", RESULT, "metrics.parquet", OUTCOMES, GUARANTEES, "failure.json", LOG)
SETTLED = 2_000_000_000
"""In nanoseconds: a file that was changed less long ago could change again and bear the same time."""
MOST_STATUS = 1 << 25
"""Bytes of what a driver says; 100,000 running trials take 15 MB."""
MOST_SWEEP, MOST_SWEEP_PARTS = 1 << 27, 1 << 20
"""Bytes of what a sweep is made of, and lists and objects in it; 100,000 trials take 50 MB."""
LOCK_SECONDS = 10.0
"""Longer than the lock of a trial is held, but by a worker that was stopped just then: it is not waited for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try at a trial. ``number`` counts from 1; ``token`` is its own. ``first_began`` is when the first try at the
    trial began, ``sweep`` the one whose driver made this one, ``driver`` that driver's id, and ``device`` what of its
    host it uses; they are empty where that was not written down."""

    trial_id: str
    number: int
    token: str
    host: str
    pid: int
    began: str
    first_began: str = ""
    sweep: str = ""
    device: str = ""
    driver: str = ""

    @property
    def place(self) -> str:
        return f"{self.host} {self.device}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why an attempt failed. ``error`` is a line for the user; ``kind`` is a FailureKind, and ``signature`` the same
    for the same cause, both empty where they were not written down."""

    attempt: int
    error: str
    traceback: str
    time: str
    kind: str = ""
    signature: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The process that runs a sweep. ``id`` is its own; empty for one of a version that had none."""

    host: str
    pid: int
    since: str
    id: str = ""

    def runs(self, began: str | None, driver: str) -> bool:
        """Whether it made an attempt that began then under the driver of that id. The clocks of two machines are not
        compared, but where one of the two is of a version that knew no ids."""
        if self.id and driver:
            return self.id == driver
        return not self.id and began is not None and began >= self.since

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a trial stands. ``record`` is there once it has ended; until then ``began`` says when the last of its
    ``attempts`` did, ``sweep`` and ``driver`` whose it was, ``first_began`` when the first did, where that is known,
    and ``failure`` why the last one failed, with its ``kind`` and ``signature``. ``step`` is that of the end, or of the
    newest checkpoint.

    One that began and has neither ended nor paused counts as interrupted: whether it runs, only its driver knows.
    """

    state: TrialState = TrialState.PENDING
    attempts: int = 0
    began: str | None = None
    driver: str = ""
    step: int = 0
    failure: str | None = None
    record: TrialRecord | None = None
    kind: str = ""
    signature: str = ""
    first_began: str = ""
    sweep: str = ""

    def under(self, driver: Driver | None) -> TrialState:
        """As ``state``, but a trial that its sweep's present driver has begun is running."""
        runs = driver is not None and driver.runs(self.began, self.driver)
        return TrialState.RUNNING if self.state is TrialState.INTERRUPTED and runs else self.state


class SupersededError(Exception):
    """A later attempt at the same trial has begun; this one must not write any more."""


class ElsewhereError(Exception):
    """Another sweep has the same trial, and trains it now."""

    def __init__(self, trial_id: str, sweep: str) -> None:
        super().__init__(f"{trial_id}: sweep {sweep} trains it now")
        self.sweep = sweep


class Ledger:
    """All trials below one storage folder, which workers on all nodes must see at the same path, or in one bucket.

    ``storage`` is where that is, ``local`` a folder of this machine for what must be files here: the storage itself
    where that is a folder. Raises UsageError for storage that cannot be.
    """

    def __init__(self, storage: Location) -> None:
        self._files = storage_at(storage)
        self.storage = self._files.location
        self.local = self._files.local

    def make(self) -> None:
        """Makes the storage ready. Raises StorageError if it cannot be written."""
        try:
            self._files.make("trials", "sweeps")
            if not self._files.exists(ID_FILE):
                self._files.write(ID_FILE, uuid4().hex.encode())
            self.local.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.storage}: storage cannot be written: {reason(error)}") from error

    def exists(self) -> bool:
        return self._files.exists()

    @property
    def id(self) -> str:
        """Tells this ledger from all others, wherever it is moved to; empty before ``make``."""
        try:
            text = self._files.read(ID_FILE).decode("ascii")
        except (OSError, ValueError):
            return ""
        return text if len(text) <= LONGEST_ID and text.isalnum() else ""

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

    # Reading

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
        with self._reading("trials"):
            return {paths[path]: stamp for path, stamp in self._files.stamps(paths).items()}

    def begun(self) -> set[str]:
        """The trials that have a folder, by id."""
        with self._reading("trials"):
            return set(self._files.names("trials"))

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Raises StorageError where that cannot be done now."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self._files.address(name)}: cannot be read: {reason(error)}") from error

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
            first_began=_first_began(attempt) if attempt else "",
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
        content = self._read(attempt.trial_id, "pause.json") or {}
        return content.get("token") == attempt.token

    def state(self, trial_id: str) -> TrialState:
        return self.standing(trial_id).state

    def attempt(self, trial_id: str) -> Attempt | None:
        """The last attempt that began."""
        content = self._read(trial_id, "attempt.json")
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
        with self._reading(f"trials/{trial_id}/checkpoints"):
            return latest_step(self.checkpoints(trial_id)) or 0

    def epochs(self, trial_id: str) -> list[EpochMetrics]:
        """The metrics of a trial so far, one for each epoch; those of its newest checkpoint if their file is damaged.

        Raises StorageError where they cannot be read now.
        """
        from orchestrator.ledger import epochs_file

        name = f"trials/{trial_id}/metrics.parquet"
        with self._reading(name):
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

    def _content(self, name: str, most: int = MOST, parts: int = PARTS) -> dict[str, Any] | None:
        """A JSON object; None if there is none, or it is damaged, which the log says."""
        with self._reading(name):
            try:
                return checksummed.unpack(self._files.read(name, most), parts)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except ValueError as error:
                log.warning("%s is damaged: %s", self._files.address(name), described(error))
                return None

    def log(self, trial_id: str) -> str:
        """What a trial printed and logged so far (``log_file``); empty where it said nothing, or ran under a version
        that kept no log. Others may have written it. Raises StorageError."""
        name = f"trials/{trial_id}/{LOG}"
        with self._reading(name):
            try:
                return self._files.read(name, log_file.MOST).decode(errors="replace")
            except (FileNotFoundError, NotADirectoryError):
                return ""

    def log_size(self, trial_id: str) -> int | None:
        """Bytes of the same; None without a log. Raises StorageError."""
        name = f"trials/{trial_id}/{LOG}"
        with self._reading(name):
            stamp = self._files.stamps([name]).get(name)
        return stamp[1] if stamp else None

    # Writing: by the worker that makes an attempt

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
            first_began=_first_began(before) if before else began,
            sweep=sweep,
            device=device,
            driver=driver,
        )
        self._write(trial_id, "attempt.json", asdict(attempt))
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

    def outcomes(self, trial_id: str) -> dict[str, Outcomes]:
        """By split; empty where there are none, or they are damaged or of another network than the trial's, which the
        log says. Raises StorageError where they cannot be read now."""
        from orchestrator.ledger import outcomes_file

        name = f"trials/{trial_id}/{OUTCOMES}"
        with self._reading(name):
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

    def keep_guarantee(self, trial_id: str, network_hash: str, calibration: Calibration) -> None:
        """Adds one for the network of that hash, or replaces the one with the same words; those of another network, and
        a damaged file, go. Raises StorageError."""
        from orchestrator.ledger.guarantees_file import Guarantees

        try:
            with self.alone(trial_id):
                before = self.guarantees(trial_id)
                if before is None or before.network_hash != network_hash:
                    before = Guarantees(network_hash=network_hash, calibrations=())
                self._write(trial_id, GUARANTEES, asdict(before.with_one(calibration)))
        except OSError as error:
            where = self._files.address(f"trials/{trial_id}/{GUARANTEES}")
            raise StorageError(f"{where}: cannot be written: {reason(error)}") from error

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
        self._write(attempt.trial_id, "pause.json", {"token": attempt.token, "step": step}, self._guard(attempt))

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

    def _write(self, trial_id: str, name: str, content: dict[str, Any], guard: Guard = nullcontext) -> None:
        self._files.write(f"trials/{trial_id}/{name}", checksummed.pack(content), guard)

    # The driver's own folder for a sweep

    def sweep_folder(self, sweep: str) -> Path:
        """On this machine: where the storage is a bucket, ``publish`` puts there what others are to see."""
        return self.local / "sweeps" / sweep

    def sweep_files(self, sweep: str) -> LocalFolder:
        """The same, for who reads or writes what others can, too."""
        return LocalFolder(self.local, f"sweeps/{sweep}")

    def publish(self, folder: Path) -> str:
        """Puts the files below a folder, itself below ``local``, into the storage, where they are not there already.

        Returns where they are, for people. Raises StorageError.
        """
        name = folder.relative_to(self.local).as_posix()
        if isinstance(self._files, LocalStorage):
            return str(folder)
        try:
            for path in plain_files(folder):
                self._files.write(path.relative_to(self.local).as_posix(), path.read_bytes())
        except OSError as error:
            raise StorageError(f"{self._files.address(name)}: cannot be written: {reason(error)}") from error
        return self._files.address(name)

    def write_status(self, sweep: str, content: dict[str, Any] | None) -> None:
        """Leaves a driver's word, or takes it away. Raises OSError; ValueError for what JSON has not."""
        name = f"sweeps/{sweep}/progress.json"
        if content is not None:
            self._files.write(name, checksummed.pack(content))
        elif self._files.exists(name):
            self._files.delete(name)

    def read_status(self, sweep: str) -> dict[str, Any] | None:
        """What the sweep's driver said last; None once it has ended as it should."""
        return self._content(f"sweeps/{sweep}/progress.json", MOST_STATUS)

    def write_sweep(self, sweep: str, content: dict[str, Any]) -> None:
        """Leaves what a sweep is made of, for who reads it when its file cannot be. Raises OSError."""
        self._files.write(f"sweeps/{sweep}/sweep.json", checksummed.pack(content))

    def read_sweep(self, sweep: str) -> dict[str, Any] | None:
        """What its last driver wrote. Raises StorageError."""
        return self._content(f"sweeps/{sweep}/sweep.json", MOST_SWEEP, MOST_SWEEP_PARTS)

    def sweeps(self) -> list[str]:
        """Those that have run in this storage, by name. Raises StorageError."""
        with self._reading("sweeps"):
            return sorted(self._files.names("sweeps"))

    def write_trials(self, sweep: str, ids: Sequence[str]) -> None:
        """Leaves which trials a sweep needs. Raises StorageError."""
        name = f"sweeps/{sweep}/{OF_SWEEP}"
        try:
            self._files.write(name, checksummed.pack({"trials": list(ids)}))
        except OSError as error:
            raise StorageError(f"{self._files.address(name)}: cannot be written: {reason(error)}") from error

    def read_trials(self, sweep: str) -> list[str] | None:
        """The same as its last driver left it; None where none did, or it is damaged, which the log says. Earlier
        versions left a plain list. Raises StorageError where it cannot be read now."""
        name = f"sweeps/{sweep}/{OF_SWEEP}"
        with self._reading(name):
            try:
                content = self._files.read(name, MOST_SWEEP)
                ids = parse(content) if content.lstrip().startswith(b"[") else checksummed.unpack(content)["trials"]
                if not isinstance(ids, list) or not all(isinstance(trial_id, str) for trial_id in ids):
                    raise ValueError("it is no list of trials")
            except (FileNotFoundError, NotADirectoryError):
                return None
            except (LookupError, ValueError) as error:
                log.warning("%s is damaged: %s", self._files.address(name), described(error))
                return None
        return ids

    @contextmanager
    def drive(self, sweep: str, driver: str = "") -> Iterator[Path]:
        """Holds a sweep: no second driver can. ``driver`` is the id by which attempts are known to be this driver's.
        Raises HeldError that names the one that holds it, or StorageError.

        A dead driver holds nothing, or where there are no locks only for seconds (``orchestrator.ledger.lock``).
        """
        owner = asdict(Driver(host=socket.gethostname(), pid=os.getpid(), since=now(), id=driver))
        folder = self.sweep_folder(sweep)
        try:
            with ExitStack() as stack:
                try:
                    if not isinstance(self._files, LocalStorage):
                        folder.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(lock.hold(self._files, _lock_of(sweep), owner))
                except OSError as error:
                    raise StorageError(f"{folder}: storage cannot be written: {reason(error)}") from error
                yield folder
        except lock.TakenError as taken:
            holder = driver_of(taken.owner) or "another process"
            raise HeldError(f"sweep {sweep} is already being run by {holder}; storage: {self.storage}") from taken

    def driver(self, sweep: str) -> Driver | None:
        """The process that runs a sweep now; None if none does."""
        return driver_of(lock.holder(self._files, _lock_of(sweep)))


def _lock_of(sweep: str) -> str:
    return f"sweeps/{sweep}/driver.json"


def driver_of(owner: lock.Owner | None) -> Driver | None:
    """What the holder of a lock says of itself; None where that is damaged, which the log says."""
    try:
        return typed(Driver, known(Driver, owner)) if owner else None
    except ValueError as error:
        log.warning("driver.json is damaged: %s", error)
        return None


def _first_began(attempt: Attempt) -> str:
    return attempt.first_began or (attempt.began if attempt.number == 1 else "")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _ended(record: TrialRecord) -> Standing:
    return Standing(state=record.state, attempts=record.attempts, step=record.result.steps, record=record)
