"""A trial's id changes with every number that is trained with, and with nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytime_core.config import (
    ADDED,
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
    Rwm,
    TrainingConfig,
    TrialConfig,
    WeightingConfig,
    from_dict,
    to_dict,
)
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell, Identities, Resources, TrialState, cell_of, trial_id

Load = Callable[[str], Sweep]

TEXT = """\
name: small
networks: [{n: 2, c: 8}, {n: 3, c: 8, period: 2}]
datasets: [digits]
methods:
  ann: {strategy: ann}
  exp3: {strategy: {name: exp3, gamma: 1, exploration: 0.3}}
  opt: {regime: opt, at: [1/2, 1]}
seeds: [0, 1]
training: {steps: 44, batch_size: 64, learning_rate: {0: 1, 22: 0.01}, weight_decay: 1.0e-4}
"""


def ids(load_text: Load, text: str) -> dict[Cell, str]:
    return dict(load_text(text).cells)


def changed(*changes: tuple[str, str]) -> str:
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


# Pinned

NETWORK = NetworkConfig(n=9, c=32)
DATA = DataConfig(name="cifar100", pad=4, flip=True)
SURROUNDINGS = (
    '{"data":{"flip":true,"name":"cifar100","pad":4,"validation":0},'
    '"network":{"c":32,"n":9,"period":1,"transition":"convolution"},"regime":%s,"seed":3,'
    '"training":{"batch_size":128,"learning_rate":{"0":0.1,"32000":0.01,"48000":0.001},"momentum":0.9,'
    '"steps":64000,"weight_decay":0.0001}}'
)


@pytest.mark.parametrize(
    ("regime", "written", "identity"),
    [
        (
            Joint(strategy=Aann(gamma=0.5)),
            '{"name":"joint","strategy":{"gamma":0.5,"name":"aann"},"weights":{"name":"sieve","normalize":"sum_to_one"}}',
            "32fac55d8edbabb1",
        ),
        (Opt(unit=14), '{"name":"opt","unit":14}', "eca6693b4476a4a8"),
    ],
)
def test_the_identity_of_trials_is_pinned(regime, written, identity) -> None:
    """If this fails, the identity of every trial has changed: all that was ever trained would be trained again.

    A new field of a config does that, and so does a changed default. Where that is meant, change the text and the id
    here and say so in the changelog; where it is not, it is a mistake.
    """
    assert hashlib.sha256((SURROUNDINGS % written).encode()).hexdigest()[:16] == identity
    assert trial_id(TrialConfig(network=NETWORK, data=DATA, regime=regime, seed=3)) == identity


REGIMES_PINNED = {
    "ann": (Joint(), "639500de356641e3"),
    "milestone": (Joint(strategy=Milestone()), "c1178ed9cdf06b62"),
    "exp3": (Joint(strategy=Exp3()), "f479ad912e7964aa"),
    "rwm": (Joint(strategy=Rwm()), "33f302336f879149"),
    "avgl": (Joint(strategy=Avgl()), "4adcf2f230ed2a23"),
    "midfeat": (Midfeat(), "9c98028a444425f8"),
    "no_grad": (NoGrad(), "5376df1a08710d22"),
    "stop_gradient": (NoGrad(variant="stop_gradient"), "26ede8aafc59961e"),
}


@pytest.mark.parametrize("name", REGIMES_PINNED)
def test_fields_that_were_added_move_no_identity(name) -> None:
    """These are the ids from before there were ``config.ADDED`` fields, such as ``mixing``."""
    regime, identity = REGIMES_PINNED[name]
    assert trial_id(TrialConfig(network=NETWORK, data=DATA, regime=regime, seed=3)) == identity


ADDITIONS = [
    ("data", DataConfig(name="digits", brightness=1)),
    ("data", DataConfig(name="digits", contrast=1)),
    ("training", TrainingConfig(head_decay="loss_weight")),
    *(("regime", Joint(strategy=kind(warm_up_epochs=1))) for kind in (Aann, Milestone, Exp3, Rwm, Avgl)),
    *(("regime", Joint(strategy=kind(mixing=0.001))) for kind in (Exp3, Rwm)),
]


@pytest.mark.parametrize(("part", "value"), ADDITIONS)
def test_fields_that_were_added_count_where_they_are_set(part, value) -> None:
    def defaults(kept: object) -> object:
        """The same without the field."""
        added = {field.name: field.default for field in fields(kept) if field.metadata == ADDED}  # type: ignore[arg-type]
        return replace(kept, **added)  # type: ignore[type-var]

    plain = defaults(value) if part != "regime" else replace(value, strategy=defaults(value.strategy))
    before, after = (
        replace(TrialConfig(network=NETWORK, data=DataConfig(name="digits")), **{part: content})
        for content in (plain, value)
    )
    assert trial_id(before) != trial_id(after)
    assert from_dict(to_dict(after)) == after
    assert trial_id(from_dict(to_dict(after))) == trial_id(after)


# What is not part of it


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{n: 2, c: 8}", "{c: 8, n: 2}"),
        ("{steps: 44, batch_size: 64,", "{batch_size: 64, steps: 44,"),
        ("{0: 1, 22: 0.01}", "{22: 0.01, 0: 1}"),
        ("{0: 1, 22: 0.01}", "{'0': 1, '22': 0.01}"),
        ("gamma: 1,", "gamma: 1.0,"),
        ("gamma: 1,", "gamma: '1',"),
        ("{0: 1,", "{0: 1.0,"),
        ("1.0e-4", "0.0001"),
        ("1.0e-4", "1e-4"),
        ("{n: 2, c: 8}", "{n: 2.0, c: 8, period: 1}"),
        ("{strategy: ann}", "{}"),
        ("{strategy: ann}", "{regime: joint, strategy: {name: ann}, weights: {name: sieve, normalize: sum_to_one}}"),
        ("exploration: 0.3", "final_reward: 0.8"),
        ("[digits]", "[{name: digits, pad: 1, flip: no, validation: 0}]"),
        ("steps: 44", "momentum: 0.9, steps: 44"),
        ("at: [1/2, 1]", "at: [1.0, 0.5]"),
        ("seeds: [0, 1]", "seeds: [1, 0]"),
        ("name: small", "name: other"),
        ("name: small", "name: small\ndescription: words"),
        ("name: small", "name: small\nresources: {cpus: 7, gpus: 0.5}"),
        ("name: small", "name: small\nreport: {baseline: exp3, p_value: hoeffding-as-published}"),
        ("name: small", "name: small\nweights: {name: sieve}"),
    ],
)
def test_another_way_to_write_a_sweep_is_the_same_trials(load_text, old, new) -> None:
    assert ids(load_text, changed((old, new))) == ids(load_text, TEXT)


def test_anchors_and_merge_keys_are_the_same_trials(load_text) -> None:
    text = changed(
        ("[{n: 2, c: 8}, {n: 3, c: 8, period: 2}]", "\n- &a {n: 2, c: 8}\n- {<<: *a, n: 3, period: 2}"),
        ("gamma: 1, exploration: 0.3", "gamma: &one 1, exploration: 0.3"),
        ("{0: 1,", "{0: *one,"),
    )
    assert ids(load_text, text) == ids(load_text, TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pad", "pad: 2"),
        ("flip", "flip: yes"),
        ("validation", "validation: 1"),
    ],
)
def test_another_treatment_of_the_images_is_other_trials(load_text, old, new) -> None:
    before, after = ids(load_text, TEXT), ids(load_text, changed(("[digits]", f"[{{name: digits, {new}}}]")))
    assert before.keys() == after.keys()
    assert not {*before.values()} & {*after.values()}, old


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps: 44", "steps: 45"),
        ("batch_size: 64", "batch_size: 65"),
        ("{0: 1,", "{0: 1.0000001,"),
        ("22: 0.01", "23: 0.01"),
        ("22: 0.01}", "22: 0.01, 30: 0.01}"),
        ("1.0e-4", "2.0e-4"),
        ("steps: 44", "momentum: 0.8, steps: 44"),
    ],
)
def test_another_way_to_train_is_other_trials(load_text, old, new) -> None:
    before, after = ids(load_text, TEXT), ids(load_text, changed((old, new)))
    assert before.keys() == after.keys()
    assert not {*before.values()} & {*after.values()}


NAMES = st.sampled_from(["sieve", "constant", "linear", "opt(1)"])
RATES = st.floats(0, 10, allow_nan=False)
GAMMAS = {"gamma": st.floats(0, 4), "warm_up_epochs": st.integers(0, 2)}
LEARNER = GAMMAS | {"exploration": st.floats(0, 1), "final_reward": st.floats(0, 2)}
CONFIGS = st.builds(
    TrialConfig,
    network=st.builds(NetworkConfig, n=st.integers(2, 4), c=st.integers(1, 9), period=st.integers(1, 3)),
    data=st.builds(
        DataConfig,
        name=st.sampled_from(["cifar10", "cifar100", "svhn", "digits"]),
        validation=st.integers(0, 9),
        pad=st.integers(0, 4),
        flip=st.booleans(),
        brightness=st.floats(0, 255),
        contrast=st.floats(0, 1),
    ),
    regime=st.one_of(
        st.builds(Opt, unit=st.integers(1, 6)),
        st.builds(
            Joint,
            weights=st.builds(
                WeightingConfig, name=NAMES, normalize=st.sampled_from(["sum_to_one", "as_published", "none"])
            ),
            strategy=st.one_of(
                st.builds(Ann),
                st.builds(Aann, **GAMMAS),
                st.builds(Milestone, **GAMMAS),
                st.builds(Exp3, mixing=st.floats(0, 1), **LEARNER),
                st.builds(Rwm, rate=st.floats(0, 1), mixing=st.floats(0, 1), **LEARNER),
                st.builds(Avgl, momentum=st.floats(0, 1), **LEARNER),
            ),
        ),
    ),
    training=st.builds(
        TrainingConfig,
        steps=st.integers(1, 10**5),
        batch_size=st.integers(2, 512),
        learning_rate=st.dictionaries(st.integers(1, 9), RATES, max_size=3).map(lambda rates: {0: 0.1} | rates),
        momentum=st.floats(0, 1),
        weight_decay=st.floats(0, 1),
        head_decay=st.sampled_from(["uniform", "loss_weight"]),
    ),
    seed=st.integers(0, 99),
)


@settings(max_examples=200)
@given(CONFIGS, CONFIGS, st.data())
def test_ids_are_equal_where_configs_are_and_nowhere_else(first, second, data) -> None:
    part = data.draw(st.sampled_from(["network", "data", "regime", "training", "seed"]))
    mixed = replace(first, **{part: getattr(second, part)})  # the two differ in one part alone, if at all
    assert (trial_id(first) == trial_id(mixed)) == (first == mixed)
    assert (trial_id(first) == trial_id(second)) == (first == second)


def reordered(value: object) -> object:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return value


@settings(max_examples=50)
@given(CONFIGS)
def test_an_id_is_16_hexadecimal_digits_and_the_same_for_the_same_json(config) -> None:
    assert len(trial_id(config)) == 16
    int(trial_id(config), 16)
    again = from_dict(reordered(json.loads(json.dumps(to_dict(config)))))  # type: ignore[arg-type]
    assert trial_id(again) == trial_id(config)


def plain_id(config: TrialConfig) -> str:
    canonical = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@settings(max_examples=200)
@given(st.lists(CONFIGS, min_size=1, max_size=4), st.data())
def test_an_id_is_the_hash_of_the_whole_config_whatever_was_written_out_before(configs, data) -> None:
    identities = Identities()
    for _ in range(4):
        parts = {name: getattr(data.draw(st.sampled_from(configs)), name) for name in ("data", "regime", "training")}
        config = replace(data.draw(st.sampled_from(configs)), **parts)
        assert identities.of(config) == trial_id(config) == plain_id(config)


def test_configs_that_are_equal_and_not_the_same_json_keep_their_own_ids(make_trial) -> None:
    identities = Identities()
    for gamma in (0.0, -0.0, 0.0):
        config = make_trial(Joint(strategy=Aann(gamma=gamma))).config
        assert identities.of(config) == plain_id(config)


def test_parts_that_are_gone_are_not_taken_for_new_ones_at_their_address() -> None:
    identities = Identities()
    for n in range(1, 200):
        config = TrialConfig(network=NetworkConfig(n=n, c=2), data=DataConfig(name="digits"))
        assert identities.of(config) == plain_id(config)
        del config


# Cells, resources, states


def test_a_cell_is_named_as_in_the_paper(make_trial) -> None:
    trial = make_trial(Joint(strategy=Exp3()), network=NetworkConfig(n=25, c=32, period=3), seed=4)
    assert trial.cell.network == "(25,32)/3"
    assert trial.cell.label == "exp3 (25,32)/3 digits seed 4"
    optimum = make_trial(Opt(unit=2))
    assert optimum.cell.network == "(1,2)"
    assert optimum.cell.label == "opt (1,2) digits unit 2 seed 0"


def test_an_optimum_stands_in_the_cell_of_the_sweeps_own_network(make_trial) -> None:
    config = make_trial(Opt(unit=2)).config
    cell = cell_of("best", NetworkConfig(n=1, c=2, period=3), config)
    assert (cell.method, cell.period, cell.unit) == ("best", 3, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cpus": 0}, "cpus is 0, must be at least 1"),
        ({"gpus": 1.5}, "gpus is 1.5, must be between 0 and 1"),
        ({"gpus": float("nan")}, "gpus is nan"),
        ({"cpus": -1, "gpus": -1}, "cpus is -1, must be at least 1; gpus is -1, must be between 0 and 1"),
    ],
)
def test_impossible_resources_are_refused(given, message) -> None:
    with pytest.raises(ValueError, match=message):
        Resources(**given)


def test_only_a_result_ends_a_trial() -> None:
    assert [state for state in TrialState if state.ended] == [TrialState.DIVERGED, TrialState.FINISHED]
