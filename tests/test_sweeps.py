"""Every sweep that comes with the project is what its first lines say."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from anytime_core.config import Joint, NoGrad, TrialConfig
from orchestrator.sweep import Sweep, load

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


def test_table_4_has_the_periods_of_the_paper() -> None:
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
