"""Runs one trial where it is placed: trains it, writes what comes of it to the ledger. Knows nothing of Ray.

What goes wrong inside a trial is its outcome, not an exception: the worker lives on for the next one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from anytime_core.config import SOURCE, parts_of, to_dict
from anytime_core.cost import trial_costs
from anytime_core.data.own.source import Source
from anytime_core.errors import TrainerError
from anytime_core.outcomes import Outcomes
from anytime_core.result import EpochMetrics, TrialResult
from orchestrator.analysis.expense import joules
from orchestrator.errors import OrchestratorError, StorageError, UsageError
from orchestrator.execution.images import images_for
from orchestrator.execution.pace import Pace
from orchestrator.execution.trial_log import kept
from orchestrator.extensions import importing
from orchestrator.extensions.finding import Extension
from orchestrator.ledger.ledger import Attempt, ElsewhereError, Ledger, SupersededError, now
from orchestrator.ledger.storage import Location, reason
from orchestrator.redaction import redacted
from orchestrator.sweep.device_time import ENDING, PREPARATION
from orchestrator.sweep.retries import FailureKind, classify, signature, without_numbers
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState, place_words
from orchestrator.system.environment import prepare_torch
from orchestrator.system.provenance import machine
from orchestrator.system.sources import imported_from, sources
from orchestrator.system.training_code import training_code
from orchestrator.text import counted

METRICS_INTERVAL = 1.0
"""Seconds between two writes of a trial's metrics."""

PACKAGES = ("anytime_core", "orchestrator")

OnEpochs = Callable[[list[EpochMetrics]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerContext:
    """What a trial needs to know that cannot change its numbers, and so is not part of it."""

    storage: Location
    data_root: Path
    check_md5: bool = True
    code_version: str = "unknown"
    sources: str = ""
    """Of the code that the driver imports, with ``imports`` the place; the worker refuses to train with other code."""
    imports: str = ""
    snapshot: str = ""
    """The name of what the storage keeps of these sources, if it does."""
    sweep: str = ""
    driver: str = ""
    """The id of the driver that has trials of the sweep run."""
    checkpoint_share: float = 1.0
    extensions: tuple[Extension, ...] = ()
    own_data: Mapping[str, Source] = field(default_factory=dict)
    """Where the data sets of the user's own lie, by their names."""
    own_process: bool = False
    """Whether the process is there to train alone, so that all that it says belongs to the trial's log."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``state`` is finished, diverged, or failed, with the ``kind`` of failure; paused where its tuning is to decide
    whether it goes on; interrupted where the trial was told to stop, or a later attempt took over; pending where it was
    not begun; running where another sweep, ``elsewhere``, has it trained. ``notes`` are for the user: what was found
    damaged, and what was done about it."""

    state: TrialState
    error: str | None = None
    kind: FailureKind | None = None
    elsewhere: str | None = None
    signature: str = field(default="", compare=False)
    notes: tuple[str, ...] = ()


class _Notes(logging.Handler):
    """What our code warns of while it is entered: on a worker nobody reads the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.messages[redacted(record.getMessage())] = None

    def __enter__(self) -> _Notes:
        for package in PACKAGES:
            logging.getLogger(package).addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        for package in PACKAGES:
            logging.getLogger(package).removeHandler(self)


class DriverLink:
    """How a worker is heard and hears while it runs a trial. This one is not connected to anybody."""

    def held(self, trial: Trial) -> bool:
        """Whether the trial is not to be begun, or not to go on after its next checkpoint."""
        return False

    def beat(self, attempt: Attempt, steps: int, step: int) -> None:
        """Says that the attempt goes on: it has made so many training steps, and the trial is at this one. Must be
        cheap."""


Work = Callable[[Trial, WorkerContext, OnEpochs, DriverLink], Outcome]
"""What a worker does with a trial. Raises nothing."""


class _StoppedError(Exception):
    """The trial is to stop here; its state is saved."""


class _PausedError(_StoppedError):
    """The same, as its tuning has it; the ledger says so."""


def unfit(where: WorkerContext) -> Outcome | None:
    """Makes the extensions of the sweep known to this process, before its first trial is unpickled. Returns why it
    cannot train: it lacks one, has another, or runs other code than the driver."""
    try:
        importing.activate(where.extensions)
    except UsageError as error:
        fault: str | None = f"{socket.gethostname()}: {error}"
    else:
        fault = _other_code(where)
    return Outcome(TrialState.FAILED, fault, FailureKind.INPUT, signature=without_numbers(fault)) if fault else None


def run_trial(trial: Trial, where: WorkerContext, report: OnEpochs, line: DriverLink | None = None) -> Outcome:
    """Makes an attempt at a trial, from its newest checkpoint on. ``report`` is handed each epoch once; those before
    the checkpoint come together."""
    return noted(partial(_attempt, trial, where, report, line or DriverLink()))


def noted(work: Callable[[], Outcome]) -> Outcome:
    """What comes of work on a trial, with what our code warned of meanwhile."""
    with _Notes() as notes:
        outcome = work()
    error = outcome.error and redacted(outcome.error)  # of secrets that the driver may not know
    return replace(outcome, error=error, notes=tuple(notes.messages))


def _attempt(trial: Trial, where: WorkerContext, report: OnEpochs, line: DriverLink) -> Outcome:
    prepare_torch()  # a cluster that was there before has an environment of its own
    ledger = Ledger(where.storage)
    try:
        if record := ledger.record(trial.id):
            return Outcome(record.state)
        if line.held(trial):
            return Outcome(TrialState.PENDING)
        if outcome := unfit(where):
            return outcome
        attempt = ledger.begin(trial, where.sweep, _device(trial), where.driver)
    except ElsewhereError as error:
        return Outcome(TrialState.RUNNING, str(error), elsewhere=error.sweep)
    except (OSError, StorageError) as error:
        said = f"{ledger.storage}: storage cannot be written: {reason(error) if isinstance(error, OSError) else error}"
        return Outcome(TrialState.FAILED, said, classify(error), signature=signature(error))
    return _attempted(trial, where, ledger, attempt, _Epochs(trial, where, ledger, attempt, report, line))


def _other_code(where: WorkerContext) -> str | None:
    """Why this process must not train: it would do so with other code than the driver's, under the driver's name."""
    if not where.sources or (own := sources()) == where.sources:
        return None
    here = f"{socket.gethostname()} imports {imported_from('anytime_core')} (sources {own})"
    there = f"the command imports {where.imports} (sources {where.sources})"
    return f"{here}, and {there}: install the same code on every node"


def _device(trial: Trial) -> str:
    """What Ray gave this process of its machine, for people."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "?")
    return f"GPU {gpus}" if trial.resources.gpus else counted(trial.resources.cpus, "CPU")


def _attempted(trial: Trial, where: WorkerContext, ledger: Ledger, attempt: Attempt, epochs: _Epochs) -> Outcome:
    try:
        train = _train_aloud if where.own_process else _train
        record = train(trial, where, ledger, attempt, epochs)
        ledger.finish(attempt, record)
        return Outcome(record.state)
    except _PausedError:
        return Outcome(TrialState.PAUSED)
    except (SupersededError, _StoppedError) as error:
        return Outcome(TrialState.INTERRUPTED, str(error))
    except Exception as error:
        return _failed(ledger, attempt, error)


def _failed(ledger: Ledger, attempt: Attempt, error: Exception) -> Outcome:
    said, kind, alike = described(error), classify(error), signature(error)
    try:
        ledger.fail(attempt, said, "".join(traceback.format_exception(error)), kind=kind, signature=alike)
    except SupersededError as late:
        return Outcome(TrialState.INTERRUPTED, str(late))
    except (OSError, StorageError) as also:  # what failed may be the storage itself
        said += f"; this could not be written down: {described(also)}"
    return Outcome(TrialState.FAILED, said, kind, signature=alike)


def described(error: Exception) -> str:
    """A line for the user, with that of an extension's code where the error comes from there."""
    match error:
        case TrainerError() | OrchestratorError():
            said = str(error)
        case OSError(strerror=str(), filename=str() | Path()):
            said = f"{error.filename}: {error.strerror}"
        case _:
            said = f"{type(error).__name__}: {error}"
    return f"{importing.located(error)}{said}"


def _train_aloud(trial: Trial, where: WorkerContext, ledger: Ledger, attempt: Attempt, epochs: _Epochs) -> TrialRecord:
    """Trains with a log, which ends with the traceback of what went wrong."""
    with kept(ledger, attempt):
        try:
            return _train(trial, where, ledger, attempt, epochs)
        except (SupersededError, _StoppedError):
            raise
        except Exception:
            traceback.print_exc()
            raise


def _train(trial: Trial, where: WorkerContext, ledger: Ledger, attempt: Attempt, epochs: _Epochs) -> TrialRecord:
    began = time.time()
    from anytime_core.data.cache import content_hash
    from anytime_core.trained import network_hash, trained_by, trained_on
    from anytime_core.training.trainer import Checkpoints, train

    code, checkpoints = training_code(trial.config) or "", ledger.checkpoints(trial.id)
    trained = cache(partial(network_hash, checkpoints))  # first called once the last checkpoint is there

    def keep(outcomes: Mapping[str, Outcomes]) -> None:
        ledger.write_outcomes(attempt, outcomes, trained())

    epochs.beat()
    images = images_for(trial.config.data, where)
    epochs.beat()
    prepared = time.time()
    result = train(
        trial.config,
        epochs.add,
        Checkpoints(
            folder=checkpoints,
            after_restore=epochs.pause,
            due=epochs.due,
            before_save=epochs.before_save,
            after_save=epochs.after_save,
            guard=partial(ledger.fenced, attempt),
            code=code,
        ),
        images=images,
        device="cuda" if trial.resources.gpus else "cpu",
        threads=trial.resources.cpus,
        on_step=epochs.step,
        on_outcomes=keep if trial.keep.outcomes else None,
    )
    epochs.flush()
    provenance: dict[str, Any] = {"code": "; ".join(codes)} if (codes := trained_by(checkpoints)) else {}
    provenance |= {"data_hash": content_hash(images), "network_hash": trained()}
    if len(places := trained_on(checkpoints)) > 1:  # its bits may be none that any of them alone gives
        provenance["resumed_elsewhere"] = "; ".join(places)
    provenance |= joules(epochs.all)
    provenance[PREPARATION] = round(max(prepared - began, 0.0), 3)
    provenance[ENDING] = round(max(time.time() - max(epochs.ended, prepared), 0.0), 3)
    return _record(trial, where, attempt, result, provenance)


class _Epochs:
    """Hands on a trial's epochs, each once a checkpoint holds it: to the driver and, at intervals, to the ledger."""

    def __init__(
        self, trial: Trial, where: WorkerContext, ledger: Ledger, attempt: Attempt, report: OnEpochs, line: DriverLink
    ) -> None:
        self._trial, self._ledger, self._attempt, self._report, self._line = trial, ledger, attempt, report, line
        self._units, self._costs = trial.config.predicting_units, trial_costs(trial.config)
        self._about = place_words(trial.config)
        self._pace = Pace(where.checkpoint_share)
        self._held = False
        self._all: list[EpochMetrics] = []
        self._unreported: list[EpochMetrics] = []
        self._written = -math.inf
        self._before = self._steps = 0
        """Steps that the attempt has found done, and those that it has made."""

    def step(self) -> None:
        self._steps += 1
        self.beat()

    @property
    def all(self) -> Sequence[EpochMetrics]:
        return self._all

    @property
    def ended(self) -> float:
        """When the last epoch did, in seconds since 1970."""
        return self._all[-1].timestamp

    def beat(self) -> None:
        self._line.beat(self._attempt, self._steps, self._before + self._steps)

    def due(self, step: int) -> bool:
        """Whether the epoch that has ended is to be saved. Where it is in any case, the driver is asked after that: it
        may be cut off, and who must not write any more finds out first."""
        if step >= self._trial.until or self._pace.due():
            return True
        self._held = self._line.held(self._trial)
        return self._held

    def before_save(self) -> None:
        """Raises SupersededError where this attempt must not write any more."""
        self._pace.begin()
        self.beat()
        self._ledger.check(self._attempt)

    def add(self, epoch: EpochMetrics) -> None:
        if not self._steps:  # it is from a checkpoint
            self._before = epoch.step
        self._all.append(epoch)
        self._unreported.append(epoch)

    def after_save(self) -> None:
        self._hand_on()
        if time.monotonic() - self._written >= METRICS_INTERVAL:
            self._write()
        self._pace.end()
        self.pause()
        step = self._all[-1].step
        if step < self._trial.config.steps and (self._held or self._line.held(self._trial)):
            self._write()
            raise _StoppedError(f"stopped at step {step}; its state is saved")

    def pause(self) -> None:
        """Raises _PausedError where its tuning has the trial go no further, now that this is saved and written down."""
        last = self._all[-1] if self._all else None
        if last and last.evaluated and not last.diverged and self._trial.until <= last.step < self._trial.config.steps:
            self.flush()
            self._ledger.pause(self._attempt, last.step)
            raise _PausedError(f"paused at step {last.step}")

    def flush(self) -> None:
        if self._unreported:
            self._hand_on()
        self._write()

    def _hand_on(self) -> None:
        self._report(self._unreported)
        self._unreported = []

    def _write(self) -> None:
        self._ledger.write_epochs(self._attempt, self._units, self._costs, self._all, self._about)
        self._written = time.monotonic()


def _extensions(trial: Trial, where: WorkerContext) -> dict[str, str]:
    """Those that the trial uses, and that which reads its data, with their sources and the versions of what they import
    of others."""
    used = {part.source for part in parts_of(trial.config)}
    if (source := where.own_data.get(trial.config.data.name)) and source.reader:
        used.add(json.loads(source.reader)[SOURCE])
    words = []
    for extension in where.extensions:
        if extension.source in used:
            others = ", ".join(f"{name} {version}" for name, version in extension.versions.items())
            words.append(f"{extension.given} {extension.source}" + (f" ({others})" if others else ""))
    return {"extensions": "; ".join(words)} if words else {}


def _record(
    trial: Trial, where: WorkerContext, attempt: Attempt, result: TrialResult, found: dict[str, Any]
) -> TrialRecord:
    return TrialRecord(
        trial_id=trial.id,
        config=to_dict(trial.config),
        result=result,
        attempts=attempt.number,
        provenance={
            "code_version": where.code_version,
            "sources": sources(),
            **({"snapshot": where.snapshot} if where.snapshot else {}),
            **_extensions(trial, where),
            **found,
            "host": attempt.host,
            "threads": trial.resources.cpus,
            "first_attempt_began": attempt.first_began,
            "last_attempt_began": attempt.began,
            "ended": now(),
            **({"gpu_share": trial.resources.share} if trial.resources.gpus else {}),
            **machine(gpu=bool(trial.resources.gpus)),
        },
    )
