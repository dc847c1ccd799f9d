"""Configs: impossible ones are refused with every fault, possible ones survive JSON to the same identity."""

from __future__ import annotations

import json
import math
import re
from dataclasses import FrozenInstanceError, asdict, fields, replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytime_core.config import (
    ADDED,
    MILESTONES,
    REGIMES,
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
    OwnData,
    Rwm,
    TrainingConfig,
    TrialConfig,
    WeightingConfig,
    from_dict,
    opt_unit,
    to_dict,
)


def trial(**changes: Any) -> TrialConfig:
    values = {"network": NetworkConfig(n=2, c=4), "data": DataConfig(name="digits")}
    return TrialConfig(**values | changes)


# Opt units


@pytest.mark.parametrize(
    ("n", "units"), [(7, [5, 11, 16, 21]), (9, [7, 14, 20, 27]), (25, [19, 38, 56, 75]), (1, [1, 2, 2, 3])]
)
def test_optima_are_trained_at_the_units_nearest_to_the_milestones(n, units) -> None:
    assert [opt_unit(n, fraction) for fraction in MILESTONES] == units


@pytest.mark.parametrize("n", range(1, 30))
def test_opt_units_round_halves_up(n) -> None:
    for quarters in range(1, 5):
        # floor(3n q/4 + 1/2), in whole numbers only
        assert opt_unit(n, Fraction(quarters, 4)) == (2 * 3 * n * quarters + 4) // 8


# Predicting units


@pytest.mark.parametrize(
    ("n", "period", "units"),
    [
        (2, 1, (1, 2, 3, 4, 5, 6)),
        (2, 4, (2, 6)),
        (2, 6, (6,)),
        (3, 2, (1, 3, 5, 7, 9)),
        (25, 3, tuple(range(3, 76, 3))),
    ],
)
def test_predictions_are_counted_back_from_the_last_unit(n, period, units) -> None:
    network = NetworkConfig(n=n, c=1, period=period)
    assert network.predicting_units == units
    assert trial(network=network).predicting_units == units


def test_an_optimum_predicts_from_its_unit_only() -> None:
    assert trial(regime=Opt(unit=5)).predicting_units == (5,)


# Learning rates


def test_the_rate_holds_from_its_step_on() -> None:
    training = TrainingConfig()
    steps = [0, 31_999, 32_000, 47_999, 48_000, 63_999]
    assert [training.rate_at(step) for step in steps] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_rates_are_the_same_whatever_their_order_and_spelling() -> None:
    first = TrainingConfig(learning_rate={0: 1, 10: 0.5})
    second = TrainingConfig(learning_rate={"10": 0.5, "0": 1.0})  # type: ignore[dict-item]
    assert first == second
    assert json.dumps(to_dict(trial(training=first))) == json.dumps(to_dict(trial(training=second)))
    assert first.rate_at(9) == second.rate_at(9) == 1


def test_rates_are_no_longer_the_callers_own() -> None:
    rates = {0: 0.1}
    training = TrainingConfig(learning_rate=rates)
    rates[0] = 5.0
    assert training.rate_at(0) == 0.1


# Identity


CONFIGS = [
    trial(),
    trial().network,
    trial().data,
    trial().training,
    Joint(),
    Opt(unit=1),
    WeightingConfig(),
    *(kind() for kind in STRATEGIES.values()),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_configs_are_frozen(config) -> None:
    for field in fields(config):
        with pytest.raises(FrozenInstanceError):
            setattr(config, field.name, getattr(config, field.name))
    with pytest.raises((AttributeError, TypeError)):
        config.unheard_of = 1


def test_equal_configs_have_one_hash() -> None:
    assert len({trial(), trial(), trial(seed=1), trial(training=TrainingConfig(learning_rate={0: 1.0}))}) == 3


@pytest.mark.parametrize("kind", [kind for kind in STRATEGIES.values() if kind is not Ann])
def test_whole_numbers_are_the_same_as_floats(kind) -> None:
    assert json.dumps(to_dict(trial(regime=Joint(strategy=kind(gamma=1))))) == json.dumps(
        to_dict(trial(regime=Joint(strategy=kind(gamma=1.0))))
    )


# JSON


def positive(most: float) -> st.SearchStrategy[float]:
    return st.floats(0, most)


DRAWS = {"warm_up_epochs": st.integers(0, 9)}
"""Of fields that cannot have every number from 0 to 1."""
NO_GRAD = st.builds(NoGrad, variant=st.sampled_from(["stages", "stop_gradient"]))
STRATEGY = st.one_of(
    st.builds(
        kind, **{field.name: DRAWS.get(field.name, positive(1)) for field in fields(kind) if field.name != "name"}
    )
    for kind in STRATEGIES.values()
)
JOINT = st.builds(
    Joint,
    weights=st.builds(
        WeightingConfig,
        name=st.sampled_from(["sieve", "constant", "opt(3)"]),
        normalize=st.sampled_from(["sum_to_one", "as_published", "none"]),
    ),
    strategy=STRATEGY,
)
TRAINING = st.builds(
    TrainingConfig,
    steps=st.integers(1, 10**6),
    batch_size=st.integers(2, 1024),
    learning_rate=st.dictionaries(st.integers(0, 10**6), positive(10)).map(lambda rates: {0: 0.1, **rates}),
    momentum=positive(1),
    weight_decay=positive(1),
    head_decay=st.sampled_from(["uniform", "loss_weight"]),
    precision=st.sampled_from(["float32", "bfloat16"]),
    compiled=st.booleans(),
    evaluations=st.none() | st.integers(1, 1000),
)


COUNT = st.integers(1, 10**9)
OWN = st.builds(
    OwnData,
    content=st.text(min_size=1),
    class_names=st.lists(st.text(), min_size=2, max_size=9).map(tuple),
    **dict.fromkeys(("channels", "size", "train_images", "test_images", "validation_images"), COUNT),
)


@st.composite
def trials(draw: st.DrawFn) -> TrialConfig:
    n = draw(st.integers(1, 30))
    return TrialConfig(
        network=NetworkConfig(n=n, c=draw(st.integers(1, 256)), period=draw(st.integers(1, 3 * n))),
        data=DataConfig(
            name=draw(st.text()),
            validation=draw(st.integers(0)),
            pad=draw(st.integers(0)),
            flip=draw(st.booleans()),
            brightness=draw(positive(255)),
            contrast=draw(positive(1)),
            own=draw(st.none() | OWN),
        ),
        regime=draw(st.one_of(JOINT, st.builds(Opt, unit=st.integers(1, 3 * n)), st.just(Midfeat()), NO_GRAD)),
        training=draw(TRAINING),
        seed=draw(st.integers(0)),
    )


@given(trials())
@settings(max_examples=200)
def test_every_config_survives_json(config) -> None:
    text = json.dumps(to_dict(config), allow_nan=False)
    again = from_dict(json.loads(text))
    assert again == config
    assert json.dumps(to_dict(again)) == text
    assert [type(again.regime), type(again.training.learning_rate)] == [type(config.regime), dict]


def test_unknown_names_are_refused_with_all_that_are_allowed() -> None:
    values = to_dict(trial())
    with pytest.raises(
        ValueError, match="no strategy is named 'bandit', must be one of ann, aann, milestone, exp3, rwm"
    ):
        from_dict(values | {"regime": values["regime"] | {"strategy": {"name": "bandit"}}})
    with pytest.raises(ValueError, match="no regime is named 'both', must be one of joint, opt"):
        from_dict(values | {"regime": {"name": "both"}})


# Faults


@pytest.mark.parametrize(
    ("make", "faults"),
    [
        (
            lambda: NetworkConfig(n=0, c=-1, period=0),
            ["n is 0, must be at least 1", "c is -1, must be at least 1", "period is 0, must be at least 1"],
        ),
        (
            lambda: NetworkConfig(n=2, c=0, period=7),
            ["c is 0, must be at least 1", "period is 7, must be at most 3n = 6"],
        ),
        (
            lambda: NetworkConfig(n=2.5, c="16", period=True),  # type: ignore[arg-type]
            ["n is 2.5, must be a whole number", "c is '16', must be a", "period is True, must be a whole number"],
        ),
        (
            lambda: DataConfig(name="digits", validation=-1, pad=-2, brightness=256, contrast=1.5),
            [
                *("validation is -1, must be at least 0", "pad is -2, must be at least 0"),
                *("brightness is 256, must be between 0 and 255", "contrast is 1.5, must be between 0 and 1"),
            ],
        ),
        (
            lambda: WeightingConfig(normalize="sum"),  # type: ignore[arg-type]
            ["normalize is 'sum', must be one of ('sum_to_one', 'as_published', 'none')"],
        ),
        (lambda: Aann(gamma=-0.1), ["gamma is -0.1, must be at least 0"]),
        (
            lambda: Aann(gamma=-0.1, warm_up_epochs=-1),
            ["gamma is -0.1, must be at least 0", "warm_up_epochs is -1, must be at least 0"],
        ),
        (lambda: Milestone(warm_up_epochs=1.0), ["warm_up_epochs is 1.0, must be a whole number"]),  # type: ignore[arg-type]
        (lambda: Exp3(mixing=1.5), ["mixing is 1.5, must be between 0 and 1"]),
        (
            lambda: TrainingConfig(head_decay="none"),  # type: ignore[arg-type]
            ["head_decay is 'none', must be one of ('uniform', 'loss_weight')"],
        ),
        (
            lambda: TrainingConfig(precision="float16"),  # type: ignore[arg-type]
            ["precision is 'float16', must be one of ('float32', 'bfloat16')"],
        ),
        (
            lambda: TrainingConfig(compiled="no"),  # type: ignore[arg-type]
            ["compiled is 'no', must be true or false"],
        ),
        (lambda: Milestone(gamma=math.inf), ["gamma is inf, must be a finite number"]),
        (
            lambda: Exp3(gamma=math.nan, exploration=1.5, final_reward=-1),
            [
                "gamma is nan, must be a finite number",
                "exploration is 1.5, must be between 0 and 1",
                "final_reward is -1, must be at least 0",
            ],
        ),
        (
            lambda: Rwm(gamma=-1, exploration=-1, final_reward=-1, rate=-1),
            ["gamma is -1", "exploration is -1", "final_reward is -1", "rate is -1, must be at least 0"],
        ),
        (
            lambda: Avgl(gamma="1", momentum=1.1),  # type: ignore[arg-type]
            ["gamma is '1', must be a finite number", "momentum is 1.1, must be between 0 and 1"],
        ),
        (lambda: Opt(unit=0), ["unit is 0, must be at least 1"]),
        (lambda: NoGrad(variant="greedy"), ["variant is 'greedy', must be one of ('stages', 'stop_gradient')"]),
        (
            lambda: TrainingConfig(
                steps=0, batch_size=1, learning_rate={5: -0.1, -3: 0.1}, momentum=2, weight_decay=math.inf
            ),
            [
                "steps is 0, must be at least 1",
                "batch_size is 1, must be at least 2",
                "a step of learning_rate is -3, must be at least 0",
                "learning_rate must give the rate at step 0",
                "learning_rate at step 5 is -0.1, must be at least 0",
                "momentum is 2, must be between 0 and 1",
                "weight_decay is inf, must be a finite number",
            ],
        ),
        (
            lambda: TrainingConfig(learning_rate={"soon": 0.1, 1.5: 0.1}),  # type: ignore[dict-item]
            ["a step of learning_rate is 'soon', must be a whole", "a step of learning_rate is 1.5", "at step 0"],
        ),
        (lambda: TrainingConfig(learning_rate={}), ["learning_rate must give the rate at step 0"]),
        (
            lambda: trial(regime=Opt(unit=7), seed=-1),
            ["regime.unit is 7, must be at most 3n = 6", "seed is -1, must be at least 0"],
        ),
    ],
)
def test_impossible_values_are_refused_with_every_fault(make, faults) -> None:
    with pytest.raises(ValueError, match=r"must") as caught:
        make()
    listed = str(caught.value).split("; ")
    assert len(listed) == len(faults)
    for fault in faults:
        assert any(fault in text for text in listed), fault


def test_a_changed_copy_is_checked_too() -> None:
    with pytest.raises(ValueError, match=r"regime.unit is 6, must be at most 3n = 3"):
        replace(trial(regime=Opt(unit=6)), network=NetworkConfig(n=1, c=4))


# Defaults

DRAWN = {"gamma": 0.5, "warm_up_epochs": 0}
LEARNER = DRAWN | {"exploration": 0.3, "final_reward": 0.8}
DEFAULTS: dict[type, dict[str, object]] = {
    Ann: {"name": "ann"},
    Aann: {"name": "aann", **DRAWN},
    Milestone: {"name": "milestone", **DRAWN},
    Exp3: {"name": "exp3", "mixing": 0.0, **LEARNER},
    Rwm: {"name": "rwm", "mixing": 0.0, "rate": 0.5, **LEARNER},
    Avgl: {"name": "avgl", "momentum": 0.9, **LEARNER},
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_defaults_of_strategies_are_the_papers(kind) -> None:
    assert {field.name: field.default for field in fields(kind)} == DEFAULTS[kind]


def test_the_other_defaults_are_the_papers() -> None:
    assert asdict(TrainingConfig()) == {
        "steps": 64_000,
        "batch_size": 128,
        "learning_rate": {0: 0.1, 32_000: 0.01, 48_000: 0.001},
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "head_decay": "uniform",
        "precision": "float32",
        "compiled": False,
        "evaluations": None,
    }
    assert asdict(WeightingConfig()) == {"name": "sieve", "normalize": "sum_to_one", "values": ()}
    assert asdict(NetworkConfig(n=1, c=1)) == {"n": 1, "c": 1, "period": 1, "transition": "convolution"}
    plain_data = {"validation": 0, "pad": 4, "flip": False, "brightness": 0.0, "contrast": 0.0}
    plain_data |= {"own": None, "own_validation": False}
    assert asdict(DataConfig(name="svhn")) == {"name": "svhn", **plain_data}
    assert (Joint().strategy, NoGrad().variant) == (Ann(), "stages")


# Fields that were added


def test_fields_that_were_added_are_written_only_where_they_are_set() -> None:
    found = {
        field.name: field.default
        for kind in (
            NetworkConfig,
            DataConfig,
            WeightingConfig,
            TrainingConfig,
            *REGIMES.values(),
            *STRATEGIES.values(),
        )
        for field in fields(kind)
        if field.metadata == ADDED
    }
    assert found == {
        "brightness": 0.0,
        "contrast": 0.0,
        "own": None,
        "own_validation": False,
        "head_decay": "uniform",
        "precision": "float32",
        "compiled": False,
        "evaluations": None,
        "warm_up_epochs": 0,
        "mixing": 0.0,
        "values": (),
        "objective": None,
        "answers": None,
        "flow": None,
    }
    assert not found.keys() & set(re.findall(r"\w+", json.dumps(to_dict(trial(regime=Joint(strategy=Exp3()))))))
    written = to_dict(trial(regime=Joint(strategy=Exp3(mixing=0.001)), data=DataConfig(name="digits", contrast=1)))
    assert written["regime"]["strategy"] == {
        "name": "exp3",
        "gamma": 0.5,
        "exploration": 0.3,
        "final_reward": 0.8,
        "mixing": 0.001,
    }
    assert written["data"] == {"name": "digits", "validation": 0, "pad": 4, "flip": False, "contrast": 1.0}
