"""Ray Tune runs the trials, on a cluster that is there (``cluster``).

Each round is a fresh Tuner over what the ledger does not hold yet. Tune's own state is never read again: workers write
results and checkpoints to the ledger themselves, and the ledger decides what is left. Where a process dies Tune starts
its trial again at once, as often as the driver does not hold it.

While a round runs driver and workers talk through the cluster's own key-value store: workers leave beats there, the
driver what is not to be begun. It needs no process, and no storage that all nodes see without delay.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar, Protocol
from uuid import uuid4

import ray
from ray import tune
from ray.air._internal import usage
from ray.air.execution._internal import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError, RayError
from ray.experimental import internal_kv
from ray.tune.execution import class_cache, tune_controller
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from anytime_core.result import EpochMetrics
from orchestrator.errors import ClusterError
from orchestrator.execution.heartbeat import Beat, StallDetector, created, end_process
from orchestrator.execution.worker import DriverLink, Outcome, Work, WorkerContext, run_trial, unfit
from orchestrator.ledger.ledger import Attempt
from orchestrator.sweep.retries import FailureKind, Holds
from orchestrator.sweep.trial import Resources, Trial, TrialState

log = logging.getLogger("ray.orchestrator")
BEAT_SECONDS = 2.0
"""Between two beats of a trial, or between two looks at them; less where a trial counts as stalled sooner."""
PATIENT_LOOKS = 10
"""So many of them without a trial that runs are told, where the cluster has no place for one."""
SPOILT = "is not used again after a failure on its GPU"
KILLED_BY_RAY = "running low on memory"
"""What Ray says of a worker that it ended to save its node's memory."""


class Listener(Protocol):
    """Is told what happens, in the driver, and says what is not to be begun."""

    @property
    def holds(self) -> Holds: ...

    @property
    def overdue(self) -> bool:
        """Whether trials that were told to stop are not waited for any longer."""

    def started(self, trial_id: str) -> None: ...

    def placed(self, trial_id: str) -> None:
        """Its attempt is in the ledger."""

    def reached(self, trial_id: str, step: int) -> None:
        """It has made this step, which no checkpoint may hold yet."""

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None: ...

    def ended(self, trial_id: str, outcome: Outcome) -> None: ...

    def lost(self, trial_id: str, reason: str, kind: FailureKind) -> None: ...

    def waits(self, reason: str) -> None:
        """No trial runs, for want of a place."""


def _nodes(resources: Resources) -> list[dict[str, float]]:
    """What those nodes have that can hold such a trial."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [have for have in alive if have.get("CPU", 0) >= resources.cpus and have.get("GPU", 0) >= resources.share]


def _why_none_runs(kinds: Collection[Resources]) -> str | None:
    """None where there is a place, so that one will run."""
    if not any(map(_nodes, kinds)):
        return "no node of the cluster can hold one now; waiting for one that can"
    free = ray.available_resources()
    if any(free.get("CPU", 0) >= it.cpus and free.get("GPU", 0) >= it.share for it in kinds):
        return None
    return "all that could hold one is in use, or its worker has yet to start; waiting"


def check_fits(asked: Collection[Resources]) -> None:
    """Raises ClusterError, with all that no node can hold."""
    if refused := [resources for resources in asked if not _nodes(resources)]:
        have = ray.cluster_resources()
        asks = ", another ".join(f"asks for {resources}" for resources in refused)
        raise ClusterError(
            f"a trial {asks}, and no node has that: the cluster's "
            f"total is {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs; change the sweep's resources, or "
            f"give {'--cpus or --gpus' if have.get('GPU') else '--cpus, or --gpus 0 to train on CPUs'}"
        )


def run_round(
    trials: Sequence[Trial],
    where: WorkerContext,
    listener: Listener,
    folder: Path,
    *,
    stalled_after: float,
    shares: Mapping[str, int] | None = None,
    work: Work = run_trial,
) -> None:
    """Runs the trials in this order, as many at once as the cluster holds. ``folder`` is Tune's, and can be deleted.
    ``work``, a function of a module, is what is done with each.

    A trial that takes no step for ``stalled_after`` seconds is ended. ``shares`` says how many times its resources a
    trial is given, as far as there is a node that has them; it does not use more, but runs beside fewer.
    """
    _keep_credentials()
    _spare_imports()
    tune_controller.RayActorManager = _ActorManager
    shutil.rmtree(folder, ignore_errors=True)
    asked = [(trial.resources, (shares or {}).get(trial.id, 1)) for trial in trials]
    kinds = list(dict.fromkeys(asked))
    placements = [_placement(*kind) for kind in kinds]
    board, interval = _Board(uuid4().hex), min(BEAT_SECONDS, stalled_after / 4)
    relay = _Relay(listener, board, StallDetector(stalled_after), interval, {trial.resources for trial in trials})
    names = [_Name(trial.id, kinds.index(kind)).text for trial, kind in zip(trials, asked, strict=True)]

    # Tune unpickles these again for each trial, so they hold nothing that grows with their number. And nothing lies in
    # Ray's object store: where that goes with its node, Ray may end this process as it looks for what it had.
    def run(config: dict[str, str]) -> dict[str, Any]:
        return _run(config, board, where, interval, work)

    trainable = tune.with_resources(run, lambda config: placements[_Name.of(config).placement])
    try:
        board.share(trials)
        tune.Tuner(
            trainable,
            param_space={_Name.KEY: tune.grid_search(names)},
            tune_config=tune.TuneConfig(reuse_actors=True, scheduler=_LostFirst()),
            run_config=tune.RunConfig(
                name=folder.name,
                storage_path=str(folder.parent),
                callbacks=[relay],
                stop=_Stopper(relay),
                failure_config=tune.FailureConfig(max_failures=-1),
                progress_reporter=_Silent(),
                verbose=0,
            ),
        ).fit()
    finally:
        board.clear()
    shutil.rmtree(folder, ignore_errors=True)


def _keep_credentials() -> None:
    """Keeps this process's keys to a bucket out of what Tune hands to its workers: Ray writes that to logs which all
    users of a node can read. Nodes have keys of their own."""
    passed_on = class_cache.ENV_VARS_TO_PROPAGATE
    passed_on -= {name for name in passed_on if name.startswith("AWS_")}


def _spare_imports() -> None:
    """Tune counts callbacks of MLflow's and others, of which we have none, and imports all of MLflow for that before it
    starts the first trial."""
    usage.tag_callbacks = lambda callbacks: False


class _ActorManager(RayActorManager):  # type: ignore[misc]
    """Where Ray ends several workers at once to save a node's memory, their tasks fail with an error that Tune does not
    know, and would end the whole round for. It is one of actors that died."""

    def _actor_task_failed(self, tracked_actor_task: TrackedActorTask, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


def _placement(resources: Resources, share: int) -> tune.PlacementGroupFactory:
    most = max((have["CPU"] for have in _nodes(resources)), default=resources.cpus)
    cpus, gpus = min(resources.cpus * share, most), min(resources.share * share, 1.0)
    return tune.PlacementGroupFactory([{"CPU": float(cpus)} | ({"GPU": gpus} if gpus else {})])


@dataclass(frozen=True)
class _Board:
    """What driver and workers of one round leave for each other in the cluster's key-value store."""

    NAMESPACE: ClassVar = b"orchestrate"

    name: str

    def _key(self, of: str) -> bytes:
        return f"{self.name}/{of}".encode()

    def share(self, trials: Sequence[Trial]) -> None:
        content = pickle.dumps({trial.id: trial for trial in trials})
        internal_kv._internal_kv_put(self._key("trials"), content, namespace=self.NAMESPACE)

    def trials(self) -> dict[str, Trial]:
        content = internal_kv._internal_kv_get(self._key("trials"), namespace=self.NAMESPACE)
        return pickle.loads(content)  # type: ignore[no-any-return]

    def hold(self, holds: Holds) -> None:
        content = json.dumps([holds.everything, sorted(holds.methods), sorted(holds.trials)])
        internal_kv._internal_kv_put(self._key("holds"), content.encode(), namespace=self.NAMESPACE)

    def holds(self) -> Holds:
        content = internal_kv._internal_kv_get(self._key("holds"), namespace=self.NAMESPACE)
        everything, methods, trials = json.loads(content) if content else (False, (), ())
        return Holds(everything=everything, methods=frozenset(methods), trials=frozenset(trials))

    def put(self, trial_id: str, beat: Beat) -> None:
        internal_kv._internal_kv_put(self._key(trial_id), beat.pack(), namespace=self.NAMESPACE)

    def beat(self, trial_id: str) -> Beat | None:
        content = internal_kv._internal_kv_get(self._key(trial_id), namespace=self.NAMESPACE)
        return Beat.unpack(content) if content else None

    def forget(self, trial_id: str) -> None:
        internal_kv._internal_kv_del(self._key(trial_id), namespace=self.NAMESPACE)

    def clear(self) -> None:
        try:
            internal_kv._internal_kv_del(self._key(""), del_by_prefix=True, namespace=self.NAMESPACE)
        except Exception:  # the cluster may be gone
            log.info("the round's keys could not be deleted", exc_info=True)


class _RayLink(DriverLink):
    """A worker's end. Where the cluster's head cannot be reached, training goes on until its next checkpoint: beats
    leave by a thread, which may have to wait."""

    def __init__(self, board: _Board, interval: float) -> None:
        self._board, self._interval = board, interval
        self._next = 0.0
        self._beat = Beat(
            node=ray.get_runtime_context().get_node_id(),
            pid=os.getpid(),
            created=created(os.getpid()),
            token="",
            steps=0,
        )
        self._beats: SimpleQueue[tuple[str, Beat] | None] = SimpleQueue()
        threading.Thread(target=self._send, name="beats", daemon=True).start()

    def __enter__(self) -> _RayLink:
        return self

    def __exit__(self, *exception: object) -> None:
        self._beats.put(None)

    def held(self, trial: Trial) -> bool:
        try:
            return self._board.holds().cover(trial.id, trial.cell.method)
        except Exception:
            log.warning("the driver's word cannot be read", exc_info=True)
            return False

    def beat(self, attempt: Attempt, steps: int, step: int) -> None:
        now = time.monotonic()
        if now >= self._next or steps <= 1:
            self._next = now + self._interval
            self._beats.put((attempt.trial_id, replace(self._beat, token=attempt.token, steps=steps, step=step)))

    def _send(self) -> None:
        for trial_id, beat in iter(self._beats.get, None):
            try:
                self._board.put(trial_id, beat)
            except Exception:
                log.warning("a beat could not be left", exc_info=True)


@dataclass(frozen=True, slots=True)
class _Name:
    """A trial in Tune's config, in which values but for plain text are evaluated or rounded: its id, and which of the
    round's placements it has."""

    KEY: ClassVar = "trial"

    trial_id: str
    placement: int

    @property
    def text(self) -> str:
        return f"{self.trial_id} {self.placement}"

    @classmethod
    def of(cls, config: Mapping[str, str]) -> _Name:
        trial_id, placement = config[cls.KEY].split()
        return cls(trial_id, int(placement))


@lru_cache(maxsize=1)
def _trials(board: _Board) -> dict[str, Trial]:
    """Read once by each worker, however many trials it runs."""
    return board.trials()


_spoilt = threading.Event()
"""In a worker: that a trial failed on its GPU. After some faults no call of that process to CUDA works again, and what
an unfinished graph holds of the memory may never be freed: all later trials here could fail too."""


def _run(config: dict[str, str], board: _Board, where: WorkerContext, interval: float, work: Work) -> dict[str, Any]:
    """What Tune calls on a worker."""
    if _spoilt.is_set():
        raise RuntimeError(SPOILT)  # Tune starts the trial again, in a new process
    if outcome := unfit(where):
        return {"outcome": outcome}
    trial = _trials(board)[_Name.of(config).trial_id]
    with _RayLink(board, interval) as line:
        outcome = work(trial, where, lambda epochs: tune.report({"epochs": epochs}), line)
    if trial.resources.gpus and outcome.state is TrialState.FAILED:
        _spoilt.set()
    return {"outcome": outcome}


class _Relay(tune.Callback):  # type: ignore[misc]
    """Hands Tune's events on in our own words, and what is held to the workers; ends trials that stall."""

    def __init__(
        self, listener: Listener, board: _Board, watch: StallDetector, interval: float, kinds: Collection[Resources]
    ) -> None:
        self._listener, self._board, self._watch, self._interval = listener, board, watch, interval
        self._kinds, self._idle_looks = kinds, 0
        self._told = Holds()
        self._running: set[str] = set()
        self._stalled: set[str] = set()
        self._placed: set[str] = set()
        self._stopping: set[str] | None = None
        self._looked = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.Callback, ()  # Tune pickles its callbacks; in another process there is nobody to tell

    # What Tune says

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        """Several times a second."""
        self._tell()
        if (now := time.monotonic()) - self._looked >= self._interval:
            self._looked = now
            for trial_id in list(self._running):
                self._look_at(trial_id, now)
            self._look_for_a_place()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        trial_id = _Name.of(trial.config).trial_id
        self._running.add(trial_id)
        self._listener.started(trial_id)
        self._tell()  # before it asks whether it may begin

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        trial_id = _Name.of(trial.config).trial_id
        if epochs := result.get("epochs"):
            self._listener.progressed(trial_id, epochs)
        if outcome := result.get("outcome"):
            self._forget(trial_id)
            self._listener.ended(trial_id, outcome)
            self._tell()

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._lost(trial)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._lost(trial)

    def _lost(self, trial: Any) -> None:
        """What the driver makes of it reaches the workers before the trial starts again."""
        trial_id = _Name.of(trial.config).trial_id
        stalled = trial_id in self._stalled
        reason, kind = ("it made no step", FailureKind.LOST) if stalled else _reason(trial)
        self._forget(trial_id)
        self._listener.lost(trial_id, reason, kind)
        self._tell()
        if trial_id in self._listener.holds.trials:
            trial.max_failures = 0  # a process that dies before it can ask is not started for ever

    def _forget(self, trial_id: str) -> None:
        for some in (self._running, self._stalled, self._placed):
            some.discard(trial_id)
        if self._stopping:
            self._stopping.discard(trial_id)
        self._watch.forget(trial_id)
        self._board.forget(trial_id)

    # What workers are told

    def _tell(self) -> None:
        if (holds := self._listener.holds) != self._told:
            self._board.hold(holds)
            self._told = holds

    def stop_now(self) -> bool:
        """Once everything is held: whether all that ran then have ended, or have been waited for long enough."""
        if not self._told.everything:
            return False
        if self._stopping is None:
            self._stopping = set(self._running)
        return not self._stopping or self._listener.overdue

    # What workers say

    def _look_for_a_place(self) -> None:
        """Says so, once, where others have the whole cluster, or the nodes are gone that could hold a trial."""
        self._idle_looks = 0 if self._running else self._idle_looks + 1
        if self._idle_looks == PATIENT_LOOKS and (reason := _why_none_runs(self._kinds)):
            self._listener.waits(reason)

    def _look_at(self, trial_id: str, now: float) -> None:
        if not (beat := self._board.beat(trial_id)):
            return
        if trial_id not in self._placed:
            self._placed.add(trial_id)
            self._listener.placed(trial_id)
        self._listener.reached(trial_id, beat.step)
        if self._watch.stalled(trial_id, beat, now):
            log.warning("%s: no step; ending process %s on node %s", trial_id, beat.pid, beat.node)
            self._stalled.add(trial_id)
            _end_there(beat)


class _LostFirst(tune.schedulers.FIFOScheduler):  # type: ignore[misc]
    """In the order given, but what was lost starts again before what has not begun."""

    def __init__(self) -> None:
        super().__init__()
        self._lost: list[Any] = []

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._lost.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        self._lost = [trial for trial in self._lost if trial.status == trial.PENDING]
        return self._lost[0] if self._lost else super().choose_trial_to_run(tune_controller)


class _Silent(tune.ProgressReporter):  # type: ignore[misc]
    """In the place of Tune's own, which in a notebook clears the cell first, whatever stands there."""

    def should_report(self, trials: Any, done: bool = False) -> bool:
        return False


class _Stopper(tune.Stopper):  # type: ignore[misc]
    def __init__(self, relay: _Relay) -> None:
        self._relay = relay

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.stopper.NoopStopper, ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._relay.stop_now()


def _end_there(beat: Beat) -> None:
    """Ends a process on its own node, by a task that needs no resources: `ray.kill` asks the process itself first."""
    task = ray.remote(num_cpus=0, max_retries=0)(end_process)
    where = NodeAffinitySchedulingStrategy(beat.node, soft=False)
    try:
        task.options(scheduling_strategy=where).remote(beat.pid, beat.created)
    except RayError:
        log.warning("process %s could not be ended", beat.pid, exc_info=True)


def _reason(trial: Any) -> tuple[str, FailureKind]:
    """Why Tune lost a trial, in a line: our own word for Ray's explanations, or the last of a traceback."""
    text = _last_error(Path(trial.error_file))
    if KILLED_BY_RAY in text:
        return "its node ran low on memory", FailureKind.MEMORY
    if SPOILT in text:
        return f"its worker {SPOILT}", FailureKind.LOST
    if text.startswith("ray::"):  # an exception that reached Ray
        return text.splitlines()[-1].strip(), FailureKind.BUG
    return "its process died", FailureKind.LOST


def _last_error(path: Path) -> str:
    """Of Tune's file, to which each failure of a trial is added below a line of its own."""
    try:
        return path.read_text(errors="replace").rpartition("Failure # ")[2].partition("\n")[2].strip()
    except OSError:
        return ""
