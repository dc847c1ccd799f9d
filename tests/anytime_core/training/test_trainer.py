"""A trial gives the same bits however often it was killed, and those bits are what the paper's formulas give."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, get_args

import numpy as np
import psutil
import pytest
import torch
import torch._inductor.config
from emulated_graph import EmulatedGraph
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from trials import digits_trial

from anytime_core import files
from anytime_core.config import (
    STRATEGIES,
    Aann,
    Ann,
    Avgl,
    DataConfig,
    Exp3,
    Joint,
    Midfeat,
    Milestone,
    NetworkConfig,
    NoGrad,
    Opt,
    Precision,
    Regime,
    Rwm,
    TrainingConfig,
    TrialConfig,
    WeightingConfig,
    to_dict,
)
from anytime_core.cost import prediction_costs, trial_costs
from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Dataset, Images
from anytime_core.data.loader import TrainingData, to_device
from anytime_core.errors import CheckpointError, ConfigError, DataError
from anytime_core.extend import Step
from anytime_core.model import graphs
from anytime_core.model.compiling import compile_units
from anytime_core.model.network import AnytimeResNet, build_network
from anytime_core.randomness import generator
from anytime_core.result import OF_THE_MACHINE, EpochMetrics, TrialResult
from anytime_core.trained import load_network
from anytime_core.training import checkpoint, step, trainer
from anytime_core.training.evaluate import Evaluation
from anytime_core.training.optim import Sgd
from anytime_core.training.selection import Selection
from anytime_core.training.trainer import Checkpoints, build_selection, train

REPOSITORY = Path(__file__).parents[3]
CPU = torch.device("cpu")


def small_images(train_count: int = 100, test_count: int = 50) -> Images:
    """Noise of digits' shape, brighter in the row of its label, so that there is something to learn."""
    rng = np.random.default_rng(0)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(10, size=count)
        pixels = rng.integers(9, size=(count, 1, 8, 8), dtype=np.uint8)
        pixels[np.arange(count), 0, labels % 8] += 7
        return pixels, labels

    train_images, train_labels = part(train_count)
    test_images, test_labels = part(test_count)
    return Images(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


IMAGES = small_images()


def trial(regime: Regime | None = None, steps: int = 10, **changes: Any) -> TrialConfig:
    """Three steps of 32 images an epoch: 10 steps are three epochs and a third of one."""
    flipped = {"data": DataConfig(name="digits", pad=1, flip=True)}
    return digits_trial(regime or Joint(strategy=Aann()), steps=steps, **flipped | changes)


def batches(data: TrainingData, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    data.draw(epoch)
    return map(data.batch, torch.arange(data.steps_per_epoch)[:, None])


class KilledError(Exception):
    pass


def killed_at(*epochs: int, seen: list[EpochMetrics] | None = None) -> Callable[[EpochMetrics], None]:
    def report(metrics: EpochMetrics) -> None:
        if seen is not None:
            seen.append(metrics)
        if metrics.epoch in epochs:
            raise KilledError

    return report


def run(config: TrialConfig, folder: Path | None = None, **options: Any) -> tuple[TrialResult, list[EpochMetrics]]:
    reported: list[EpochMetrics] = []
    result = train(config, reported.append, folder, images=options.pop("images", IMAGES), **options)
    return result, reported


def state(folder: Path) -> dict[str, bytes]:
    """All that a run goes on from, bit for bit."""
    saved = checkpoint.latest(folder)
    assert saved is not None
    return {name: array.tobytes() for name, array in saved.arrays.items()}


def timeless(metrics: list[EpochMetrics]) -> list[dict[str, Any]]:
    return [asdict(epoch) | dict.fromkeys(OF_THE_MACHINE) for epoch in metrics]


def assert_same_run(
    first: tuple[TrialResult, list[EpochMetrics]], second: tuple[TrialResult, list[EpochMetrics]]
) -> None:
    assert replace(first[0], seconds=0.0) == replace(second[0], seconds=0.0)
    assert timeless(first[1]) == timeless(second[1])


def test_an_epoch_says_what_it_took_of_the_machine() -> None:
    _, (first, *_) = run(trial(), threads=1)
    resident = psutil.Process().memory_info().rss
    assert first.memory == pytest.approx(resident, rel=0.3)
    assert first.cpu_percent is not None
    assert 10 < first.cpu_percent < 150  # of one thread, on a machine that may be busy
    assert (first.gpu_percent, first.gpu_memory) == (None, None)


def test_an_epoch_says_where_its_time_went_and_that_before_it(monkeypatch, tmp_path) -> None:
    """On a clock that goes by what is done: 100 to draw, 10 a batch, 1000 a step, 10**5 to evaluate, 10**6 to save."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    taking(monkeypatch, clock, TrainingData, "draw", 100)
    taking(monkeypatch, clock, TrainingData, "batch", 10)
    taking(monkeypatch, clock, Sgd, "step", 1000)
    taking(monkeypatch, clock, Evaluation, "__call__", 100_000)
    taking(monkeypatch, clock, checkpoint, "save", 1_000_000)

    def wait() -> None:
        clock[0] += 1

    epochs: list[EpochMetrics] = []
    kept = Checkpoints(folder=tmp_path, before_save=wait)
    train(trial(), epochs.append, kept, images=IMAGES, threads=1, device="cpu")
    steps = [epoch.step - before for epoch, before in zip(epochs, [0, *(it.step for it in epochs)], strict=False)]
    assert [epoch.data_seconds for epoch in epochs] == [100 + 10 * count for count in steps]
    assert [epoch.evaluation_seconds for epoch in epochs] == [100_000] * len(epochs)
    assert [epoch.seconds for epoch in epochs] == [100_100 + 1010 * count for count in steps]
    assert [epoch.checkpoint_seconds for epoch in epochs] == [0, *[1_000_000] * (len(epochs) - 1)]
    assert [epoch.waiting_seconds for epoch in epochs] == [0, *[1] * (len(epochs) - 1)]


def taking(patch: pytest.MonkeyPatch, clock: list[float], owner: object, name: str, seconds: int) -> None:
    """Has each call put the clock forward."""
    call = getattr(owner, name)

    def timed(*given: object, **named: object) -> object:
        clock[0] += seconds
        return call(*given, **named)

    patch.setattr(owner, name, timed)


# Killed and resumed


REGIMES = [
    *(Joint(strategy=kind()) for kind in STRATEGIES.values()),
    *(Opt(unit=2), Midfeat(), NoGrad(), NoGrad(variant="stop_gradient")),
    *(Joint(strategy=kind(warm_up_epochs=1, mixing=0.001)) for kind in (Exp3, Rwm)),
]
NAMES = [
    *(kind().name for kind in STRATEGIES.values()),
    *("opt", "midfeat", "no_grad", "stop_gradient", "authors' exp3", "authors' rwm"),
]


@pytest.mark.parametrize("regime", REGIMES, ids=NAMES)
def test_a_run_killed_after_every_epoch_gives_the_same_bits(regime, tmp_path) -> None:
    config = trial(regime)
    whole = run(config, tmp_path / "whole")
    for epoch in range(1, len(whole[1]) + 1):
        with pytest.raises(KilledError):
            train(config, killed_at(epoch), tmp_path / "killed", images=IMAGES)
    assert_same_run(run(config, tmp_path / "killed"), whole)
    found, expected = state(tmp_path / "killed"), state(tmp_path / "whole")
    assert any(name.startswith("momentum/") for name in expected)
    assert "network/blocks.0.units.0.residual.0.running_mean" in expected
    assert found == expected


def test_without_checkpoints_the_bits_are_the_same(tmp_path) -> None:
    assert_same_run(run(trial()), run(trial(), tmp_path))


def test_epochs_are_reported_in_order_and_once(tmp_path) -> None:
    first: list[EpochMetrics] = []
    with pytest.raises(KilledError):
        train(trial(), killed_at(2, seen=first), tmp_path, images=IMAGES)
    _, second = run(trial(), tmp_path)
    assert [metrics.epoch for metrics in first] == [1, 2]
    assert [metrics.epoch for metrics in second] == [1, 2, 3, 4]
    assert [metrics.step for metrics in second] == [3, 6, 9, 10]
    assert second[:2] == first  # times too: these epochs were not trained again
    assert [metrics.learning_rate for metrics in second] == [0.1, 0.01, 0.01, 0.01]


def test_a_finished_run_is_reported_again_but_not_trained_again(tmp_path) -> None:
    first = run(trial(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert run(trial(), tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


STEP = trainer.Run.step


@contextmanager
def killed_before_step(number: int) -> Iterator[None]:
    """Of those that are done from here on, counted from 0."""
    steps = count()

    def killed(*arguments: Any) -> Any:
        if next(steps) == number:
            raise KilledError
        return STEP(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Run, "step", killed)
        yield


def test_a_kill_within_an_epoch_costs_that_epoch(tmp_path) -> None:
    whole = run(trial(), tmp_path / "whole")
    with killed_before_step(7), pytest.raises(KilledError):
        run(trial(), tmp_path / "killed")
    assert checkpoint.latest_step(tmp_path / "killed") == 6
    assert_same_run(run(trial(), tmp_path / "killed"), whole)
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


@pytest.mark.parametrize("regime", REGIMES, ids=NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_killed_at_random_steps_gives_the_same_bits(regime, seed, tmp_path) -> None:
    """As often as it takes; with all else that the authors' code does."""
    config = trial(
        regime,
        data=DataConfig(name="digits", pad=1, flip=True, brightness=2, contrast=0.2),
        training=TrainingConfig(steps=10, batch_size=32, learning_rate={0: 0.1, 5: 0.01}, head_decay="loss_weight"),
    )
    whole, rng = run(config, tmp_path / "whole"), random.Random(f"{regime} {seed}")
    kills = 0
    while (checkpoint.latest_step(tmp_path / "killed") or 0) < config.steps:
        with killed_before_step(rng.randrange(8)), suppress(KilledError):
            run(config, tmp_path / "killed")
            kills -= 1
        kills += 1
    assert kills > 0
    assert_same_run(run(config, tmp_path / "killed"), whole)
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


def test_a_checkpoint_that_cannot_be_written_costs_that_epoch(tmp_path, monkeypatch) -> None:
    whole = run(trial(), tmp_path / "whole")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    reported: list[EpochMetrics] = []

    def report(metrics: EpochMetrics) -> None:
        reported.append(metrics)
        monkeypatch.setattr(files, "write_atomically", full)

    with pytest.raises(OSError, match="No space left"):
        train(trial(), report, tmp_path / "full", images=IMAGES)
    assert [metrics.epoch for metrics in reported] == [1]
    monkeypatch.undo()
    assert_same_run(run(trial(), tmp_path / "full"), whole)


def test_a_trial_does_not_go_on_with_other_data(tmp_path) -> None:
    with pytest.raises(KilledError):
        train(trial(), killed_at(1), tmp_path, images=IMAGES)
    changed = IMAGES.test_images.copy()
    changed[0, 0, 0, 0] += 1
    with pytest.raises(
        CheckpointError, match=r"digits: its content is [0-9a-f]{16}, and was [0-9a-f]{16} when"
    ) as caught:
        train(trial(), images=replace(IMAGES, test_images=changed), checkpoints=tmp_path)
    assert str(tmp_path) in str(caught.value)
    train(trial(), images=IMAGES, checkpoints=tmp_path)


def test_a_damaged_checkpoint_costs_one_epoch(tmp_path) -> None:
    whole = run(trial(), tmp_path / "whole")
    with pytest.raises(KilledError):
        train(trial(), killed_at(3), tmp_path / "damaged", images=IMAGES)
    newest = tmp_path / "damaged" / "step-000000009.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert_same_run(run(trial(), tmp_path / "damaged"), whole)
    assert state(tmp_path / "damaged") == state(tmp_path / "whole")


WORKER = """
import json, sys
from pathlib import Path
import numpy as np
from anytime_core.config import from_dict
from anytime_core.data.dataset import Images
from anytime_core.training.trainer import train

folder = Path(sys.argv[1])
config = from_dict(json.loads((folder / "config.json").read_text()))
images = Images(**np.load(folder / "images.npz"))
train(config, checkpoints=folder / "killed", images=images, device="cpu", threads=1)
"""


def test_a_process_killed_at_any_moment_leaves_a_run_that_gives_the_same_bits(tmp_path) -> None:
    config, folder = trial(Joint(strategy=Exp3()), steps=300), tmp_path / "killed"
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    given = {name: array for name, array in asdict(IMAGES).items() if array is not None}
    np.savez(tmp_path / "images.npz", **given)
    rng, reached = random.Random(0), 0
    for _ in range(3):
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], cwd=REPOSITORY)
        while (checkpoint.latest_step(folder) or 0) <= reached:
            assert worker.poll() is None
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        worker.send_signal(signal.SIGKILL)
        assert worker.wait(timeout=60) == -signal.SIGKILL
        reached = checkpoint.latest_step(folder) or 0
    assert 0 < reached < 300
    assert_same_run(run(config, folder), run(config, tmp_path / "whole"))
    assert state(folder) == state(tmp_path / "whole")


# What else the bits may depend on


def test_seeds_differ_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(trial())
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert_same_run(run(trial()), first)
    other = run(trial(seed=1))
    assert other[1][0].train_loss != first[1][0].train_loss
    assert other[0].errors != first[0].errors


def test_two_threads_give_the_same_bits_every_time(tmp_path) -> None:
    network = NetworkConfig(n=1, c=8)
    first = run(trial(network=network), tmp_path / "first", threads=2)
    with pytest.raises(KilledError):
        train(trial(network=network), killed_at(2), tmp_path / "second", images=IMAGES, threads=2)
    assert_same_run(run(trial(network=network), tmp_path / "second", threads=2), first)
    assert state(tmp_path / "second") == state(tmp_path / "first")


def test_the_settings_of_torch_are_given_back() -> None:
    def settings() -> tuple[Any, ...]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
            torch.utils.deterministic.fill_uninitialized_memory,
        )

    before, within = settings(), []

    def report(metrics: EpochMetrics) -> None:
        within.append(settings())
        raise KilledError

    with pytest.raises(KilledError):
        train(trial(), report, images=IMAGES, threads=2)
    assert within == [(2, True, True, False, False, False)]
    assert settings() == before
    assert before[:2] == (1, False)


# What a step does


def test_training_is_the_formulas() -> None:
    """An epoch of AANN, written out: the weighted sum of the losses, one of them amplified, and the updates."""
    config = trial(
        Joint(weights=WeightingConfig(normalize="none"), strategy=Aann(gamma=0.25)),
        training=TrainingConfig(steps=3, batch_size=32, learning_rate={0: 0.1, 2: 0.01}),
        seed=5,
    )
    base, total = [2.0, 1.0, 3.0], 6.0  # the sieve of 3 predictions: 1 + nu(2), 1 + nu(1), their sum
    network = AnytimeResNet(1, 4, 10, in_channels=1, seed=5).to(memory_format=torch.channels_last)
    parameters = dict(network.named_parameters())
    velocity = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    data, _ = to_device(IMAGES, config.data, 32, 5, CPU)
    draws = torch.rand(3, generator=generator(5, "selection", 1)).tolist()
    amplified, losses_seen = [], []
    for draw, rate, (images, labels) in zip(draws, [0.1, 0.1, 0.01], batches(data, 1), strict=True):
        index = 0 if draw < 2 / 6 else 1 if draw < 3 / 6 else 2
        amplified.append(index)
        logits = network(images.contiguous(memory_format=torch.channels_last))
        losses = [cross_entropy(prediction, labels) for prediction in logits]
        losses_seen.append([loss.item() for loss in losses])
        loss = sum(b * one for b, one in zip(base, losses, strict=True)) + 0.25 * total * losses[index]
        for (name, parameter), gradient in zip(
            parameters.items(), torch.autograd.grad(loss, list(parameters.values())), strict=True
        ):
            decay = 1e-4 if parameter.ndim > 1 and "bias" not in name else 0.0
            velocity[name] = 0.9 * velocity[name] + gradient + decay * parameter.detach()
            parameter.data -= rate * velocity[name]
    trained = trainer.Run.start(config, IMAGES, CPU)
    metrics = trained.epoch()
    assert len(set(amplified)) > 1
    assert metrics.train_loss == pytest.approx(np.mean(losses_seen, axis=0), rel=1e-4)
    assert metrics.probabilities == pytest.approx([2 / 6, 1 / 6, 3 / 6])
    for name, parameter in trained.network.named_parameters():
        torch.testing.assert_close(parameter, parameters[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("unit", [1, 2, 3, 4, 5, 6])
def test_an_optimum_is_the_full_network_with_all_weight_on_one_prediction(unit, tmp_path) -> None:
    network = NetworkConfig(n=2, c=4)
    optimum, _ = run(trial(Opt(unit=unit), network=network), tmp_path / "optimum")
    one_hot = Joint(weights=WeightingConfig(name=f"opt({unit})"), strategy=Ann())
    full, _ = run(trial(one_hot, network=network), tmp_path / "full")
    assert (optimum.units, full.units) == ((unit,), (1, 2, 3, 4, 5, 6))
    assert optimum.errors == (full.errors[unit - 1],)
    saved, complete = checkpoint.latest(tmp_path / "optimum"), checkpoint.latest(tmp_path / "full")
    assert saved is not None
    assert complete is not None
    for name, array in saved.arrays.items():
        if name == "selection":
            continue
        head = f"blocks.{(unit - 1) // 2}.heads" in name
        shared = complete.arrays[f"{name.removesuffix('.0')}.{(unit - 1) % 2}" if head else name]
        assert array.tobytes() == shared.tobytes(), name


@pytest.mark.parametrize("kind", [Aann, Milestone, Exp3, Rwm, Avgl])
def test_in_a_warm_up_the_last_loss_is_always_chosen(kind) -> None:
    started = trainer.Run.start(trial(Joint(strategy=kind(warm_up_epochs=2))), IMAGES, CPU)
    start = started.selection.state["v"].clone()
    for _ in range(2):
        assert started.epoch().probabilities == (0.0, 0.0, 1.0)
        assert started.selection.chosen.tolist() == [0.0, 0.0, 1.0]
        assert torch.equal(started.selection.state["v"], start)
    assert started.epoch().probabilities != (0.0, 0.0, 1.0)
    assert torch.equal(started.selection.state["v"], start) == (kind in (Aann, Milestone))


@pytest.mark.parametrize(
    ("regime", "expected"),
    [
        (Joint(), [{2 / 6, 1 / 6, 3 / 6}]),
        (Joint(weights=WeightingConfig(normalize="as_published")), [{2 / 3, 1 / 3, 1.0}]),
        (Opt(unit=2), [{1.0}]),
        (Midfeat(), [{0.0, 1.0}, {0.0, 1.0}]),
        (NoGrad(), [{1.0}, {0.0, 1.0}, {0.0, 1.0}]),
        (NoGrad(variant="stop_gradient"), [{1.0}]),
    ],
)
@pytest.mark.parametrize("head_decay", ["uniform", "loss_weight"])
def test_heads_decay_by_the_weights_of_their_losses(regime, expected, head_decay) -> None:
    training = TrainingConfig(steps=3, batch_size=32, weight_decay=0.1, head_decay=head_decay)
    started = trainer.Run.start(trial(regime, training=training), IMAGES, CPU)
    for number, weights in enumerate(expected):
        started.enter(number)
        named = {name: decay for decay, group in started.optimiser.groups.items() for name in group}
        heads = [decay for name, decay in named.items() if "heads.weight" in name]
        others = {decay for name, decay in named.items() if "heads" not in name}
        assert others <= {0.0, 0.1}
        allowed = {0.1} if head_decay == "uniform" else {0.1 * weight for weight in weights}
        assert heads
        for decay in heads:
            assert any(decay == pytest.approx(one) for one in allowed)


# How a step is computed


def low(regime: Regime | None = None) -> TrialConfig:
    return trial(
        regime, training=TrainingConfig(steps=10, batch_size=32, learning_rate={0: 0.1, 5: 0.01}, precision="bfloat16")
    )


@pytest.mark.parametrize("regime", [Joint(strategy=Exp3()), NoGrad()], ids=["exp3", "no_grad"])
def test_bfloat16_gives_the_same_bits_however_often_it_is_killed(regime, tmp_path) -> None:
    whole = run(low(regime), tmp_path / "whole")
    for epoch in range(1, len(whole[1]) + 1, 2):
        with pytest.raises(KilledError):
            train(low(regime), killed_at(epoch), tmp_path / "killed", images=IMAGES)
    assert_same_run(run(low(regime), tmp_path / "killed"), whole)
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


def test_bfloat16_trains_as_float32_does_but_for_its_rounding(tmp_path) -> None:
    """Which is of 1 in 256. What is kept is float32, and so is what losses are computed in."""
    _, full = run(trial(), tmp_path / "full")
    _, rounded = run(low(), tmp_path / "rounded")
    assert timeless(rounded) != timeless(full)
    for epoch, (one, other) in enumerate(zip(rounded, full, strict=True), start=1):
        assert one.train_loss == pytest.approx(other.train_loss, rel=0.02 * epoch)
        assert one.test_loss == pytest.approx(other.test_loss, rel=0.05 * epoch)
    saved = checkpoint.latest(tmp_path / "rounded")
    assert saved is not None
    assert {str(array.dtype) for name, array in saved.arrays.items() if "num_batches" not in name} == {"float32"}
    losses = [loss for epoch in rounded for loss in epoch.train_loss]
    assert any(loss * 2**16 % 1 for loss in losses)  # more digits than bfloat16 has


@pytest.mark.parametrize("regime", [Joint(strategy=Exp3()), Midfeat(), NoGrad()], ids=lambda regime: regime.name)
def test_weights_rounded_at_once_are_those_that_autocast_rounds(regime, tmp_path, monkeypatch) -> None:
    at_once = run(low(regime), tmp_path / "at_once")
    monkeypatch.setattr(step, "rounded_weights", lambda precision, network: {})
    assert_same_run(run(low(regime), tmp_path / "one_by_one"), at_once)
    assert state(tmp_path / "one_by_one") == state(tmp_path / "at_once")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its own
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_compiled_unit_is_the_unit(dtype, tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "inductor"))
    torch._dynamo.reset()
    plain, compiled = (build_network(trial(network=NetworkConfig(n=1, c=4, period=3))).to(dtype) for _ in range(2))
    compile_units(compiled, CPU)
    x = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=dtype)
    gradients = []
    for network in (plain, compiled):
        unit, images = network.blocks[0].units[0], x.clone().requires_grad_()
        with torch._inductor.config.patch(compile_threads=1):  # no processes of its own
            (unit(images) ** 2).sum().backward()
        gradients.append([images.grad, *(parameter.grad for parameter in unit.parameters())])
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(plain.state_dict(), compiled.state_dict(), rtol=tolerance, atol=tolerance)


def test_a_trial_whose_units_are_to_be_compiled_has_them_compiled(monkeypatch) -> None:
    """And has the parameters' names of any other."""
    config = trial(training=replace(trial().training, compiled=True))
    started = trainer.build_run(config, IMAGES, "cpu")
    assert all(unit._compiled_call_impl for block in started.network.blocks for unit in block.units)
    assert started.network.state_dict().keys() == build_network(trial()).state_dict().keys()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"compiled is true, but there is no C\+\+ compiler: install"):
        run(config)


def test_the_parts_of_an_epoch_are_the_epoch() -> None:
    """As benchmarks time them. An epoch that is begun again is the same epoch of the network as it is."""
    whole, parts = (trainer.build_run(trial(), IMAGES, "cpu") for _ in range(2))
    expected = whole.epoch()
    parts.begin_epoch()
    while parts.steps_ahead > 1:
        parts.step()
    parts.eager_step()
    assert parts.read() == (expected.train_loss, expected.train_error)
    assert parts.evaluate() == (expected.test_loss, expected.test_error)
    assert parts.history == []
    parts.begin_epoch()
    assert parts.steps_ahead == 3
    parts.step()
    assert parts.read()[0] != expected.train_loss
    assert timeless([parts.epoch()])[0]["step"] == 3


@pytest.mark.parametrize("regime", [Midfeat(), NoGrad()], ids=["midfeat", "no_grad"])
def test_what_a_phase_does_not_train_holds_no_gradient(regime) -> None:
    started = trainer.build_run(trial(regime), IMAGES, "cpu")
    for number, phase in enumerate(started.phases):
        started.enter(number)
        started.begin_epoch()
        started.step()
        held = {name for name, parameter in started.network.named_parameters() if parameter.grad is not None}
        assert held == phase.trained


@pytest.mark.parametrize(
    ("regime", "precision"),
    [*((regime, "float32") for regime in REGIMES), (Joint(strategy=Avgl()), "bfloat16")],
    ids=[*NAMES, "bfloat16"],
)
def test_steps_and_evaluation_wait_for_no_device(regime, precision, monkeypatch) -> None:
    """With fake tensors, which have no content to read, in every phase."""
    monkeypatch.setattr(AnytimeResNet, "to", lambda network, *_, **__: network)  # torch cannot convert fake parameters
    training = TrainingConfig(steps=5, batch_size=32, precision=precision)
    with FakeTensorMode(allow_non_fake_inputs=True):
        started = trainer.Run.start(trial(regime, training=training), IMAGES, CPU)
        for number in range(len(started.phases)):
            started.enter(number)
            started.begin_epoch()
            started.step()
            started.step()
            with torch.no_grad():
                started.evaluate.eager()
            with pytest.raises(DataDependentOutputException):
                started.read()


def test_a_step_that_reads_a_number_is_caught(monkeypatch) -> None:
    """What the test above relies on."""
    monkeypatch.setattr(AnytimeResNet, "to", lambda network, *_, **__: network)
    learn = Selection.learn
    monkeypatch.setattr(Selection, "learn", lambda own, losses, rate: learn(own, losses * losses[0].item()))
    with FakeTensorMode(allow_non_fake_inputs=True):
        started = trainer.Run.start(trial(), IMAGES, CPU)
        started.begin_epoch()
        with pytest.raises(DataDependentOutputException):
            started.step()


class HostError(AssertionError):
    pass


class NotOfTheHost(TorchDispatchMode):
    """Every tensor that takes part in anything is on the device ``meta``."""

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = call(*args, **(kwargs or {}))
        where = {str(one.device) for one in tree_leaves((args, kwargs, result)) if isinstance(one, torch.Tensor)}
        if where - {"meta"}:
            raise HostError(f"{call} of {where}")
        return result


def asks_for_its_layout(parameters: Any, gradients: Any, buffers: Any, *, lr: torch.Tensor, **_: Any) -> None:
    """In the place of the fused update, which ``meta`` has not: what CUDA's asks for."""
    assert (lr.device.type, lr.dtype) == ("meta", torch.float32)
    for tensors in zip(parameters, gradients, buffers, strict=True):
        assert len({(tensor.device, tensor.dtype, tensor.stride()) for tensor in tensors}) == 1


@pytest.fixture
def on_meta(monkeypatch) -> None:
    monkeypatch.setattr(torch, "_fused_sgd_", asks_for_its_layout)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for meta


@pytest.mark.parametrize(
    ("regime", "transition"),
    [*((regime, "convolution") for regime in REGIMES), (Joint(strategy=Aann()), "pooling")],
    ids=[*NAMES, "pooling"],
)
def test_no_tensor_of_the_host_takes_part_in_a_step(regime, transition, on_meta) -> None:
    """Nor in an evaluation, in every phase: on a device with no content. On a GPU a tensor of the host would be an
    error, or a copy for which it waits."""
    config = trial(regime, network=NetworkConfig(n=1, c=4, transition=transition))
    started = trainer.Run.start(config, small_images(test_count=500), torch.device("meta"))
    for number in range(len(started.phases)):
        started.enter(number)
        started.begin_epoch()
        with NotOfTheHost():
            started.step()
            started.step()
            with torch.no_grad():
                started.evaluate.eager()


def test_a_tensor_of_the_host_in_a_step_is_caught(on_meta, monkeypatch) -> None:
    """What the test above relies on."""
    learn = Selection.learn
    monkeypatch.setattr(Selection, "learn", lambda own, losses, rate: learn(own, losses * torch.tensor(1.0)))
    started = trainer.Run.start(trial(), IMAGES, torch.device("meta"))
    started.begin_epoch()
    with NotOfTheHost(), pytest.raises(HostError):
        started.step()


@pytest.fixture
def emulated(monkeypatch) -> None:
    monkeypatch.setattr(graphs, "Graph", EmulatedGraph)
    monkeypatch.setattr(trainer, "mode_on", lambda device, mode: mode)


@pytest.mark.parametrize(
    ("regime", "precision"),
    [*((regime, "float32") for regime in REGIMES), (Joint(strategy=Avgl()), "bfloat16"), (Midfeat(), "bfloat16")],
    ids=[*NAMES, "bfloat16", "bfloat16 midfeat"],
)
def test_calls_made_again_as_a_graph_makes_them_give_the_same_bits(regime, precision, tmp_path, emulated) -> None:
    """Whole trials, killed once: what a step or an evaluation does is on static tensors, and nothing is Python's."""
    training = TrainingConfig(steps=10, batch_size=32, learning_rate={0: 0.1, 5: 0.01}, precision=precision)
    config, images = trial(regime, training=training), small_images(test_count=1100)  # whole batches and a rest
    eager = run(config, tmp_path / "eager", images=images, mode="eager")
    with pytest.raises(KilledError):
        train(config, killed_at(2), tmp_path / "graph", images=images, mode="graph")
    assert_same_run(run(config, tmp_path / "graph", images=images, mode="graph"), eager)
    assert state(tmp_path / "graph") == state(tmp_path / "eager")


def test_what_is_not_on_static_tensors_shows_when_calls_are_made_again(emulated, monkeypatch) -> None:
    """What the test above relies on."""
    config = trial(Joint(strategy=Avgl()))
    assert_same_run(run(config, mode="graph"), run(config, mode="eager"))

    def learn(own: Selection, losses: torch.Tensor, rate: torch.Tensor) -> None:
        own.state = {name: value.clone() for name, value in own.state.items()}
        own.rule.update(own.state, Step(losses=losses, chosen=own.chosen, probabilities=own.p, rate=rate))

    monkeypatch.setattr(Selection, "learn", learn)
    assert timeless(run(config, mode="graph")[1]) != timeless(run(config, mode="eager")[1])


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("regime", REGIMES, ids=NAMES)
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_the_steps_of_an_epoch_wait_for_no_gpu(regime, mode) -> None:
    """CUDA's own watch: whatever waits raises. The draws of an epoch go to the device before its first step, which
    captures the graph."""
    started = trainer.build_run(trial(regime, data=DataConfig(name="digits", flip=True)), IMAGES, "cuda", mode=mode)
    for _ in range(2):
        started.begin_epoch()
        started.step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            while started.steps_ahead:
                started.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        losses, _ = started.read()
        assert np.isfinite(losses).all()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("regime", REGIMES, ids=NAMES)
@pytest.mark.parametrize("precision", get_args(Precision))
def test_a_graph_gives_the_bits_of_its_calls(regime, precision, tmp_path) -> None:
    training = TrainingConfig(steps=10, batch_size=32, learning_rate={0: 0.1, 5: 0.01}, precision=precision)
    config, images = trial(regime, training=training), small_images(test_count=1100)  # whole batches and a rest
    eager = run(config, tmp_path / "eager", images=images, device="cuda", mode="eager")
    assert_same_run(run(config, tmp_path / "graph", images=images, device="cuda", mode="graph"), eager)
    assert state(tmp_path / "graph") == state(tmp_path / "eager")


@pytest.mark.gpu
@needs_gpu
def test_another_graph_takes_no_more_memory() -> None:
    """cuBLAS keeps a workspace for each stream."""
    x, y = torch.ones(256, 256, device="cuda"), torch.zeros(256, 256, device="cuda")

    def allocated() -> int:
        graph = graphs.Graph(lambda: y.add_(x @ x), [y])
        graph()
        torch.cuda.synchronize()  # before the graph goes
        del graph
        return torch.cuda.memory_allocated()

    first = [allocated() for _ in range(2)]
    assert {allocated() for _ in range(8)} == {first[-1]}


@pytest.mark.gpu
@needs_gpu
def test_a_graph_that_goes_takes_nothing_of_another() -> None:
    """As that of a warm-up's steps goes while the evaluation's stays."""
    x = torch.randn(512, 512, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    sums = [torch.zeros_like(x) for _ in range(2)]

    def work(number: int) -> None:
        sums[number].copy_(x.bfloat16() @ x.bfloat16())

    made = [graphs.Graph(partial(work, number), [sums[number]]) for number in range(2)]
    made[1]()
    torch.cuda.synchronize()
    expected = sums[1].clone()
    del made[0]
    torch.cuda.empty_cache()
    others = torch.full((64, 1 << 20), torch.nan, device="cuda")  # takes what was freed
    for _ in range(3):
        made[0]()
        assert torch.equal(sums[1], expected)
    assert others.isnan().all()


def test_only_cuda_has_graphs() -> None:
    with pytest.raises(ConfigError, match="mode is 'graph' on cpu; only CUDA has graphs"):
        train(trial(), images=IMAGES, device="cpu", mode="graph")
    with pytest.raises(ConfigError, match="mode is 'fast', must be one of"):
        train(trial(), images=IMAGES, device="cpu", mode="fast")


# From a config to what is trained


@pytest.mark.parametrize(("transition", "convolutions"), [("convolution", 6 * 2 + 3), ("pooling", 6 * 2 + 1)])
@pytest.mark.parametrize("name", ["digits", "cifar100"])
@pytest.mark.parametrize("regime", [Joint(), Opt(unit=4), NoGrad(variant="stop_gradient")])
def test_the_network_of_a_trial_is_the_one_that_its_costs_are_of(transition, convolutions, name, regime) -> None:
    network = NetworkConfig(n=2, c=4, period=3, transition=transition)
    config = trial(regime, network=network, data=DataConfig(name=name))
    built, spec = build_network(config), DATASETS[name]
    if not isinstance(regime, Opt):  # whose network ends with its unit
        assert sum(isinstance(module, torch.nn.Conv2d) for module in built.modules()) == convolutions
    costs = trial_costs(config)
    for unit, cost in zip(config.predicting_units, costs, strict=True):
        first = [number for number in config.predicting_units if number <= unit]
        ends_there = AnytimeResNet(
            2, 4, spec.classes, in_channels=spec.channels, predicting_units=first, transition=transition
        )
        assert cost == multiply_adds(ends_there, spec)
    assert costs[-1] == multiply_adds(built, spec)


def multiply_adds(network: AnytimeResNet, spec: Dataset) -> int:
    """Of one image, by torch's own counter, which counts two operations for each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, spec.channels, spec.size, spec.size))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("regime", "stopped"),
    [
        *((regime, False) for regime in (Joint(), Opt(unit=6), Midfeat(), NoGrad())),
        (NoGrad(variant="stop_gradient"), True),
    ],
)
def test_gradients_are_stopped_where_the_config_says_so(regime, stopped) -> None:
    network = build_network(trial(regime, network=NetworkConfig(n=2, c=4, period=2)))
    (network(torch.rand(4, 1, 8, 8))[-1] ** 2).sum().backward()
    reached = {name for name, p in network.named_parameters() if p.ndim == 4 and p.grad is not None and p.grad.any()}
    everything = {name for name, p in network.named_parameters() if p.ndim == 4}
    # The last prediction, of unit 6: units 5 and 6 come after the prediction of unit 4.
    expected = {name for name in everything if name.startswith("blocks.2.")} if stopped else everything
    assert reached == expected


@pytest.mark.parametrize(
    ("network", "milestones"),
    [
        (NetworkConfig(n=7, c=16), [5, 10, 15, 21]),
        (NetworkConfig(n=25, c=16, period=3), [18, 36, 54, 75]),
        (NetworkConfig(n=1, c=16), [1, 2, 3]),
    ],
)
def test_the_milestones_of_a_trial_are_those_of_its_costs(network, milestones) -> None:
    config = trial(Joint(strategy=Milestone()), network=network, data=DataConfig(name="cifar10"))
    units = config.predicting_units
    found = build_selection(config, trial_costs(config), [1.0] * len(units), CPU).probabilities().tolist()
    half, others = 0.5 / len(milestones), len(units) - len(milestones)
    expected = {unit: half if unit in milestones else 0.5 / others for unit in units}
    if not others:
        expected = dict.fromkeys(units, 1 / 3)
    assert dict(zip(units, found, strict=True)) == pytest.approx(expected)


# Results


def test_a_result_is_that_of_the_last_epoch() -> None:
    result, reported = run(trial(steps=60))
    assert (result.state, result.units, result.steps, result.device) == ("finished", (1, 2, 3), 60, "cpu")
    assert result.errors == reported[-1].test_error
    assert result.costs == tuple(prediction_costs(1, 4, in_channels=1, image_size=8))
    assert result.seconds == pytest.approx(sum(metrics.seconds for metrics in reported))
    for metrics in reported:
        parts = (metrics.train_loss, metrics.train_error, metrics.test_loss, metrics.test_error)
        assert [len(part) for part in parts] == [3] * 4
    assert reported[-1].train_loss < reported[0].train_loss


def test_the_probabilities_are_those_of_the_strategy(tmp_path) -> None:
    assert run(trial(Joint()))[1][0].probabilities == ()
    _, reported = run(trial(Joint(strategy=Exp3())))
    assert reported[0].probabilities == pytest.approx([1 / 3] * 3)
    assert reported[1].probabilities != reported[0].probabilities
    for metrics in reported:
        assert sum(metrics.probabilities) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("regime", [Joint(strategy=Aann()), Opt(unit=2)])
def test_the_network_of_a_checkpoint_gives_the_errors_of_the_result(regime, tmp_path) -> None:
    config = trial(regime, data=DataConfig(name="digits", validation=30, pad=1))
    result, _ = run(config, tmp_path)
    network = load_network(str(tmp_path))
    assert not network.training
    assert network.predicting_units == result.units
    labels = torch.tensor(IMAGES.train_labels[70:])
    logits = network(torch.tensor(IMAGES.train_images[70:]))
    mean, std = IMAGES.train_images[:70].mean(), IMAGES.train_images[:70].std()
    normalised = torch.tensor((IMAGES.train_images[70:] - mean) / std, dtype=torch.float32)
    torch.testing.assert_close(logits, network.network(normalised))
    assert logits.shape == (len(result.units), 30, 10)
    errors = [100 * (prediction.argmax(1) != labels).float().mean().item() for prediction in logits]
    assert result.errors == pytest.approx(errors)
    assert len(set(errors)) == len(errors)


@pytest.mark.parametrize("regime", REGIMES, ids=NAMES)
def test_a_diverged_run_has_no_errors(regime, tmp_path) -> None:
    config = trial(regime, training=TrainingConfig(steps=30, batch_size=32, learning_rate={0: 1e30}))
    result, reported = run(config, tmp_path)
    assert (result.state, result.errors) == ("diverged", ())
    assert result.steps == reported[-1].step < 30  # it ends with the epoch in which it diverged
    assert [metrics.diverged for metrics in reported] == [False] * (len(reported) - 1) + [True]
    again, repeated = run(config, tmp_path)
    assert again == result
    assert repeated[-1].diverged
    assert len(repeated) == len(reported)


# What cannot be


def test_a_checkpoint_of_another_trial_is_refused(tmp_path) -> None:
    run(trial(), tmp_path)
    before = state(tmp_path)
    for other in (trial(seed=1), trial(Joint()), trial(steps=11)):
        with pytest.raises(CheckpointError, match=f"{tmp_path} holds a checkpoint of another trial"):
            train(other, checkpoints=tmp_path, images=IMAGES)
    assert state(tmp_path) == before


def test_a_checkpoint_of_something_else_is_refused(tmp_path) -> None:
    checkpoint.save(tmp_path, 1, checkpoint.Checkpoint({}, {}))
    with pytest.raises(CheckpointError, match="another trial"):
        train(trial(), checkpoints=tmp_path, images=IMAGES)


def test_a_network_is_not_made_up(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=f"{tmp_path} holds no valid checkpoint"):
        load_network(tmp_path)


@pytest.mark.parametrize(
    "regime",
    [Joint(), Midfeat(), NoGrad(), Opt(unit=2), NoGrad(variant="stop_gradient")],
    ids=lambda regime: regime.name,
)
@pytest.mark.parametrize("transition", ["convolution", "pooling"])
def test_the_network_of_any_finished_trial_is_used_and_of_no_other(regime, transition, tmp_path) -> None:
    config = trial(regime, network=NetworkConfig(n=1, c=4, transition=transition))
    with pytest.raises(KilledError):
        train(config, killed_at(1), tmp_path, images=IMAGES)
    with pytest.raises(
        CheckpointError, match=rf"{tmp_path} holds a trial that is at step 3 of {config.steps}; .*unfinish"
    ):
        load_network(tmp_path)
    assert load_network(tmp_path, unfinished=True).predicting_units == config.predicting_units
    result, _ = run(config, tmp_path)
    logits = load_network(tmp_path)(torch.tensor(IMAGES.test_images))
    assert logits.shape == (len(result.units), 50, 10)
    wrong = (logits.argmax(2) != torch.tensor(IMAGES.test_labels)).float().mean(1)
    assert result.errors == pytest.approx((100 * wrong).tolist())


def test_the_network_of_a_diverged_trial_is_not_used_unasked(tmp_path) -> None:
    config = trial(training=TrainingConfig(steps=30, batch_size=32, learning_rate={0: 1e30}))
    result, _ = run(config, tmp_path)
    with pytest.raises(CheckpointError, match=f"holds a trial that diverged by step {result.steps}"):
        load_network(tmp_path)
    load_network(tmp_path, unfinished=True)


def altered(meta: dict[str, Any], *keys: str, value: Any = None) -> dict[str, Any]:
    """A deep copy with one value in it changed, or left out."""
    meta = json.loads(json.dumps(meta))
    *path, last = keys
    inner = meta
    for key in path:
        inner = inner[key]
    inner.pop(last) if value is None else inner.update({last: value})
    return meta


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: {}, "KeyError: 'config'"),
        (lambda meta: altered(meta, "history"), "KeyError: 'history'"),
        (lambda meta: altered(meta, "history", value=[]), "IndexError"),
        (lambda meta: altered(meta, "history", value=[{"epoch": 1}]), "ValueError: step is missing"),
        (lambda meta: altered(meta, "config", value=3), "TypeError"),
        (lambda meta: altered(meta, "config", "network"), "KeyError: 'network'"),
        (lambda meta: altered(meta, "config", "network", "width", value=3), "TypeError: .*'width'"),
        (lambda meta: altered(meta, "config", "network", "n", value=0), "ValueError: n is 0, must be at least 1"),
        (lambda meta: altered(meta, "config", "network", "c", value=8), r"are no network \(1,8\)"),
        (lambda meta: altered(meta, "config", "network", "c", value=1), "RuntimeError: Error.* in loading state_dict"),
        (lambda meta: altered(meta, "config", "regime", "name", value="both"), "no regime is named 'both'"),
        (
            lambda meta: altered(meta, "config", "data", "name", value="mnist"),
            "DataError: no data set is named 'mnist'",
        ),
    ],
)
def test_a_valid_checkpoint_of_no_trial_is_a_checkpoint_error(change, message, tmp_path) -> None:
    run(trial(), tmp_path / "run")
    saved = checkpoint.latest(tmp_path / "run")
    assert saved is not None
    checkpoint.save(tmp_path / "forged", 10, checkpoint.Checkpoint(saved.arrays, change(dict(saved.meta))))
    with pytest.raises(CheckpointError, match=f"forged holds a checkpoint of no trial: .*{message}"):
        load_network(tmp_path / "forged")
    arrays = {name: array for name, array in saved.arrays.items() if not name.startswith("normalisation/")}
    checkpoint.save(tmp_path / "bare", 10, checkpoint.Checkpoint(arrays, saved.meta))
    with pytest.raises(CheckpointError, match="bare holds a checkpoint of no trial"):
        load_network(tmp_path / "bare")


def test_a_checkpoint_that_nothing_describes_is_damaged(tmp_path, caplog) -> None:
    checkpoint.save(tmp_path, 10, checkpoint.Checkpoint({}, [1]))  # type: ignore[arg-type]
    assert checkpoint.latest(tmp_path) is None
    assert "is damaged (what describes it is a list)" in caplog.text


def test_a_missing_data_root_is_a_data_error(tmp_path) -> None:
    config = trial(data=DataConfig(name="cifar10"))
    with pytest.raises(DataError, match="cifar10 lies in files"):
        train(config)
    with pytest.raises(DataError, match=f"orchestrate data fetch cifar10 --root {tmp_path / 'none'}"):
        train(config, data_root=tmp_path / "none")


def test_digits_are_read_without_a_root() -> None:
    result = train(trial(steps=1))
    assert len(result.errors) == 3


def test_an_unknown_data_set_is_a_data_error() -> None:
    for images in (None, IMAGES):
        with pytest.raises(DataError, match="no data set is named 'mnist'"):
            train(trial(data=DataConfig(name="mnist")), images=images)


def test_images_of_another_data_set_are_a_data_error() -> None:
    with pytest.raises(DataError, match=r"must be uint8 \[N, 3, 32, 32\]"):
        train(trial(data=DataConfig(name="cifar10")), images=IMAGES)


@pytest.mark.parametrize(
    ("name", "message"),
    [("seive", "unknown weights 'seive'"), ("opt(4)", r"opt\(4\): there are only predictions 1 to 3")],
)
def test_weights_that_the_network_cannot_have_are_a_config_error(name, message) -> None:
    with pytest.raises(ConfigError, match=message):
        train(trial(Joint(weights=WeightingConfig(name=name))), images=IMAGES)


def test_more_images_a_batch_than_there_are_is_a_data_error() -> None:
    config = trial(training=TrainingConfig(batch_size=101))
    with pytest.raises(DataError, match="leave 100, fewer than one batch of 101"):
        train(config, images=IMAGES)


def test_nothing_is_saved_where_it_is_forbidden(tmp_path) -> None:
    """And what is there stays."""
    calls = []

    def forbidding() -> None:
        calls.append(state(tmp_path) if calls else None)
        if len(calls) == 3:
            raise KilledError

    with pytest.raises(KilledError):
        train(trial(), checkpoints=Checkpoints(folder=tmp_path, before_save=forbidding), images=IMAGES)
    assert len(calls) == 3
    assert state(tmp_path) == calls[2]
    assert checkpoint.latest_step(tmp_path) == 6


def test_a_checkpoint_is_written_where_it_is_due_and_at_the_end_and_epochs_are_reported_once_it_holds_them(
    tmp_path,
) -> None:
    events: list[object] = []
    answers = iter([False, True, False])

    def due(step: int) -> bool:
        events.append(f"due at {step}, saved {(checkpoint.latest_step(tmp_path / 'run') or 0)}")
        return next(answers)

    def report(metrics: EpochMetrics) -> None:
        events.append(metrics.epoch)
        assert metrics.step <= (checkpoint.latest_step(tmp_path / "run") or 0)

    kept = Checkpoints(
        folder=tmp_path / "run",
        due=due,
        before_save=lambda: events.append("before"),
        after_save=lambda: events.append("after"),
    )
    train(trial(), report, kept, images=IMAGES)
    assert events == [
        *("due at 3, saved 0", "due at 6, saved 0", "before", 1, 2, "after"),
        *("due at 9, saved 6", "before", 3, 4, "after"),
    ]
    assert state(tmp_path / "run") == state_of_whole(tmp_path / "whole")


def state_of_whole(folder: Path) -> dict[str, bytes]:
    run(trial(), folder)
    return state(folder)


def test_each_step_is_told(tmp_path) -> None:
    told = []
    train(trial(), checkpoints=tmp_path, on_step=lambda: told.append(1), images=IMAGES)
    assert len(told) == trial().steps
    train(trial(), checkpoints=tmp_path, on_step=pytest.fail, images=IMAGES)  # is done


def test_a_guard_is_around_what_changes_the_checkpoints_and_can_forbid_it(tmp_path) -> None:
    """Entered twice for each: to put it in its place, and to drop others."""
    before: list[list[Path]] = []

    @contextmanager
    def guard() -> Iterator[None]:
        before.append(sorted(tmp_path.glob("step-*")))
        if len(before) == 5:
            raise KilledError
        yield

    with pytest.raises(KilledError):
        train(trial(), checkpoints=Checkpoints(folder=tmp_path, guard=guard), images=IMAGES)
    assert [len(paths) for paths in before] == [0, 1, 1, 2, 2]
    assert sorted(tmp_path.iterdir()) == before[4]
