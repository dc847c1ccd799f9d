"""Every fault of a sweep file is told at once: its line, its key, what was given, what is allowed."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from anytime_core.config import STRATEGIES, Aann, Joint, Midfeat, NoGrad
from anytime_core.data.catalog import DATASETS
from anytime_core.training.weighting import WEIGHTINGS
from orchestrator.analysis.quantities import QUANTITIES
from orchestrator.errors import SweepError
from orchestrator.stats.scopes import SCOPES
from orchestrator.stats.significance import TESTS
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.methods import JointMethod
from orchestrator.sweepfile.schema import SweepFile

Load = Callable[[str], Sweep]

TEXT = """\
name: small
networks:
  - {n: 2, c: 8}
  - {n: 3, c: 8, period: 2}
datasets: [digits]
methods:
  ann: {strategy: ann}
  aann: {strategy: {name: aann, gamma: 0.5}}
  opt: {regime: opt, at: [1/4, 1]}
seeds: [0, 1]
weights: sieve
training:
  steps: 44
  batch_size: 64
  learning_rate: {0: 0.1, 22: 0.01}
resources: {cpus: 1}
report: {baseline: ann}
"""

SECTIONS = ", ".join(SweepFile.model_fields)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def with_changes(*changes: tuple[str, str]) -> str:
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def faults(load_text: Load, text: str) -> list[str]:
    """The lines of the refusal, after the first, which counts them."""
    with pytest.raises(SweepError) as caught:
        load_text(text)
    first, *lines = str(caught.value).split("\n  ")
    assert first.endswith("sweep.yaml: 1 fault" if len(lines) == 1 else f"sweep.yaml: {len(lines)} faults")
    return lines


def test_the_text_to_be_broken_is_sound(load_text) -> None:
    sweep = load_text(TEXT)
    assert len(sweep.trials) == 2 * 2 * (2 + 2)  # networks, seeds, two strategies and two depths


# One fault, one message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # Unknown keys, at each level
        ("seeds:", "sedes:", f"line 10: sedes: unknown key; allowed: {SECTIONS} (did you mean seeds?)"),
        ("seeds:", "zzz: 1\nseeds:", f"line 10: zzz: unknown key; allowed: {SECTIONS}"),
        ("seeds:", "3: 1\nseeds:", f"line 10: 3: unknown key; allowed: {SECTIONS}"),
        (
            "period: 2",
            "perod: 2",
            "line 4: networks.1.perod: unknown key; allowed: n, c, period, transition (did you mean period?)",
        ),
        ("period: 2", "3: 2", "line 4: networks.1.3: unknown key; allowed: n, c, period"),
        (
            "[digits]",
            "[{name: digits, fliped: true}]",
            "line 5: datasets.0.fliped: unknown key; allowed: name, validation, pad, flip, brightness, contrast, "
            "path, format, size (did you mean flip?)",
        ),
        (
            "{strategy: ann}",
            "{strateg: ann}",
            "line 7: methods.ann.strateg: unknown key; allowed: regime, grid, tune, strategy, weights, objective, an",
        ),
        (
            "gamma: 0.5",
            "gama: 0.5",
            "line 8: methods.aann.strategy.gama: unknown key; allowed: gamma, warm_up_epochs, name (did you mean "
            "gamma?)",
        ),
        (
            "{strategy: ann}",
            "{strategy: {name: ann, gamma: 1}}",
            "line 7: methods.ann.strategy.gamma: unknown key; allowed: name",
        ),
        (
            "{strategy: ann}",
            "{strategy: ann, weights: {name: sieve, normalise: none}}",
            "line 7: methods.ann.weights.normalise: unknown key; allowed: name, normalize, values (did you mean",
        ),
        ("{regime: opt, at", "{regime: opt, att", "line 9: methods.opt.att: unknown key; allowed: regime, at (did you"),
        (
            "regime: opt,",
            "regime: opt, strategy: ann,",
            "line 9: methods.opt.strategy: unknown key; allowed: regime, a",
        ),
        (
            "weights: sieve",
            "weights: {nam: sieve}",
            "line 11: weights.nam: unknown key; allowed: name, normalize, values (did you mean name?)",
        ),
        (
            "steps: 44",
            "step: 44",
            "line 13: training.step: unknown key; allowed: steps, batch_size, learning_rate, momentum, weight_decay, "
            "head_decay, precision, compiled, evaluations (did you mean steps?)",
        ),
        (
            "cpus: 1",
            "cpu: 1",
            "line 16: resources.cpu: unknown key; allowed: cpus, gpus (did you mean cpus?)",
        ),
        (
            "baseline: ann",
            "basline: ann",
            "line 17: report.basline: unknown key; allowed: baseline, compare, tables, figures, p_value, scope, "
            "scale, diverged, rope, explorer (did you mean baseline?)",
        ),
        # Unknown names
        (
            "{strategy: ann}",
            "{strategy: anne}",
            f"line 7: methods.ann.strategy: no strategy is named 'anne'; allowed: {_quoted(STRATEGIES)}",
        ),
        ("{strategy: ann}", "{strategy: {name: [a]}}", "line 7: methods.ann.strategy: no strategy is named"),
        (
            "[digits]",
            "[cifar]",
            f"line 5: datasets.0: no data set is named 'cifar'; allowed: {', '.join(DATASETS)}",
        ),
        ("[digits]", "[{name: [a]}]", "line 5: datasets.0.name: given ['a']; must be a valid string"),
        (
            "weights: sieve",
            "weights: seive",
            f"line 11: weights: no weights are named 'seive'; allowed: {', '.join(WEIGHTINGS)}, opt(k)",
        ),
        (
            "weights: sieve",
            "weights: {name: sieve, normalize: half}",
            "line 11: weights.normalize: given 'half'; must be 'sum_to_one', 'as_published' or 'none'",
        ),
        ("regime: opt", "regime: optt", "line 9: methods.opt: no regime is named 'optt'; allowed: 'joint', 'opt'"),
        (
            "{baseline: ann}",
            "{p_value: bonferroni}",
            f"line 17: report.p_value: given 'bonferroni'; must be {' or '.join(_quoted(TESTS).rsplit(', ', 1))}",
        ),
        (
            "{baseline: ann}",
            "{scope: network}",
            f"line 17: report.scope: given 'network'; must be {' or '.join(_quoted(SCOPES).rsplit(', ', 1))}",
        ),
        (
            "{baseline: ann}",
            "{compare: [auc, eec]}",
            f"line 17: report.compare.1: given 'eec'; must be {' or '.join(_quoted(QUANTITIES).rsplit(', ', 1))}",
        ),
        (
            "{baseline: ann}",
            "{compare: [1, auc, 1]}",
            "line 17: report.compare: ['1', 'auc', '1'] holds one value twice",
        ),
        ("{baseline: ann}", "{compare: auc}", "line 17: report.compare: given 'auc'; must be a valid list"),
        ("{baseline: ann}", "{rope: -1}", "line 17: report.rope: given -1; must be greater than or equal to 0"),
        ("{baseline: ann}", "{rope: .nan}", "line 17: report.rope: given nan; must be a finite number"),
        ("{baseline: ann}", "{scale: log}", "line 17: report.scale: given 'log'; must be 'points' or 'ratios'"),
        ("{baseline: ann}", "{diverged: tie}", "line 17: report.diverged: given 'tie'; must be 'loss' or 'drop'"),
        ("baseline: ann", "baseline: an", "line 17: report.baseline: given 'an'; must be one of the methods: ann, aan"),
        # Impossible networks
        ("n: 2", "n: 0", "line 3: networks.0: n is 0, must be at least 1"),
        ("n: 2, c: 8", "n: 0, c: -8", "line 3: networks.0: n is 0, must be at least 1; c is -8, must be at least 1"),
        ("n: 2", "n: 1000000000", "line 3: networks.0: n is 1000000000, must be at most 256"),
        ("c: 8}", "c: 100000}", "line 3: networks.0: c is 100000, must be at most 4096"),
        ("period: 2", "period: 10", "line 4: networks.1: period is 10, must be at most 3n = 9"),
        ("period: 2", "period: 0", "line 4: networks.1: period is 0, must be at least 1"),
        ("n: 2", "n: two", "line 3: networks.0.n: given 'two'; must be a valid integer"),
        ("n: 2", "n: 2.5", "line 3: networks.0.n: given 2.5; must be a valid integer"),
        ("n: 2", "n:", "line 3: networks.0.n: given None; must be a valid integer"),
        (
            "n: 2",
            "n: yes",
            "line 3: networks.0.n: given True; yes and no, true and false are allowed for flip, compiled, outcomes, "
            "halving and explorer alone",
        ),
        ("n: 2, ", "", "line 3: networks.0.n: is missing"),
        ("- {n: 2, c: 8}", "- [2, 8]", "line 3: networks.0: given [2, 8]; must be a mapping"),
        (
            "- {n: 2, c: 8}",
            "- small",
            "line 3: networks.0: no network is named 'small'; allowed: feedback, msdnet, and a ResNet, which has no "
            "name: {n: 3, c: 16}",
        ),
        ("period: 2", "period: 1}\n  - {n: 2, c: 8.0", "line 5: networks.2: is the same as networks.0"),
        # Impossible data sets
        (
            "[digits]",
            "[{name: digits, validation: 1438}]",
            "line 5: datasets.0: validation is 1438, must be less than the 1438 training images",
        ),
        ("[digits]", "[{name: digits, validation: -1}]", "line 5: datasets.0: validation is -1, must be at least 0"),
        ("[digits]", "[{name: digits, pad: 9}]", "line 5: datasets.0: pad is 9, must be at most the image's 8 pixels"),
        (
            "[digits]",
            "[{name: svhn, flip: true}]",
            "line 5: datasets.0: flip is true, must be false: svhn is never mirrored",
        ),
        (
            "[digits]",
            "[{name: digits, brightness: 256, contrast: -1}]",
            "line 5: datasets.0: brightness is 256.0, must be between 0 and 255; contrast is -1.0, must be between 0 a",
        ),
        (
            "batch_size: 64",
            "head_decay: none",
            "line 14: training.head_decay: given 'none'; must be 'uniform' or 'loss_weight'",
        ),
        ("gamma: 0.5", "warm_up_epochs: 1.5", "line 8: methods.aann.strategy.warm_up_epochs: given 1.5; must be a va"),
        ("baseline: ann", "explorer: maybe", "line 17: report.explorer: given 'maybe'; must be a valid bool"),
        ("[digits]", "[{name: digits, flip: maybe}]", "line 5: datasets.0.flip: given 'maybe'; must be a valid bool"),
        ("[digits]", "[digits, {name: digits, pad: 0}]", "line 5: datasets.1: is the same data set as datasets.0"),
        ("[digits]", "digits", "line 5: datasets: given 'digits'; must be a valid list"),
        ("[digits]", "[]", "line 5: datasets: given []; must have at least 1 item"),
        ("[digits]", "[{pad: 1}]", "line 5: datasets.0.name: is missing"),
        # Impossible methods
        ("{strategy: ann}", "an", "line 7: methods.ann: no strategy or regime is named 'an'; allowed: ann, aann"),
        ("{strategy: ann}", "", "line 7: methods.ann: given None; must be a mapping"),
        ("{strategy: ann}", "{strategy: [ann]}", "line 7: methods.ann.strategy: given ['ann']; must be a mapping"),
        ("name: aann, ", "", "line 8: methods.aann.strategy: given {'gamma': 0.5}; must have a 'name'"),
        ("gamma: 0.5", "gamma: -1", "line 8: methods.aann.strategy: gamma is -1.0, must be at least 0"),
        ("gamma: 0.5", "gamma: .nan", "line 8: methods.aann.strategy: gamma is nan, must be a finite number"),
        ("gamma: 0.5", "gamma: much", "line 8: methods.aann.strategy.gamma: given 'much'; must be a valid number"),
        ("aann: {", "a b: {", "line 8: methods.a b: given 'a b'; must be letters, digits, '.', '_' and '-', a letter"),
        ("aann: {", "../a: {", "line 8: methods.../a: given '../a'; must be letters, digits, '.', '_' and '-', a "),
        ("aann: {", "3: {", "line 8: methods.3: given 3; must be a valid string"),
        ("[1/4, 1]", "[0.0]", "line 9: methods.opt.at.0: 0.0 is not a fraction of the cost: must be above 0 and at mo"),
        ("[1/4, 1]", "[1, 5/4]", "line 9: methods.opt.at.1: 5/4 is not a fraction of the cost: must be above 0 and at"),
        ("[1/4, 1]", "[half]", "line 9: methods.opt.at.0: 'half' is not a fraction such as 1/4"),
        ("[1/4, 1]", "[1/0]", "line 9: methods.opt.at.0: '1/0' is not a fraction such as 1/4"),
        ("[1/4, 1]", "['1e-999999999']", "line 9: methods.opt.at.0: '1e-999999999' is not a fraction such as 1/4"),
        ("[1/4, 1]", "[yes]", "line 9: methods.opt.at.0: True is not a fraction such as 1/4"),
        ("[1/4, 1]", "1/4", "line 9: methods.opt.at: given '1/4'; must be a valid list"),
        ("[1/4, 1]", "[]", "line 9: methods.opt.at: given []; must have at least 1 item"),
        ("[1/4, 1]", "", "line 9: methods.opt.at: is empty; must be fractions of the cost, or all"),
        # Weights that some network cannot have
        (
            "weights: sieve",
            "weights: opt(6)",
            "line 11: weights: network (3,8)/2: opt(6): there are only predictions 1 to",
        ),
        (
            "{strategy: ann}",
            "{strategy: ann, weights: opt(6)}",
            "line 7: methods.ann.weights: network (3,8)/2: opt(6): there are only predictions 1 to 5",
        ),
        # Seeds
        ("[0, 1]", "[0, 1, 0]", "line 10: seeds: [0, 1, 0] holds one value twice"),
        ("[0, 1]", "[-1]", "line 10: seeds.0: given -1; must be greater than or equal to 0"),
        ("[0, 1]", "[a]", "line 10: seeds.0: given 'a'; must be a valid integer"),
        ("[0, 1]", "3", "line 10: seeds: given 3; must be a valid list"),
        ("[0, 1]", "[]", "line 10: seeds: given []; must have at least 1 item"),
        # Training
        ("steps: 44", "steps: 0", "line 12: training: steps is 0, must be at least 1"),
        ("steps: 44", "steps: 2147483648", "line 12: training: steps is 2147483648, must be at most 2147483647"),
        ("batch_size: 64", "batch_size: 1", "line 12: training: batch_size is 1, must be at least 2"),
        (
            "batch_size: 64",
            "batch_size: 1439",
            "line 14: training.batch_size: given 1439; must be at most the 1438 training images of digits",
        ),
        ("{0: 0.1,", "{", "line 12: training: learning_rate must give the rate at step 0"),
        ("22: 0.01", "22: -1", "line 12: training: learning_rate at step 22 is -1.0, must be at least 0"),
        ("22: 0.01", "22: .inf", "line 12: training: learning_rate at step 22 is inf, must be a finite number"),
        ("22: 0.01", "22: low", "line 15: training.learning_rate.22: given 'low'; must be a valid number"),
        ("22: 0.01", "late: 0.01", "line 15: training.learning_rate.late: given 'late'; must be a valid integer"),
        ("{0: 0.1, 22: 0.01}", "0.1", "line 15: training.learning_rate: given 0.1; must be a mapping"),
        ("batch_size: 64", "momentum: 2", "line 12: training: momentum is 2.0, must be between 0 and 1"),
        ("batch_size: 64", "weight_decay: 1e-x", "line 14: training.weight_decay: given '1e-x'; must be a valid numbe"),
        # Resources
        ("cpus: 1", "cpus: 0", "line 16: resources: cpus is 0, must be at least 1"),
        (
            "cpus: 1",
            "gpus: 2",
            "line 16: resources: gpus is 2.0, must be between 0 and 1: a trial trains on one device",
        ),
        ("cpus: 1", "gpus: .nan", "line 16: resources: gpus is nan, must be between 0 and 1: a trial trains on one d"),
        (
            "cpus: 1",
            "cpus: 0, gpus: -1",
            "line 16: resources: cpus is 0, must be at least 1; gpus is -1.0, must be between 0 and 1: a trial",
        ),
        ("{cpus: 1}", "", "line 16: resources: given None; must be a mapping"),
        # Names and texts
        ("name: small", "name: ../small", "line 1: name: given '../small'; must be letters, digits, '.', '_' and '-',"),
        ("name: small", "name: .small", "line 1: name: given '.small'; must be letters, digits, '.', '_' and '-',"),
        ("name: small", "name: 3", "line 1: name: given 3; must be a valid string"),
        ("name: small", f"name: {'x' * 65}", f"line 1: name: given '{'x' * 65}'; must have at most 64 characters"),
        ("name: small", f"name: [{'x' * 900}]", f"line 1: name: given ['{'x' * 78}...; must be a valid string"),
        ("name: small", "name: small\ndescription: [a]", "line 2: description: given ['a']; must be a valid string"),
    ],
)
def test_a_fault_is_told_in_one_line(load_text, old, new, message) -> None:
    (line,) = faults(load_text, with_changes((old, new)))
    assert line.startswith(message)


@pytest.mark.parametrize(("section", "line"), [("name", 1), ("networks", 1), ("datasets", 1), ("methods", 1)])
def test_a_missing_section_is_named(load_text, section, line) -> None:
    content = yaml.safe_load(TEXT)
    del content[section]
    found = faults(load_text, yaml.safe_dump(content, sort_keys=False))
    assert found == [f"line {line}: {section}: is missing"]


@pytest.mark.parametrize("text", ["", "~", "[1, 2]", "sweep", "3", "yes"])
def test_a_file_that_is_no_mapping_is_told_what_it_should_be(load_text, text) -> None:
    assert faults(load_text, text) == [f"line 1: must be a mapping with the keys {SECTIONS}"]


def test_a_fault_in_a_merged_mapping_is_on_the_line_that_merges_it(load_text) -> None:
    text = with_changes(("n: 3, c: 8, period: 2", "<<: {n: 3, c: 0}, period: 2"))
    assert faults(load_text, text) == ["line 4: networks.1: c is 0, must be at least 1"]


# All at once


def test_every_fault_is_told_at_once_in_the_order_of_the_file(load_text) -> None:
    """Unknown keys, wrong kinds, impossible values and contradictions between sections."""
    text = """\
        name: a/b
        colour: red
        networks:
          - {n: 0, c: 8, perod: 1}
          - {n: 2, c: 8}
          - {n: 2, c: 8, period: 1}
          - {n: 1}
        datasets: [digits, mnist, digits]
        methods:
          aann: {strategy: {name: aann, gamma: x}}
          exp3: {strategy: exp4}
          late: {weights: opt(7)}
          opt: {regime: opt, at: [2, 1/2, x]}
        seeds: [0, -1]
        training:
          stepps: 3
          steps: 0
          batch_size: 5000
        resources: {cpus: 0, gpus: 3}
        report: {baseline: ann}
        """
    assert [fault.partition("; allowed")[0] for fault in faults(load_text, textwrap.dedent(text))] == [
        "line 1: name: given 'a/b'; must be letters, digits, '.', '_' and '-', a letter or digit first",
        "line 2: colour: unknown key",
        "line 4: networks.0: n is 0, must be at least 1",
        "line 4: networks.0.perod: unknown key",
        "line 6: networks.2: is the same as networks.1",
        "line 7: networks.3.c: is missing",
        "line 8: datasets.1: no data set is named 'mnist'",
        "line 8: datasets.2: is the same data set as datasets.0",
        "line 10: methods.aann.strategy.gamma: given 'x'; must be a valid number, unable to parse string as a number",
        "line 11: methods.exp3.strategy: no strategy is named 'exp4'",
        "line 12: methods.late.weights: network (2,8): opt(7): there are only predictions 1 to 6",
        "line 13: methods.opt.at.0: 2 is not a fraction of the cost: must be above 0 and at most 1",
        "line 13: methods.opt.at.2: 'x' is not a fraction such as 1/4",
        "line 14: seeds.1: given -1; must be greater than or equal to 0",
        "line 15: training: steps is 0, must be at least 1",
        "line 16: training.stepps: unknown key",
        "line 19: resources: cpus is 0, must be at least 1; gpus is 3.0, must be between 0 and 1: a trial trains on "
        "one device",
        "line 20: report.baseline: given 'ann'; must be one of the methods: aann, exp3, late, opt",
    ]


# What is allowed


def test_a_float_needs_no_dot(load_text) -> None:
    """YAML 1.1 takes 1e-4 for text."""
    assert yaml.safe_load("1e-4") == "1e-4"
    text = with_changes(
        ("batch_size: 64", "weight_decay: 1e-4"), ("22: 0.01", "22: 1e-2"), ("gamma: 0.5", "gamma: 5e-1")
    )
    configs = [trial.config for trial in load_text(text).trials]
    assert {config.training.weight_decay for config in configs} == {1e-4}
    assert {config.training.learning_rate[22] for config in configs} == {0.01}
    strategies = [config.regime.strategy for config in configs if isinstance(config.regime, Joint)]
    assert {strategy.gamma for strategy in strategies if isinstance(strategy, Aann)} == {0.5}


def test_what_is_not_given_has_the_defaults_of_the_paper(load_text) -> None:
    sweep = load_text("name: a\nnetworks: [{n: 2, c: 8}]\ndatasets: [cifar10]\nmethods: {ann: {}}\n")
    (trial,) = sweep.trials
    config, training = trial.config, trial.config.training
    assert (training.steps, training.batch_size, training.momentum, training.weight_decay) == (64_000, 128, 0.9, 1e-4)
    assert training.learning_rate == {0: 0.1, 32_000: 0.01, 48_000: 0.001}
    assert (config.data.pad, config.data.flip, config.data.validation) == (4, True, 0)
    assert (config.regime.weights.name, config.regime.strategy.name) == ("sieve", "ann")
    assert (config.seed, config.network.period) == (0, 1)
    assert (trial.resources.cpus, trial.resources.gpus) == (1, 0)
    assert (sweep.report.baseline, sweep.report.p_value) == ("ann", "hoeffding")


@pytest.mark.parametrize(
    ("name", "pad", "flip"),
    [("cifar10", 4, True), ("cifar100", 4, True), ("svhn", 4, False), ("digits", 1, False)],
)
def test_images_are_augmented_as_is_usual_for_them_unless_told_otherwise(load_text, name, pad, flip) -> None:
    def data(given: str) -> tuple[int, bool]:
        text = with_changes(("[digits]", f"[{given}]"))
        (found,) = {(trial.config.data.pad, trial.config.data.flip) for trial in load_text(text).trials}
        return found

    assert data(name) == data(f"{{name: {name}}}") == (pad, flip)
    other = flip if name == "svhn" else not flip
    assert data(f"{{name: {name}, pad: 2, flip: {other}}}") == (2, other)


def test_weights_of_a_method_stand_in_for_the_sweeps(load_text) -> None:
    text = with_changes(("weights: sieve", "weights: linear"), ("gamma: 0.5}", "gamma: 0.5}, weights: opt(5)"))
    joint = [trial for trial in load_text(text).trials if trial.cell.unit is None]
    assert {(trial.cell.method, trial.config.regime.weights.name) for trial in joint} == {
        ("ann", "linear"),
        ("aann", "opt(5)"),
    }


@pytest.mark.parametrize(
    ("at", "units"),
    [
        ("[1/4, 1/2, 3/4, 1]", {2, 3, 5, 6}),
        ("[0.25, '1 / 2', 1.0]", {2, 3, 6}),
        ("[1/100]", {1}),
        ("all", set(range(1, 7))),
    ],
)
def test_optima_stand_at_fractions_of_the_cost_or_at_all_depths(load_text, at, units) -> None:
    """Of n = 2: floor(6f + 1/2), and at least the first."""
    text = with_changes(("[1/4, 1]", at), ("  - {n: 3, c: 8, period: 2}\n", ""))
    assert {trial.cell.unit for trial in load_text(text).trials} - {None} == units


# Broken in any way

NAMES = st.sampled_from(
    ["name", "n", "c", "period", "strategy", "regime", "at", "opt", "ann", "weights", "steps", "learning_rate", "flip"]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-2, 12), st.floats(allow_nan=False), st.text(max_size=5), NAMES
)
ANYTHING = st.recursive(
    st.one_of(SCALARS, st.just(math.nan)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(SCALARS, inner, max_size=3)),
    max_leaves=8,
)


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every key of every mapping and index of every list, with what it is in."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in items for place in ((content, key), *places(value))]


@settings(max_examples=150)
@given(st.data(), st.integers(1, 3))
def test_broken_in_any_way_it_is_loaded_or_refused(load_text, data, count) -> None:
    """Up to three values of a sound file replaced by anything, under their own key or another."""
    broken = yaml.safe_load(TEXT)
    for _ in range(count):
        around, key = data.draw(st.sampled_from(places(broken)))
        if isinstance(around, dict) and data.draw(st.booleans()):
            key = data.draw(SCALARS)
        around[key] = data.draw(ANYTHING)
    loaded_or_refused(load_text, broken)


@settings(max_examples=100)
@given(ANYTHING)
def test_anything_is_loaded_or_refused(load_text, content) -> None:
    loaded_or_refused(load_text, content)


def loaded_or_refused(load_text: Load, content: Any) -> None:
    try:
        sweep = load_text(yaml.safe_dump(content))
    except SweepError as error:
        message = str(error)
    else:
        assert {*sweep.cells.values()} == {trial.id for trial in sweep.trials}
        return
    assert ": 1 fault\n" in message or " faults\n" in message or ": is not valid YAML: " in message


# Grids and regimes


def test_a_grid_makes_a_method_of_each_combination(load_text) -> None:
    text = with_changes(
        ("{strategy: ann}", "{strategy: ann}\n  exp3: {strategy: exp3, grid: {gamma: [1, 2], exploration: [0, 0.5]}}")
    )
    sweep = load_text(text)
    points = {
        cell.method: (trial.config.regime.strategy.gamma, trial.config.regime.strategy.exploration)
        for trial in sweep.trials
        for cell in [trial.cell]
        if cell.method.startswith("exp3")
    }
    assert points == {
        "exp3 gamma=1 exploration=0": (1.0, 0.0),
        "exp3 gamma=1 exploration=0.5": (1.0, 0.5),
        "exp3 gamma=2 exploration=0": (2.0, 0.0),
        "exp3 gamma=2 exploration=0.5": (2.0, 0.5),
    }


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("{strategy: aann, grid: {lambda: [1]}}", "grid: aann has no lambda; allowed: gamma"),
        ("{strategy: aann, grid: {warm_up_epochs: [0.5]}}", "warm_up_epochs is 0.5, must be a whole number"),
        ("{grid: {gamma: [1]}}", "grid: ann has no gamma; allowed: strategy, weights"),
        ("{strategy: aann, grid: {gamma: []}}", "given []; must have at least 1 item"),
        ("{strategy: aann, grid: {gamma: [-1]}}", "gamma is -1, must be at least 0"),
        ("{regime: no_grad, variant: greedy}", "given 'greedy'; must be 'stages' or 'stop_gradient'"),
        ("{regime: midfeat, weights: sieve}", "unknown key; allowed: regime"),
    ],
)
def test_faults_of_grids_and_regimes(load_text, method, message) -> None:
    (line,) = faults(load_text, with_changes(("{strategy: ann}", f"{{strategy: ann}}\n  other: {method}")))
    assert message in line


def test_the_regimes_of_section_4_2(load_text) -> None:
    more = ["mid: {regime: midfeat}", "cascade: {regime: no_grad}", "stop: {regime: no_grad, variant: stop_gradient}"]
    sweep = load_text(with_changes(("{strategy: ann}", "\n  ".join(["{strategy: ann}", *more]))))
    regimes = {trial.cell.method: trial.config.regime for trial in sweep.trials}
    assert (regimes["mid"], regimes["cascade"]) == (Midfeat(), NoGrad(variant="stages"))
    assert regimes["stop"] == NoGrad(variant="stop_gradient")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ([("  - {n: 2, c: 8}\n", ""), ("n: 3, c: 8, period: 2", "n: 3, c: 8, period: two")], 3),
        ([("[digits]", "[{name: digits, flip: 7}]")], 5),
        (
            [
                ("aann: {strategy: {name: aann, gamma: 0.5}}", ""),
                ("  opt: {regime: opt, at: [1/4, 1]}", ""),
                ("ann:", "än:"),
            ],
            7,
        ),
    ],
)
def test_a_section_whose_only_item_is_wrong_is_not_called_empty_too(
    load_text: Load, changes: list[tuple[str, str]], line: int
) -> None:
    found = [fault for fault in faults(load_text, with_changes(*changes)) if "report.baseline" not in fault]
    assert [fault.partition(":")[0] for fault in found] == [f"line {line}"]
    assert "at least 1 item" not in found[0]


def test_a_value_of_a_wrong_kind_hides_no_other_beside_it(load_text) -> None:
    text = """
name: a
networks: [{n: x, c: 0}]
datasets: [{name: digits, validation: 5000, pad: 99, flip: 3}]
methods: {ann: {}, aann: {strategy: {name: aann, gamma: -1, gama: 2}}}
training: {steps: x, batch_size: 0, momentum: 7}
"""
    said = " ".join(faults(load_text, text))
    for word in ("networks.0.n", "c is 0", "validation is 5000", "pad is 99", "flip", "gamma is -1", "gama"):
        assert word in said, word
    for word in ("training.steps", "batch_size is 0", "momentum is 7"):
        assert word in said, word


def test_a_grid_may_be_of_whole_numbers(load_text) -> None:
    text = with_changes(
        ("{strategy: ann}", "{strategy: ann}\n  warm: {strategy: aann, grid: {warm_up_epochs: [0, 2]}}")
    )
    sweep = load_text(text)
    regimes = {trial.id: trial.config.regime for trial in sweep.trials}
    warm = {cell.method: regimes[identity] for cell, identity in sweep.cells.items() if "warm" in cell.method}
    assert warm == {f"warm warm_up_epochs={epochs}": Joint(strategy=Aann(warm_up_epochs=epochs)) for epochs in (0, 2)}


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=6, unique=True))
def test_no_two_points_of_a_grid_have_one_name(values) -> None:
    method = JointMethod(strategy=Aann(), grid={"gamma": values})
    named = method.variants("aann")
    assert len(named) == len(values)
    assert [variant.strategy.gamma for variant in named.values()] == values


@pytest.mark.parametrize(
    ("value", "name"),
    [(0.5, "0.5"), (1.0, "1"), (1e6, "1e+06"), (1_000_001.0, "1000001"), (0.1234567, "0.1234567"), (1e-7, "1e-07")],
)
def test_a_point_of_a_grid_is_named_as_before_where_that_is_exact(value, name) -> None:
    assert list(JointMethod(strategy=Aann(), grid={"gamma": [value]}).variants("a")) == [f"a gamma={name}"]


def test_a_grid_that_holds_a_value_twice_is_refused(load_text) -> None:
    with pytest.raises(SweepError, match=r"line 8: methods\.aann: grid: gamma holds one value twice"):
        load_text(with_changes(("{strategy: {name: aann, gamma: 0.5}}", "{strategy: aann, grid: {gamma: [1, 1.0]}}")))
