"""Every sweep that comes with the project is what its first lines say."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from anytime_core.config import (
    OURS,
    PARTS,
    STRATEGIES,
    Aann,
    Ann,
    Avgl,
    DataConfig,
    Exp3,
    Joint,
    Milestone,
    NetworkConfig,
    NoGrad,
    Opt,
    Part,
    Rwm,
    TrainingConfig,
    TrialConfig,
    WeightingConfig,
)
from anytime_core.cost import trial_costs
from anytime_core.networks import Feedback, MSDNet
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

SWEEPS = Path(__file__).parents[1] / "sweeps"
TRIALS = {
    "quickstart": 28,
    "table1": 46,
    "table4": 16,
    "table6": 390,
    "table6_authors": 260,
    "eann": 72,
    "figure4": 5,
    "select_gamma": 10,
    "select_exp3": 258,
    "msdnet": 28,
    "feedback": 46,
    "field": 592,
    "field_digits": 82,
    "small_cifar10": 27,
    "decide": 12,
}
ALL = sorted(SWEEPS.glob("*.yaml"))


def sweep(name: str) -> Sweep:
    return load(SWEEPS / f"{name}.yaml")


def configs(name: str) -> list[TrialConfig]:
    return [trial.config for trial in sweep(name).trials]


def ids(name: str) -> set[str]:
    return {trial.id for trial in sweep(name).trials}


def strategies(name: str) -> list[object]:
    return [config.regime.strategy for config in configs(name) if isinstance(config.regime, Joint)]


def test_these_are_all_the_sweeps() -> None:
    assert {path.stem for path in ALL} == TRIALS.keys()


@pytest.mark.parametrize("name", TRIALS)
def test_a_sweep_has_as_many_trials_as_its_first_lines_say(name: str) -> None:
    comment, _, _ = (SWEEPS / f"{name}.yaml").read_text().partition("\n\nname:")
    assert len(sweep(name).trials) == TRIALS[name]
    assert f"{TRIALS[name]} trials" in " ".join(comment.replace("\n#", " ").split())
    assert sweep(name).name == name
    assert sweep(name).description


def test_table_1_has_every_weighting_and_every_depth() -> None:
    cells = Counter((cell.dataset, cell.method) for cell in sweep("table1").cells)
    methods = ["constant", "expb0.5", "expb2", "half_end", "linear", "midfeat", "no_grad", "sieve"]
    assert cells == Counter(
        {(data, method): 1 for data in ("cifar10", "cifar100") for method in methods}
        | {(data, "opt"): 15 for data in ("cifar10", "cifar100")}
    )
    assert {(c.network.n, c.network.c, c.data.validation) for c in configs("table1")} == {(5, 16, 5000)}
    (stages,) = {config.steps for config in configs("table1") if isinstance(config.regime, NoGrad)}
    assert stages == 15 * 64_000


OTHERS = {"quickstart", "table6_authors", "msdnet", "feedback", "field", "field_digits", "small_cifar10", "decide"}
PAPERS = sorted(TRIALS.keys() - OTHERS)


@pytest.mark.parametrize("name", PAPERS)
def test_a_sweep_of_the_paper_trains_as_its_text_says(name) -> None:
    assert {repr(config.training) for config in configs(name)} == {repr(TrainingConfig(precision="bfloat16"))}
    assert {config.network.transition for config in configs(name)} == {"convolution"}
    weights = {config.regime.weights for config in configs(name) if isinstance(config.regime, Joint)}
    others = [WeightingConfig(name=way) for way in ("constant", "expb0.5", "expb2", "half_end", "linear")]
    assert weights == {WeightingConfig(), *(others if name == "table1" else [])}
    for data in {config.data for config in configs(name)}:
        validation = 5000 if name in ("table1", "select_gamma", "select_exp3") else 0
        assert data == DataConfig(name=data.name, validation=validation, pad=4, flip=data.name != "svhn")


@pytest.mark.parametrize("name", sorted({*PAPERS} - {"select_gamma", "select_exp3"}))
def test_strategies_of_the_paper_have_their_defaults(name) -> None:
    assert all(strategy == type(strategy)() for strategy in strategies(name))


MODELS = [
    *((7, 16, 1), (7, 32, 1), (9, 16, 1), (9, 32, 1), (9, 64, 1), (9, 128, 1)),
    *((13, 16, 1), (13, 32, 1), (13, 64, 1), (17, 16, 1), (17, 32, 1), (25, 16, 3), (25, 32, 3)),
]


@pytest.mark.parametrize(("name", "datasets"), [("table6", 3), ("table6_authors", 2)])
def test_table_6_has_the_13_models_of_the_paper(name, datasets) -> None:
    found = Counter((cell.n, cell.c, cell.period) for cell in sweep(name).cells)
    assert found == Counter(dict.fromkeys(MODELS, datasets * (6 + 4)))
    assert {cell.dataset for cell in sweep(name).cells} == {"cifar10", "cifar100", *(["svhn"] if datasets == 3 else [])}
    assert {cell.method for cell in sweep(name).cells} == {kind().name for kind in STRATEGIES.values()} | {"opt"}


def test_the_sequence_has_the_members_of_the_paper() -> None:
    found = {(cell.n, cell.c, cell.period) for cell in sweep("eann").cells}
    assert found == {(1, 32, 1), (3, 32, 1), (7, 32, 1), (13, 32, 1), (25, 32, 3)}
    assert {(cell.n, cell.c, cell.dataset) for cell in sweep("figure4").cells} == {(7, 32, "cifar100")}


IDENTITIES = {
    "eann": "bbbeb97b7e2dc0da",
    "feedback": "386b745c2ce8ae6f",
    "figure4": "326ac609b8bf4c68",
    "msdnet": "4c7926f49217f9e3",
    "quickstart": "5fd17ee3731aa07d",
    "select_exp3": "9f45d65ab739f4d6",
    "select_gamma": "afddf739e77fd5d0",
    "table1": "30795acd4de8eb20",
    "table4": "d4a388b070ea794d",
    "table6": "acb490e55e262553",
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_no_trial_of_a_sweep_has_moved(name) -> None:
    """A hash of all ids. If this fails, all of the sweep would be trained again: see ``config.ADDED``."""
    assert hash_of(ids(name)) == IDENTITIES[name]


def hash_of(trial_ids: set[str]) -> str:
    return hashlib.sha256("\n".join(sorted(trial_ids)).encode()).hexdigest()[:16]


def test_trials_of_the_earlier_quickstart_have_not_moved_either(tmp_path: Path) -> None:
    text = (SWEEPS / "quickstart.yaml").read_text()
    for now, before in (
        ("weights: {name: constant, normalize: none}\n", ""),
        ("steps: 600", "steps: 400"),
        ("{0: 0.014, 480: 0.0014, 540: 0.00014}", "{0: 0.1, 200: 0.01, 300: 0.001}"),
    ):
        assert now in text
        text = text.replace(now, before)
    (tmp_path / "quickstart.yaml").write_text(text)
    assert hash_of({trial.id for trial in load(tmp_path / "quickstart.yaml").trials}) == "210c9bcfeb4fde5f"


def test_table_4_has_the_periods_of_the_paper() -> None:
    assert {(config.network.c, config.data.name) for config in configs("table4")} == {(16, "cifar100")}
    periods = {(config.network.n, config.network.period) for config in configs("table4")}
    expected = {7: [1, 2, 3, 5], 9: [1, 2, 3, 5, 7], 13: [1, 2, 3, 4, 5, 8, 10]}
    assert periods == {(n, period) for n in expected for period in expected[n]}


def test_what_table_6_has_is_not_trained_again_for_others() -> None:
    assert ids("figure4") <= ids("table6")
    new = [trial.config.network.n for trial in sweep("eann").trials if trial.id not in ids("table6")]
    assert Counter(new) == {1: 3 + 9, 3: 3 + 12}


def test_the_selections_are_the_grids_of_the_paper() -> None:
    gammas = [strategy.gamma for strategy in strategies("select_gamma") if strategy.name == "aann"]
    assert sorted(gammas) == sorted([0.25, 0.5, 1, 2] * 2)
    axes = product([0.1, 0.2, 0.3, 0.4], [0.7, 0.8, 0.9, 1.0], [2, 1, 0.5, 0.25])
    expected = Counter(dict.fromkeys(axes, 2))
    for learner in ("exp3", "rwm"):
        found = [s for s in strategies("select_exp3") if s.name == learner]
        assert Counter((s.exploration, s.final_reward, s.gamma) for s in found) == expected
    assert {config.data.validation for config in configs("select_exp3")} == {5000}


def test_the_authors_schedule_is_300_epochs_of_390_steps() -> None:
    (training,) = {repr(config.training): config.training for config in configs("table6_authors")}.values()
    assert training.steps == 300 * 390
    assert [training.rate_at(390 * epoch) for epoch in (0, 1, 81, 82, 122, 123, 249, 250, 299)] == [
        *(0.01, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.0002, 0.0002)
    ]


def test_the_authors_code_is_told_by_its_options() -> None:
    found = configs("table6_authors")
    assert {(c.training.head_decay, c.training.weight_decay, c.training.batch_size) for c in found} == {
        ("loss_weight", 2e-4, 128)
    }
    assert {config.network.transition for config in found} == {"pooling"}
    assert {config.data for config in found} == {DataConfig(name=name, flip=True) for name in ("cifar10", "cifar100")}
    joint = [config.regime for config in found if isinstance(config.regime, Joint)]
    assert {regime.weights for regime in joint} == {WeightingConfig(normalize="as_published")}
    assert {regime.strategy for regime in joint} == {
        Ann(),
        Aann(warm_up_epochs=1),
        Milestone(warm_up_epochs=1),
        Exp3(warm_up_epochs=1, mixing=0.001),
        Rwm(warm_up_epochs=1, mixing=0.001),
        Avgl(warm_up_epochs=1),
    }
    assert all(isinstance(config.regime, Joint | Opt) for config in found)
    assert 25 * (604_388 // 128) == 118_025  # what the file says of SVHN


def test_msdnet_is_trained_as_its_authors_train_it() -> None:
    found = configs("msdnet")
    assert {config.network for config in found} == {MSDNet(), MSDNet(blocks=5, base=1, step=1, spacing="linear")}
    (training,) = {repr(config.training): config.training for config in found}.values()
    epoch = 50_000 // training.batch_size
    assert (training.steps, training.batch_size, training.weight_decay) == (300 * epoch, 64, 1e-4)
    rates = [training.rate_at(epoch * begun - offset) for begun in (150, 225) for offset in (1, 0)]
    assert rates == [0.1, 0.01, 0.01, 0.001]
    joint = {(config.regime.weights, config.regime.strategy) for config in found if isinstance(config.regime, Joint)}
    constant = WeightingConfig(name="constant", normalize="none")
    assert joint == {(constant, Ann()), (WeightingConfig(), Ann()), (WeightingConfig(), Aann())}


def test_feedback_networks_cost_a_little_less_than_the_resnets_beside_them_which_table_6_has() -> None:
    resnets = {trial.id for trial in sweep("feedback").trials if isinstance(trial.config.network, NetworkConfig)}
    assert resnets <= ids("table6")
    costs = {
        c.network: trial_costs(c)[-1] for c in configs("feedback") if c.data.name == "cifar10" and c.regime == Joint()
    }
    pairs = [(Feedback(iterations=1), NetworkConfig(n=9, c=16)), (Feedback(iterations=2), NetworkConfig(n=17, c=16))]
    assert costs.keys() == {network for pair in pairs for network in pair}
    assert all(0.85 < costs[feedback] / costs[resnet] < 1 for feedback, resnet in pairs)


@pytest.mark.parametrize("name", ["field", "field_digits"])
def test_every_tuned_method_of_the_field_has_four_points_at_each_place(name) -> None:
    found = sweep(name)
    places = {(cell.network, cell.dataset) for cell in found.cells}
    assert {(len(one.points), len(one.trials)) for one in found.tuning} == {(4, 4)}
    assert len(found.tuning) == len({one.method for one in found.tuning}) * len(places)


def test_the_field_has_all_our_ways_of_training_on_both_networks() -> None:
    cells, digits = sweep("field").cells, sweep("field_digits").cells
    by_place = Counter((cell.network, cell.dataset) for cell in cells)
    assert by_place == Counter(dict.fromkeys(product(["(7,16)", "msdnet 7"], ["cifar10", "cifar100"]), 20 * 5))
    assert {cell.method for cell in digits} < {cell.method for cell in cells}
    parts = [getattr(config.regime, kind, None) for config in configs("field") for kind in PARTS]
    used = {(part.kind, part.name) for part in parts if isinstance(part, Part)}
    of_training = {(kind, name) for kind in ("weights", "strategy", "objective", "flow") for name in OURS[kind]}
    assert of_training <= used
