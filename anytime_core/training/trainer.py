"""Trains one network. The top floor: everything else in this package is a part of ``train``.

Shapes: N images, L predictions, K classes. CPU and CUDA run the same code.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from anytime_core.config import MILESTONES, Ann, DataConfig, Joint, Part, TrialConfig, to_dict, untrainable
from anytime_core.cost import milestone_index, trial_costs
from anytime_core.data import cache
from anytime_core.data.catalog import dataset_of
from anytime_core.data.dataset import Images, refuse_own
from anytime_core.data.loader import EvaluationData, TrainingData, test_data, to_device
from anytime_core.errors import CheckpointError, ConfigError, DataError
from anytime_core.extend import Answers, GradientFlow, Network, Objective, Progress, Surgery, Weighting
from anytime_core.files import Guard, folder_at
from anytime_core.model.graphs import Mode, mode_on
from anytime_core.model.interface import AnytimeModule
from anytime_core.model.network import as_tensors, build_network
from anytime_core.outcomes import Outcomes
from anytime_core.result import EpochMetrics, TrialResult
from anytime_core.training import checkpoint, regimes
from anytime_core.training.checkpoint import Place
from anytime_core.training.epochs import is_evaluated, number_of_epochs
from anytime_core.training.evaluate import Evaluation
from anytime_core.training.keeper import Keeper
from anytime_core.training.objective import TrainingObjective
from anytime_core.training.optim import Sgd
from anytime_core.training.regimes import Phase
from anytime_core.training.selection import VECTOR, Selection
from anytime_core.training.step import TrainingStep
from anytime_core.training.suiting import lacking
from anytime_core.training.surgery import Surgeon
from anytime_core.training.usage import Meter, Pause
from anytime_core.training.weighting import base_weights

OnEpoch = Callable[[EpochMetrics], None]
OnOutcomes = Callable[[Mapping[str, Outcomes]], None]
UNKNOWN = "unknown"
"""Code of an earlier version, whose checkpoints do not say so."""
_DETERMINISTIC: Any = torch.utils.deterministic  # a module that makes its attribute as it is imported


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoints:
    """Where a trial leaves its checkpoints, when, and who may forbid it.

    One is written after each epoch for which it is ``due``, by the step at its end, and after the last. ``before_save``
    is called before each, and forbids it by raising; ``guard`` is entered at the very moment that the file takes its
    place, and can forbid it too. ``after_save`` is called once the epochs that the checkpoint holds are reported, and
    ``after_restore`` likewise for those of the one that it begins from; either can end the training here, by raising.
    Each says which ``code`` it was trained by, if that is given, and by which those that it goes on from were.
    """

    folder: Place
    after_restore: Callable[[], None] = lambda: None
    due: Callable[[int], bool] = lambda step: True
    before_save: Callable[[], None] = lambda: None
    after_save: Callable[[], None] = lambda: None
    guard: Guard = nullcontext
    code: str = ""


def train(
    config: TrialConfig,
    report: OnEpoch = lambda metrics: None,
    checkpoints: Checkpoints | Place | None = None,
    *,
    images: Images | None = None,
    data_root: Path | None = None,
    device: str | torch.device | None = None,
    threads: int | None = None,
    mode: Mode = "auto",
    on_step: Callable[[], None] = lambda: None,
    on_outcomes: OnOutcomes | None = None,
) -> TrialResult:
    """Trains the network of ``config`` and returns its test errors.

    ``report`` is called once for every epoch in order, those restored from a checkpoint first. With ``checkpoints``, a
    folder or more than that, an epoch is reported once a checkpoint holds it. A later call goes on from the newest
    valid one: on the CPU, with the same number of ``threads``, to the same bits as a run that was never interrupted.

    ``images`` are read from ``data_root`` unless given; those of the user's own must be given. ``device`` is CUDA where
    there is one. There a step is one CUDA graph, unless ``mode`` is ``eager``: the same work call by call, to the same
    bits. ``on_step`` is called after each training step, for which it does not wait. ``on_outcomes`` is handed what the
    trained network answers to each image, by split, as of ``Run.outcomes``; nothing where the trial diverged.

    Raises DataError, ConfigError, CheckpointError; OSError where a checkpoint cannot be written, which leaves the one
    before; and what the functions that are given raise.

    The same call again would go on from the newest checkpoint, and here has nothing left to train:

    >>> from anytime_core.config import DataConfig, NetworkConfig, TrainingConfig, TrialConfig
    >>> training = TrainingConfig(steps=4, batch_size=64, learning_rate={0: 0.1})
    >>> config = TrialConfig(network=NetworkConfig(n=1, c=2), data=DataConfig(name="digits"), training=training)
    >>> result = train(config, checkpoints="mine")
    >>> result.state, result.units, len(result.errors)  # an error in percent for each prediction
    ('finished', (1, 2, 3), 3)
    """
    kept = checkpoints if isinstance(checkpoints, Checkpoints | None) else Checkpoints(folder=checkpoints)
    with reproducible(threads):
        pause = Pause()
        if images is None:
            images = _read(config.data, data_root)
        run = build_run(config, images, device, mode=mode)
        run.pause = pause
        run.keeps = on_outcomes is not None
        if kept:
            run.trained_by = [kept.code] if kept.code else []
            run.restore(kept.folder)
        for metrics in run.history:
            report(metrics)
        if kept and run.history:
            kept.after_restore()
        while not run.ended:
            run.epoch(on_step)
            if not kept:
                report(run.history[-1])
            elif run.ended or kept.due(run.steps_done):
                _save(run, kept, report)
        if on_outcomes and not run.diverged:
            on_outcomes(run.outcomes(images))
        return run.result()


def outcomes_of(
    config: TrialConfig,
    checkpoints: Place,
    *,
    images: Images,
    device: str | torch.device | None = None,
    threads: int | None = None,
) -> dict[str, Outcomes]:
    """What a trained network answers to each image, from its last checkpoint: on a device of the same kind, with as
    many ``threads``, the bits that ``train`` hands to ``on_outcomes``. Raises as ``train``, and CheckpointError for a
    trial that has not ended."""
    with reproducible(threads):
        run = build_run(config, images, device)
        run.restore(checkpoints)
        address = folder_at(checkpoints).address("")
        if not run.history:
            raise CheckpointError(
                f"{address} holds no valid checkpoint: nothing is saved of the network, so what it answers cannot be "
                "found out without training it again"
            )
        if not run.ended or run.diverged:
            raise CheckpointError(f"{address} holds a trial that is at step {run.steps_done} of {config.steps}")
        return run.outcomes(images)


def _read(data: DataConfig, root: Path | None) -> Images:
    return refuse_own(dataset_of(data), ()) if data.own else cache.load(data.name, root)


def _save(run: Run, checkpoints: Checkpoints, report: OnEpoch) -> None:
    """Writes a checkpoint, and reports the epochs that no earlier one holds."""
    checkpoints.before_save()
    with run.pause.saving():
        unsaved = run.save(checkpoints.folder, checkpoints.guard)
    for metrics in unsaved:
        report(metrics)
    checkpoints.after_save()


@contextmanager
def reproducible(threads: int | None = None) -> Iterator[None]:
    """Asks torch for the same bits every time, and gives it its settings back in the end."""
    before = (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        _DETERMINISTIC.fill_uninitialized_memory,
    )
    # What cuBLAS needs for the same bits; read once, before its first product.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _set_torch(before[0] if threads is None else threads, "warn", False, False, False)
    try:
        with torch.random.fork_rng(devices=[]):  # a network of an extension's may draw from it
            yield
    finally:
        _set_torch(*before)


def _set_torch(threads: int, deterministic: int | str, benchmark: bool, tf32: bool, fill: bool) -> None:
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(deterministic)  # `use_deterministic_algorithms` imports torch's compiler
    torch.backends.cudnn.benchmark = benchmark
    # Else convolutions of float32 are rounded to 10 binary digits on a GPU, unasked.
    torch.backends.cudnn.allow_tf32 = tf32
    # Memory that is written before it is read need not be filled first: 0.9 of a step of (3, 16) on a CPU without.
    _DETERMINISTIC.fill_uninitialized_memory = fill


def build_run(
    config: TrialConfig,
    images: Images,
    device: str | torch.device | None = None,
    *,
    mode: Mode = "auto",
) -> Run:
    """A trial before its first step, for ``train`` and for benchmarks; within ``reproducible`` it gives the bits of
    ``train``. Raises DataError, ConfigError, also for a ``mode`` that the device cannot have."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Run.start(config, images, where, mode)


def build_selection(config: TrialConfig, costs: list[int], weights: Sequence[float], device: torch.device) -> Selection:
    """The strategy of a trial over the losses with these weights, the first ones of its predictions."""
    strategy = config.regime.strategy if isinstance(config.regime, Joint) else Ann()
    reached = {milestone_index(costs, fraction) for fraction in MILESTONES}
    base = torch.tensor(weights, dtype=torch.float32, device=device)
    return Selection(strategy, base, [index for index in range(len(weights)) if index in reached])


@dataclass(slots=True)
class Run:
    """A trial between two steps. ``phase`` is the one under way, with an optimiser and a strategy of its own;
    ``trained_on`` says what it was trained on so far, without repetitions, and ``trained_by`` by which code, where that
    is known; the newest checkpoint holds the first ``saved`` epochs of ``history``.

    ``epoch`` is one of ``train``. To time its parts: ``begin_epoch`` prepares the next epoch, ``step`` is a step of it
    (up to ``steps_ahead`` of them), ``read`` waits for the device and gives their mean losses and errors, and
    ``evaluate`` those on the test images. ``eager_step`` is the same step call by call, also where ``graph`` is true
    and ``step`` replays a CUDA graph, which the first one captures. What is begun and not ended by ``epoch`` is no part
    of ``history``: ``begin_epoch`` then begins the same epoch again, with the network as it is.
    """

    config: TrialConfig
    device: torch.device
    network: AnytimeModule
    phases: tuple[Phase, ...]
    train_data: TrainingData
    test_data: EvaluationData
    costs: list[int]
    history: list[EpochMetrics]
    data_hash: str
    trained_on: list[str]
    graph: bool
    phase: Phase = field(init=False)
    optimiser: Sgd = field(init=False)
    selection: Selection = field(init=False)
    objective: TrainingObjective = field(init=False)
    training: TrainingStep = field(init=False)
    evaluate: Evaluation = field(init=False)
    trained_by: list[str] = field(init=False, default_factory=list)
    saved: int = field(init=False, default=0)
    steps_ahead: int = field(init=False, default=0)
    steps_begun: int = field(init=False, default=0)
    keeps: bool = field(init=False, default=False)
    keeper: Keeper | None = field(init=False, default=None)
    pause: Pause = field(init=False, default_factory=Pause)

    @classmethod
    def start(cls, config: TrialConfig, images: Images, device: torch.device, mode: Mode = "auto") -> Run:
        graph = mode_on(device, mode) == "graph"
        _refuse_unsuited(config)
        network, costs = build_network(config).to(device), trial_costs(config)
        if flow := _part(config, "flow", GradientFlow):
            network.let_flow(_factors(flow, [cost / costs[-1] for cost in costs]))
        if config.training.compiled:
            from anytime_core.model.compiling import compile_units  # imports half of torch

            compile_units(network, device)
        data_hash = cache.content_hash(images)
        _refuse_other(config.data, data_hash)
        train_data, test_data = to_device(images, config.data, config.training.batch_size, config.seed, device)
        try:
            phases = regimes.phases(config, network)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        run = cls(
            config=config,
            device=device,
            network=network,
            phases=phases,
            train_data=train_data,
            test_data=test_data,
            costs=costs,
            history=[],
            data_hash=data_hash,
            trained_on=[_place(device)],
            graph=graph,
        )
        run.enter(0)
        return run

    def enter(self, number: int) -> None:
        """Begins a phase, 0-based."""
        self.phase = self.phases[number]
        self.phase.apply(self.network)
        self.network.zero_grad()  # what no longer changes would keep gradients in the memory of the last phase's graph
        self.optimiser = Sgd(self.network, self.config.training, self._head_weights())
        self.selection = build_selection(self.config, self.costs, self.phase.weights, self.device)
        predictions = len(self.phase.weights)
        parts = _part(self.config, "objective", Objective), _part(self.config, "answers", Answers)
        self.objective = TrainingObjective(predictions, self.device, *parts)
        how: Any = {
            "precision": self.config.training.precision,
            "graph": self.graph,
            "surgeon": self._surgeon(),
        }
        self.training = TrainingStep(
            self.network, self.phase, self.train_data, self.optimiser, self.selection, self.objective, **how
        )
        self.evaluate = self._evaluation(self.test_data, graph=self.graph)

    def _surgeon(self) -> Surgeon | None:
        strategy = self.selection.strategy
        if not isinstance(strategy, Surgery):
            return None
        heads = frozenset().union(*map(self.network.head_parameters, self.network.predicting_units))
        trunk = [value for name, value in self.network.named_parameters() if name in self.phase.trained - heads]
        return Surgeon(strategy, self.selection, trunk, self.costs)

    def _evaluation(self, data: EvaluationData, *, graph: bool) -> Evaluation:
        """Of the predictions of the phase."""
        return Evaluation(
            self.network,
            data,
            len(self.phase.weights),
            self.phase.depth,
            precision=self.config.training.precision,
            graph=graph,
            answers=self.objective.answers,
        )

    def _head_weights(self) -> dict[str, float]:
        """The weight of each head's loss, by the names of the head's parameters, where its decay goes by that."""
        if self.config.training.head_decay == "uniform":
            return {}
        weighed = zip(self.network.predicting_units, self.phase.weights, strict=False)  # a stage has the first ones
        return {name: weight for unit, weight in weighed for name in self.network.head_parameters(unit)}

    @property
    def steps_done(self) -> int:
        """Those of the epochs that have ended."""
        return self.history[-1].step if self.history else 0

    @property
    def diverged(self) -> bool:
        return bool(self.history) and self.history[-1].diverged

    @property
    def ended(self) -> bool:
        return self.diverged or self.steps_done >= self.config.steps

    def epoch(self, on_step: Callable[[], None] = lambda: None) -> EpochMetrics:
        """One pass over the training images, or what of it fits into the phase, and an evaluation where one is due."""
        paused, meter = self.pause.seconds(), Meter(self.device)
        self.begin_epoch()
        drawn = meter.seconds()
        probabilities = self.selection.probabilities().tolist() if self.selection.amplifies else []
        last = self.steps_done + self.steps_ahead

        def stepped() -> None:
            meter.look()
            on_step()

        train_loss, train_error = self._train_steps(stepped)
        if self.keeps and last == self.config.steps:
            self.keeper = self._keeper(self.test_data)
        trained = meter.seconds()
        test_loss, test_error = self._evaluated(self.evaluate(self.keeper)) if self._is_evaluated() else ((), ())
        seconds = meter.seconds()
        metrics = EpochMetrics(
            epoch=len(self.history) + 1,
            step=last,
            learning_rate=self.rate_at(last - 1),
            train_loss=train_loss + self.guess_losses,
            train_error=train_error + self.guess_errors,
            test_loss=test_loss,
            test_error=test_error,
            probabilities=tuple(probabilities),
            seconds=seconds,
            timestamp=time.time(),
            cpu_percent=meter.cpu_percent(),
            memory=meter.memory(),
            gpu_percent=meter.gpu_percent(),
            gpu_memory=meter.gpu_memory(),
            data_seconds=drawn + (self.training.batch_seconds if self.device.type == "cpu" else 0.0),
            evaluation_seconds=seconds - trained,
            **paused,
            **meter.joules(),
        )
        self.history.append(metrics)
        self.pause.begin()
        return metrics

    def _is_evaluated(self) -> bool:
        """Whether the epoch after those in ``history`` ends with an evaluation."""
        epochs = number_of_epochs(self.config.phase_steps, self.train_data.steps_per_epoch)
        return is_evaluated(len(self.history) + 1, epochs, self.config.training.evaluations)

    def _evaluated(self, means: tuple[tuple[float, ...], tuple[float, ...]]) -> tuple[tuple[float, ...], ...]:
        """Losses and errors of all predictions."""
        losses, errors = means
        return losses + self.guess_losses, errors + self.guess_errors

    def begin_epoch(self) -> None:
        """Prepares the epoch after those in ``history``, and its phase where that begins with it."""
        phase, done = self.config.place_at(self.steps_done)
        if phase and not done:
            self.enter(phase)
        self.steps_ahead = min(self.train_data.steps_per_epoch, self.config.phase_steps[phase] - done)
        self.steps_begun = 0
        rates = [self.rate_at(self.steps_done + step) for step in range(self.steps_ahead)]
        self._weigh_anew()
        self.training.begin(len(self.history) + 1, rates)

    def _weigh_anew(self) -> None:
        """Base weights of an extension's may change with each epoch."""
        regime = self.config.regime
        if isinstance(regime, Joint) and isinstance(regime.weights, Weighting):
            progress = Progress(epoch=len(self.history) + 1, fraction=self.steps_done / self.config.steps)
            try:
                self.selection.rebase(base_weights(regime.weights, self.costs, progress))
            except ValueError as error:
                raise ConfigError(str(error)) from error

    def step(self) -> None:
        """One training step. Does not wait for the device."""
        self.training()
        self._stepped()

    def eager_step(self) -> None:
        self.training(eagerly=True)
        self._stepped()

    def _stepped(self) -> None:
        self.steps_ahead -= 1
        self.steps_begun += 1

    def read(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean losses and errors in percent of the steps since ``begin_epoch``. Waits for the device."""
        return self.training.read(self.steps_begun)

    def rate_at(self, step: int) -> float:
        """The learning rate of the given step of the trial: each phase runs through the schedule."""
        phase, done = self.config.place_at(step)
        schedule, own = self.config.training.steps, self.config.phase_steps[phase]
        return self.config.training.rate_at(done * schedule // own)

    @property
    def guess_losses(self) -> tuple[float, ...]:
        """Predictions that are not computed yet count as guesses."""
        return (math.log(dataset_of(self.config.data).classes),) * (len(self.costs) - len(self.phase.weights))

    @property
    def guess_errors(self) -> tuple[float, ...]:
        return (100 - 100 / dataset_of(self.config.data).classes,) * len(self.guess_losses)

    def _train_steps(self, on_step: Callable[[], None]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        while self.steps_ahead:
            self.step()
            on_step()
        return self.read()

    def save(self, folder: Place, guard: Guard = nullcontext) -> list[EpochMetrics]:
        """Writes a checkpoint; returns the epochs since the one before."""
        arrays = {
            **{f"network/{name}": value for name, value in self.network.state_dict().items()},
            **{f"momentum/{name}": value for name, value in self.optimiser.buffers.items()},
            **{_place_of(name): value for name, value in self.selection.state.items()},
            **{f"objective/{name}": value for name, value in self.objective.state.items()},
            "normalisation/mean": self.train_data.normalise.mean,
            "normalisation/std": self.train_data.normalise.std,
        }
        meta = {
            "config": to_dict(self.config),
            "history": [asdict(metrics) for metrics in self.history],
            "data": self.data_hash,
            "trained_on": self.trained_on,
            "trained_by": self.trained_by,
        }
        content = checkpoint.Checkpoint({name: _to_numpy(value) for name, value in arrays.items()}, meta)
        checkpoint.save(folder, self.steps_done, content, guard)
        unsaved, self.saved = self.history[self.saved :], len(self.history)
        return unsaved

    def restore(self, folder: Place) -> None:
        """Goes on from the newest valid checkpoint, where there is one. Raises CheckpointError if that is not of this
        trial on these data; another number of threads is noted."""
        saved = checkpoint.latest(folder)
        if saved is None:
            return
        if saved.meta.get("config") != to_dict(self.config):
            raise CheckpointError(f"{folder_at(folder).address('')} holds a checkpoint of another trial")
        if (before := saved.meta.get("data", self.data_hash)) != self.data_hash:
            raise CheckpointError(
                f"{self.config.data.name}: its content is {self.data_hash}, and was {before} when the checkpoint was "
                f"written; bring the old data back, or delete {folder_at(folder).address('')}"
            )
        try:
            self._go_on_from(saved)
        except (LookupError, TypeError, ValueError) as error:
            address = folder_at(folder).address("")
            raise CheckpointError(f"{address} holds a checkpoint that cannot be gone on from: {error!r}") from error

    def _go_on_from(self, saved: checkpoint.Checkpoint) -> None:
        self.trained_on = list(dict.fromkeys([*saved.meta.get("trained_on", []), *self.trained_on]))
        if self.trained_by:
            before = saved.meta.get("trained_by") or [UNKNOWN]
            self.trained_by = list(dict.fromkeys([*before, *self.trained_by]))
        self.history = [EpochMetrics.of(values) for values in saved.meta["history"]]
        self.saved = len(self.history)
        self.enter(self.config.place_at(self.steps_done - 1)[0])  # the phase of the last step that was done
        self.network.load_state_dict(as_tensors(saved.below("network/")))
        self.optimiser.restore(as_tensors(saved.below("momentum/")))
        kept = {name: torch.tensor(saved.arrays[_place_of(name)]) for name in self.selection.state}
        self.selection.restore(kept)
        self.objective.restore(as_tensors(saved.below("objective/")))

    def outcomes(self, images: Images) -> dict[str, Outcomes]:
        """What the network answers to each image when all steps are done: of the ``test`` images, and of those of
        ``validation`` where it is evaluated on these. The last epoch has noted the ones that it evaluated, if it was
        told so (``keeps``) and was not before a checkpoint that this run began from."""
        if self.keeper is None:
            self.keeper = self._keeper(self.test_data)
            self.evaluate(self.keeper)
        own = self.keeper.outcomes(self.costs)
        if not self.config.data.validated:
            return {"test": own}
        others = test_data(images, self.train_data.normalise, self.device)
        keeper = self._keeper(others)
        self._evaluation(others, graph=False)(keeper)
        return {"validation": own, "test": keeper.outcomes(self.costs)}

    def _keeper(self, data: EvaluationData) -> Keeper:
        return Keeper(len(self.costs), data.labels, dataset_of(self.config.data).classes)

    def result(self) -> TrialResult:
        return TrialResult(
            state="diverged" if self.diverged else "finished",
            units=self.config.predicting_units,
            costs=tuple(self.costs),
            errors=() if self.diverged else self.history[-1].test_error,
            steps=self.steps_done,
            seconds=sum(metrics.seconds for metrics in self.history),
            device=_device_name(self.device),
        )


def _place_of(name: str) -> str:
    """Of a tensor of the selection in a checkpoint. That of our strategies has a plain name, as it always had."""
    return "selection" if name == VECTOR else f"selection/{name}"


def _refuse_unsuited(config: TrialConfig) -> None:
    """Raises ConfigError where an extension's network lacks what the trial asks of it."""
    if isinstance(config.network, Network) and (faults := lacking(config.network, config.regime, config.training)):
        raise ConfigError("; ".join(faults))


T = TypeVar("T", bound=Part)


def _part(config: TrialConfig, kind: str, wanted: type[T]) -> T | None:
    """The part of joint training that an extension gives, if one does. Raises ConfigError for one that is not here."""
    part = getattr(config.regime, kind, None)
    if part is None or isinstance(part, wanted):
        return part
    raise ConfigError(untrainable(part))


def _refuse_other(data: DataConfig, content: str) -> None:
    """A trial on data of the user's own is one on these very images, wherever they are read from."""
    if data.own and data.own.content != content:
        raise DataError(
            f"{data.name}: its content here is {content}, and that of the trial is {data.own.content}; "
            "bring the old data back, or let the sweep file be read again"
        )


def _factors(flow: GradientFlow, costs: Sequence[float]) -> list[tuple[float, float]]:
    """Raises ConfigError for factors that cannot be."""
    given = list(flow.factors(costs))
    try:
        factors = [(float(head), float(rest)) for head, rest in given]
    except (TypeError, ValueError):
        factors = []
    if len(factors) != len(costs) or not all(0 <= factor < math.inf for pair in factors for factor in pair):
        wanted = f"{len(costs)} pairs, one for each prediction, of finite factors of at least 0"
        raise ConfigError(f"flow {flow.name}: factors gives {given!r:.80}, must give {wanted}")
    return factors


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()


def _place(device: torch.device) -> str:
    """What decides the bits of a sum: the threads on a CPU, the kind of GPU."""
    threads = torch.get_num_threads()
    return _device_name(device) if device.type == "cuda" else f"cpu, {threads} thread{'s' * (threads > 1)}"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
