"""Each method in training: same bits after each kill and as a graph replays it, nothing read from the device; what each
is in a limit; and what a sweep file may say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from emulated_graph import EmulatedGraph
from gradients import gradients
from killed import IMAGES, killed, state
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn.functional import cross_entropy
from trials import digits_trial

from anytime_core import methods
from anytime_core.config import OURS, Joint, Part, TrialConfig, WeightingConfig, from_dict, our_parts, to_dict
from anytime_core.extend import Answers, GradientFlow, Regime
from anytime_core.methods import AdaLoss, Boosting, BoostingAnswers, Equilibrium, Famo, Mixed, SdnRamp, Uncertainty
from anytime_core.model import graphs
from anytime_core.predictor import AnytimePredictor
from anytime_core.trained import load_network
from anytime_core.training import trainer
from anytime_core.training.objective import TrainingObjective
from anytime_core.training.selection import Selection
from anytime_core.training.trainer import build_run, train
from orchestrator.sweepfile.load import load

ALL: list[type[Part]] = [getattr(methods, name) for name in methods.__all__]
CPU = torch.device("cpu")
ONES = WeightingConfig(name="constant", normalize="none")


def made(kind: type[Part]) -> Part:
    return AdaLoss(every=2) if kind is AdaLoss else kind()


def trial(part: Part, **changes: Any) -> TrialConfig:
    """Three steps an epoch, three epochs and one step."""
    return digits_trial(part if isinstance(part, Regime) else Joint(**{part.kind: part}), **changes)


def network_of(folder: Path) -> dict[str, bytes]:
    return {name: value for name, value in state(folder).items() if name.startswith("network/")}


@pytest.mark.parametrize("kind", ALL)
def test_a_run_killed_after_every_epoch_gives_the_same_bits(kind: type[Part], tmp_path: Path) -> None:
    config = trial(made(kind))
    whole = train(config, checkpoints=tmp_path / "whole", images=IMAGES)
    killed(tmp_path / "killed", config)
    assert state(tmp_path / "killed") == state(tmp_path / "whole")
    assert train(config, checkpoints=tmp_path / "killed", images=IMAGES).errors == whole.errors


@pytest.mark.parametrize("kind", ALL)
def test_a_method_trains_otherwise_than_ann(kind: type[Part], tmp_path: Path) -> None:
    for place, config in (("with", trial(made(kind))), ("without", digits_trial(Joint()))):
        train(config, checkpoints=tmp_path / place, images=IMAGES)
    alike = network_of(tmp_path / "with") == network_of(tmp_path / "without")
    assert alike == issubclass(kind, Answers)  # which change no training


@pytest.mark.parametrize("kind", ALL)
def test_calls_made_again_as_a_graph_makes_them_give_the_same_bits(
    kind: type[Part], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "Graph", EmulatedGraph)
    monkeypatch.setattr(trainer, "mode_on", lambda device, mode: mode)
    for mode in ("eager", "graph"):
        train(trial(made(kind)), checkpoints=tmp_path / mode, images=IMAGES, mode=mode)
    assert state(tmp_path / "graph") == state(tmp_path / "eager")


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind.kind in ("strategy", "objective", "answers")])
def test_nothing_is_read_from_the_device(kind: type[Part]) -> None:
    part = made(kind)
    with FakeTensorMode():
        own = {name: part if part.kind == name else None for name in ("objective", "answers")}
        objective = TrainingObjective(3, CPU, own["objective"], own["answers"])
        logits, labels = torch.rand(3, 4, 10), torch.zeros(4, dtype=torch.int64)
        losses, differentiated = objective(logits, labels)
        objective.learn(logits, labels)
        assert objective.answers(logits).shape == logits.shape
        if part.kind == "strategy":
            selection = Selection(part, torch.rand(3))
            selection.begin(1)
            assert selection.choose(torch.rand(()), torch.rand(3)).shape == (3,)
            selection.learn(losses, torch.rand(1))
        with pytest.raises(DataDependentOutputException):
            differentiated.sum().item()


@pytest.mark.parametrize("kind", ALL)
def test_a_config_is_read_as_it_was_written_and_imports_no_torch_for_it(kind: type[Part]) -> None:
    config = trial(made(kind))
    assert from_dict(to_dict(config)) == config
    assert our_parts(kind.kind)[kind.name] is kind
    assert OURS[kind.kind][kind.name].source == "1"


# Limits


def test_the_gradient_of_an_equilibrium_is_the_mean_of_those_behind() -> None:
    """By autograd, a loss at a time; heads have their own, whole."""
    runs = [build_run(config, IMAGES, "cpu") for config in (trial(Equilibrium()), digits_trial(Joint()))]
    images = runs[0].train_data.normalise(torch.tensor(IMAGES.train_images[:8])).double()
    labels = torch.tensor(IMAGES.train_labels[:8])
    flowing, plain = (run.network.double().eval() for run in runs)

    together = gradients(flowing, images, labels, [0, 1, 2])
    alone = [gradients(plain, images, labels, [index]) for index in range(3)]
    for index, unit in enumerate(flowing.predicting_units):
        for name in flowing.head_parameters(unit):
            assert torch.allclose(together[name], alone[index][name], rtol=0, atol=1e-10)
        for name in flowing.unit_parameters(unit):
            mean = sum(one[name] for one in alone[index:]) / (3 - index)
            assert torch.allclose(together[name], mean, rtol=0, atol=1e-10), name


def test_mixed_trains_the_last_prediction_first_and_as_long_in_all_as_joint_training() -> None:
    config = trial(Mixed(share=0.25), steps=12, rates={0: 0.1, 6: 0.01})
    assert (config.phase_steps, config.steps) == ((3, 9), 12)
    run, seen = build_run(config, IMAGES, "cpu"), []
    while not run.ended:
        metrics = run.epoch()
        seen.append((metrics.step, run.phase.weights, metrics.learning_rate))
    thirds = pytest.approx((1 / 3,) * 3)
    assert seen == [(3, (0.0, 0.0, 1.0), 0.01), (6, thirds, 0.1), (9, thirds, 0.01), (12, thirds, 0.01)]


def test_mixed_with_no_share_is_joint_training_and_with_all_of_it_trains_the_last_alone(tmp_path: Path) -> None:
    constant = WeightingConfig(name="constant")
    for place, config in (("none", trial(Mixed(share=0))), ("joint", digits_trial(Joint(weights=constant)))):
        train(config, checkpoints=tmp_path / place, images=IMAGES)
    assert network_of(tmp_path / "none") == network_of(tmp_path / "joint")
    run = build_run(trial(Mixed(share=1.0)), IMAGES, "cpu")
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    while not run.ended:
        run.epoch()
    still = {name for name, value in run.network.named_parameters() if torch.equal(value, before[name])}
    assert still == frozenset().union(*(run.network.head_parameters(unit) for unit in (1, 2)))


def test_weights_are_to_the_scale_of_the_base_weights() -> None:
    """So sums of weights are set in one place, whatever the method."""
    for part in (AdaLoss(), Uncertainty(), methods.RandomWeights(), methods.Averaging()):
        given = []
        for scale in (1.0, 0.25):
            selection = Selection(part, scale * torch.ones(3))
            given.append(selection.choose(torch.tensor(0.5), torch.tensor([0.1, -1.0, 2.0])))
        assert torch.allclose(given[1], 0.25 * given[0])


def test_weights_of_the_ramp_change_with_each_epoch() -> None:
    run = build_run(trial(SdnRamp(normalize="none"), steps=12), IMAGES, "cpu")
    run.epoch()
    run.begin_epoch()
    costs = [cost / run.costs[-1] for cost in run.costs]
    assert run.selection.base.tolist() == pytest.approx([*(min(c, 0.01 + 0.25 * c) for c in costs[:-1]), 1.0])


def test_what_is_answered_is_what_boosting_trains(tmp_path: Path) -> None:
    """Interrupted anywhere, the predictor answers as the evaluation does."""
    regime = Joint(objective=Boosting(), answers=BoostingAnswers(), flow=Equilibrium(), weights=ONES)
    train(digits_trial(regime), checkpoints=tmp_path, images=IMAGES)
    network = load_network(tmp_path)
    pixels = torch.tensor(IMAGES.test_images[:5])
    whole = network(pixels).softmax(2)
    for prediction in AnytimePredictor(network).refine(IMAGES.test_images[:5], brightest=16):
        assert torch.allclose(prediction.probabilities, whole[prediction.index], atol=1e-6)
    torch.testing.assert_close(Famo().losses({**_famo(), "steps": torch.tensor(0.0)}, *_batch()), _first_famo())


def _famo() -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in Famo().start(3).items()}


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 10, generator=draws), torch.randint(10, (4,), generator=draws)


def _first_famo() -> torch.Tensor:
    """All losses weigh alike in ln l at first."""
    losses = torch.stack([cross_entropy(own, _batch()[1]) for own in _batch()[0]]) + 1e-8
    third = torch.full((3,), 1 / 3)
    return 3 * third * losses.log() / (third / losses).sum()


# In a sweep file

TEXT = """
name: field
networks: [{n: 1, c: 2}, {name: msdnet, blocks: 2}]
datasets: [digits]
methods:
  ann: {}
  adaloss: {strategy: adaloss, weights: constant, grid: {momentum: [0.9, 0.99]}}
  rlw: {strategy: rlw}
  dwa: {strategy: {name: dwa, temperature: 1.5}}
  uncertainty: {strategy: uncertainty}
  sdn: {weights: sdn_ramp}
  louder: {strategy: {name: heavier, factor: 1.5}}
  imta: {objective: imta, flow: equilibrium, weights: {name: constant, normalize: none}}
  later: {objective: {name: distillation, teacher: later, published_scale: true}}
  boostnet: {objective: boosting, answers: boosting, flow: equilibrium, weights: {name: constant, normalize: none}}
  famo: {objective: famo}
  mixed: {regime: mixed, share: 0.25}
  product: {answers: product}
training: {steps: 8, batch_size: 32, learning_rate: {0: 0.1}}
"""


def test_a_sweep_file_names_them(tmp_path: Path) -> None:
    path = tmp_path / "field.yaml"
    path.write_text(TEXT)
    sweep = load(path)
    by_method = {cell.method: trial for cell in sweep.cells for trial in sweep.trials if trial.id == sweep.cells[cell]}
    assert by_method["adaloss momentum=0.99"].config.regime.strategy == AdaLoss(momentum=0.99)
    assert by_method["mixed"].config.regime == Mixed(share=0.25)
    assert by_method["mixed"].config.steps == 8
    assert len({trial.id for trial in sweep.trials}) == len(sweep.trials) == 2 * 14


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("{strategy: {name: adaloss, floor: 2}}", "floor is 2"),
        ("{strategy: {name: adaloss, every: 0}}", "every is 0, must be at least 1"),
        ("{objective: {name: distillation, teacher: first}}", "teacher"),
        ("{regime: mixed, share: 1.5}", "share is 1.5, must be between 0 and 1"),
        ("{regime: mixed, share: 0.01}", "its phases have [0, 8] steps, must be 2 whole numbers above 0"),
        ("{strategy: adalos}", "adaloss"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, method: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(TEXT.replace("ann: {}", f"ann: {{}}\n  wrong: {method}"))
    with pytest.raises(Exception, match="wrong") as error:
        load(path)
    assert message in str(error.value)


def test_parts_of_other_kinds_are_no_answers() -> None:
    with pytest.raises(ValueError, match="answers is equilibrium, which is for flow"):
        replace(Joint(), answers=Equilibrium())
    assert isinstance(Equilibrium(), GradientFlow)
