"""The paper's grids come out whole, and what is the same to train is one trial."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from anytime_core.config import Joint, Opt
from orchestrator.errors import SweepError
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

SWEEPS = Path(__file__).parents[3] / "sweeps"

# Of Table 6: n, c, and a prediction at every unit but for the deepest.
NETWORKS = {
    *((7, c, 1) for c in (16, 32)),
    *((9, c, 1) for c in (16, 32, 64, 128)),
    *((13, c, 1) for c in (16, 32, 64)),
    *((17, c, 1) for c in (16, 32)),
    *((25, c, 3) for c in (16, 32)),
}
DATASETS = {"cifar10", "cifar100", "svhn"}
STRATEGIES = {"ann", "aann", "milestone", "exp3", "rwm", "avgl"}
OPT_UNITS = {7: {5, 11, 16, 21}, 9: {7, 14, 20, 27}, 13: {10, 20, 29, 39}, 17: {13, 26, 38, 51}, 25: {19, 38, 56, 75}}


@pytest.fixture(scope="module")
def table6() -> Sweep:
    return load(SWEEPS / "table6.yaml")


# The paper's Table 6


def test_table_6_is_390_distinct_trials(table6) -> None:
    assert len(table6.trials) == len({trial.id for trial in table6.trials}) == len(table6.cells) == 390
    assert Counter(type(trial.config.regime) for trial in table6.trials) == {Joint: 234, Opt: 156}


def test_table_6_is_every_strategy_and_four_optima_on_every_network_and_data_set(table6) -> None:
    joint = {(*network, data, method, None) for network, data, method in product(NETWORKS, DATASETS, STRATEGIES)}
    optima = {
        (*network, data, "opt", unit) for network, data in product(NETWORKS, DATASETS) for unit in OPT_UNITS[network[0]]
    }
    assert len(joint) == 234
    assert len(optima) == 156
    cells = {(cell.n, cell.c, cell.period, cell.dataset, cell.method, cell.unit) for cell in table6.cells}
    assert cells == joint | optima


def test_what_is_trained_is_what_its_cell_says(table6) -> None:
    for trial in table6.trials:
        cell, config = trial.cell, trial.config
        assert table6.cells[cell] == trial.id
        assert (config.data.name, config.network.n, config.network.c, config.seed) == (cell.dataset, cell.n, cell.c, 0)
        if isinstance(config.regime, Joint):
            assert (config.network.period, config.regime.strategy.name) == (cell.period, cell.method)
            assert config.regime.weights.name == "sieve"
        else:
            assert config.regime.unit == cell.unit
        assert config.training.steps == 64_000
        assert config.training.learning_rate == {0: 0.1, 32_000: 0.01, 48_000: 0.001}


def test_only_the_deepest_networks_predict_at_every_third_unit(table6) -> None:
    assert {(cell.n, cell.period) for cell in table6.cells} == {(7, 1), (9, 1), (13, 1), (17, 1), (25, 3)}


def test_digits_of_house_numbers_are_never_mirrored(table6) -> None:
    flips = {(trial.config.data.name, trial.config.data.flip) for trial in table6.trials}
    assert flips == {("cifar10", True), ("cifar100", True), ("svhn", False)}
    assert {trial.config.data.pad for trial in table6.trials} == {4}


def test_the_strategies_of_table_6_have_the_papers_constants(table6) -> None:
    found = {trial.config.regime.strategy for trial in table6.trials if isinstance(trial.config.regime, Joint)}
    constants = {
        strategy.name: {name: getattr(strategy, name) for name in strategy.__dataclass_fields__ if name != "name"}
        for strategy in found
    }
    drawn = {"gamma": 0.5, "warm_up_epochs": 0}
    learner = drawn | {"exploration": 0.3, "final_reward": 0.8}
    assert constants == {
        "ann": {},
        "aann": drawn,
        "milestone": drawn,
        "exp3": learner | {"mixing": 0.0},
        "rwm": learner | {"rate": 0.5, "mixing": 0.0},
        "avgl": learner | {"momentum": 0.9},
    }


# The quickstart


def test_the_quickstart_is_28_trials() -> None:
    sweep = load(SWEEPS / "quickstart.yaml")
    assert len(sweep.trials) == len(sweep.cells) == 28
    assert Counter(cell.method for cell in sweep.cells) == {"ann": 4, "aann": 4, "exp3": 4, "opt": 16}
    assert {cell.unit for cell in sweep.cells if cell.n == 2} == {None, 2, 3, 5, 6}
    assert {cell.unit for cell in sweep.cells if cell.n == 3} == {None, 2, 5, 7, 9}


# Two places, one trial


def sweep_of(networks: str, methods: str, seeds: str = "[0]") -> str:
    return f"name: a\nnetworks: {networks}\ndatasets: [digits]\nmethods: {methods}\nseeds: {seeds}\n" + (
        "training: {batch_size: 64}\nreport: {baseline: ann}\n"
    )


def test_optima_of_networks_that_differ_in_the_period_alone_are_trained_once(load_text) -> None:
    sweep = load_text(
        sweep_of(
            "[{n: 4, c: 8}, {n: 4, c: 8, period: 2}, {n: 4, c: 16}]", "{ann: {}, opt: {regime: opt, at: [1/2, 1]}}"
        )
    )
    optima = {cell: trial for cell, trial in sweep.cells.items() if cell.unit is not None}
    assert len(optima) == 6
    assert len(set(optima.values())) == 4
    for unit in (6, 12):
        at = {(cell.c, cell.period): trial for cell, trial in optima.items() if cell.unit == unit}
        assert at[8, 1] == at[8, 2] != at[16, 1]
    joint = {trial for cell, trial in sweep.cells.items() if cell.unit is None}
    assert len(joint) == 3  # of these the period changes the training
    assert len(sweep.trials) == 7


def test_an_optimum_that_stands_for_two_fractions_is_trained_once(load_text) -> None:
    """Units 1, 2, 2 and 3 stand for the quarters of n = 1."""
    sweep = load_text(sweep_of("[{n: 1, c: 8}]", "{ann: {}, opt: {regime: opt}}"))
    assert sorted(cell.unit for cell in sweep.cells if cell.unit) == [1, 2, 3]


def test_methods_that_are_the_same_to_train_share_trials_but_not_cells(load_text) -> None:
    sweep = load_text(sweep_of("[{n: 2, c: 8}]", "{ann: {}, plain: {strategy: ann}, aann: {strategy: aann}}"))
    by_method = {cell.method: trial for cell, trial in sweep.cells.items()}
    assert by_method["ann"] == by_method["plain"] != by_method["aann"]
    assert len(sweep.trials) == 2


def test_a_larger_grid_keeps_the_trials_of_the_smaller(load_text) -> None:
    small = load_text(sweep_of("[{n: 2, c: 8}]", "{ann: {}}", "[0, 1]"))
    large = load_text(sweep_of("[{n: 3, c: 8}, {n: 2, c: 8}]", "{aann: {strategy: aann}, ann: {}}", "[2, 1, 0]"))
    assert {trial.id for trial in small.trials} < {trial.id for trial in large.trials}
    assert len(large.trials) == 12


def test_a_rate_that_is_never_reached_is_noted(load_text) -> None:
    text = "name: a\nnetworks: [{n: 1, c: 4}]\ndatasets: [digits]\nmethods: {ann: {}}\ntraining: {steps: 100%s}\n"
    assert load_text(text % "").notes == ("learning_rate changes at step 32000, 48000, which 100 steps never reach",)
    assert load_text(text % ", learning_rate: {0: 0.1, 50: 0.01}").notes == ()


GRIDDED = """
name: gridded
networks: [{n: 1, c: 4}]
datasets: [digits]
methods: {ann: {}, exp3: {strategy: exp3, grid: {gamma: [0.25, 1]}}}
training: {batch_size: 64}
"""


def test_a_baseline_with_a_grid_must_be_one_of_its_points(load_text) -> None:
    assert load_text(GRIDDED + "report: {baseline: exp3 gamma=1}\n").report.baseline == "exp3 gamma=1"
    with pytest.raises(
        SweepError, match=r"given 'exp3'; must be one of the methods: ann, exp3 gamma=0.25, exp3 gamma=1"
    ):
        load_text(GRIDDED + "report: {baseline: exp3}\n")


def test_what_is_kept_moves_no_id(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    text = "name: small\nnetworks: [{n: 1, c: 2}]\ndatasets: [digits]\nmethods: {ann: {}}\n"
    path.write_text(text)
    (plain,) = load(path).trials
    path.write_text(f"{text}keep: {{outcomes: false}}\n")
    (without,) = load(path).trials
    assert (plain.id, plain.keep.outcomes, without.keep.outcomes) == (without.id, True, False)
    path.write_text(f"{text}keep: {{outcome: false}}\n")
    with pytest.raises(SweepError, match=r"line 5: keep.outcome: unknown key; allowed: outcomes \(did you mean"):
        load(path)
