"""Lists of loss weights, one for each network: what is planned, its ids, what trains, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import documented
import pytest
from written import RAMP

from anytime_core.config import Joint, WeightingConfig
from anytime_core.training.trainer import train
from orchestrator.errors import SweepError
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

pytestmark = pytest.mark.usefixtures("trusted")
Load = Callable[[str], Sweep]

TEXT = """\
name: lists
networks: [{n: 1, c: 2}, {n: 2, c: 2, period: 3}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann}
  even: {weights: constant}
  opt: {regime: opt, at: [1]}
training: {steps: 2, batch_size: 64, learning_rate: {0: 0.1}}
weights:
"""
LISTS = """\
  values:
    (1,2): [1, 1, 2]
    (2,2)/3: [1, 3]
"""
ALLOWED = "must be a list of numbers, one for each prediction, or such a list for each network, by its label"


def ids(sweep: Sweep) -> dict[tuple[str, str], str]:
    return {(cell.method, cell.network): identity for cell, identity in sweep.cells.items()}


def faults(load_text: Load, text: str) -> list[str]:
    with pytest.raises(SweepError) as caught:
        load_text(text)
    return str(caught.value).split("\n  ")[1:]


# What a trial holds


def test_each_network_has_its_own_list(load_text: Load) -> None:
    sweep = load_text(TEXT + LISTS)
    held = {
        (trial.cell.method, trial.cell.network): trial.config.regime.weights
        for trial in sweep.trials
        if isinstance(trial.config.regime, Joint)
    }
    lists = {"(1,2)": (1.0, 1.0, 2.0), "(2,2)/3": (1.0, 3.0)}
    for label, values in lists.items():
        for method in ("ann", "aann"):
            assert held[method, label] == WeightingConfig(name="values", values=values)
        assert held["even", label] == WeightingConfig(name="constant")


@pytest.mark.parametrize("normalize", ["", "  normalize: none\n"])
def test_ids_are_those_of_a_sweep_with_the_list_alone(load_text: Load, normalize: str) -> None:
    both = ids(load_text(TEXT + LISTS + normalize))
    alone = {}
    for network, values in (("{n: 1, c: 2}", "[1, 1, 2]"), ("{n: 2, c: 2, period: 3}", "[1, 3]")):
        text = TEXT.replace("[{n: 1, c: 2}, {n: 2, c: 2, period: 3}]", f"[{network}]")
        alone |= ids(load_text(f"{text}  values: {values}\n{normalize}"))
    assert both == alone


def test_what_has_no_part_in_the_lists_keeps_its_id(load_text: Load) -> None:
    before, after = ids(load_text(TEXT + "  name: sieve\n")), ids(load_text(TEXT + LISTS))
    assert {cell for cell in before if before[cell] == after[cell]} == {
        cell for cell in before if cell[0] in "even opt"
    }


def test_a_method_may_have_lists_of_its_own(load_text: Load) -> None:
    own = TEXT.replace("{strategy: aann}", "{strategy: aann, weights: {values: {'(1,2)': [1, 1, 2], '2,2/3': [1, 3]}}}")
    mixed, all_of_it = ids(load_text(own + "  name: sieve\n")), ids(load_text(TEXT + LISTS))
    for label in ("(1,2)", "(2,2)/3"):
        assert mixed["aann", label] == all_of_it["aann", label]
        assert mixed["ann", label] != all_of_it["ann", label]


@pytest.mark.parametrize("keys", [("1,2", "2,2/3"), ("( 1, 2 )", "(2, 2) / 3"), ("'(1,2) '", '"(2,2)/3"')])
def test_a_label_may_be_written_as_in_other_lookups(load_text: Load, keys: tuple[str, str]) -> None:
    written = LISTS.replace("(1,2)", keys[0]).replace("(2,2)/3", keys[1])
    assert ids(load_text(TEXT + written)) == ids(load_text(TEXT + LISTS))


def test_networks_of_extensions_have_lists_by_their_labels(tmp_path: Path) -> None:
    lists = "{values: {'(1,4)': [1, 1, 2], mlp 32x3: [1, 2, 4], Mlp 64x4: [1, 1, 1, 3]}}"
    weights = {cell.network: None for cell in load(documented.write(tmp_path)).cells}
    for trial in load(documented.write(tmp_path, weights=lists)).trials:
        weights[trial.cell.network] = trial.config.regime.weights.values
    assert weights == {"(1,4)": (1, 1, 2), "mlp 32x3": (1, 2, 4), "mlp 64x4": (1, 1, 1, 3)}


def test_lists_stand_beside_weights_of_an_extension(tmp_path: Path, load_text: Load) -> None:
    (tmp_path / "ramp.py").write_text(RAMP)
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("{weights: constant}", "{weights: ramp}") + LISTS + "extensions: [ramp.py]\n")
    beside, plain = ids(load(path)), ids(load_text(TEXT + LISTS))
    assert {cell for cell in plain if beside[cell] != plain[cell]} == {("even", "(1,2)"), ("even", "(2,2)/3")}
    path.write_text(path.read_text().replace("[1, 3]", "[1, -3]").replace("values:", "valuse: 1\n  values:"))
    with pytest.raises(SweepError) as caught:
        load(path)
    assert "weights.valuse: unknown key; allowed: name, normalize, values (did you mean values?)" in str(caught.value)
    assert "weights.values.(2,2)/3: values.1 is -3.0, must be at least 0" in str(caught.value)


def test_each_network_trains_on_its_list(load_text: Load) -> None:
    trials = [trial for trial in load_text(TEXT + LISTS).trials if trial.cell.method == "ann"]
    results = {trial.cell.network: train(trial.config, device="cpu", threads=1) for trial in trials}
    assert {label: len(result.errors) for label, result in results.items()} == {"(1,2)": 3, "(2,2)/3": 2}
    assert {result.state for result in results.values()} == {"finished"}


# What is refused


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    (2,2)/3: [1, 3]\n",
            "",
            "line 11: weights.values: has no list for (2,2)/3, only for (1,2); must have one for each network of the s",
        ),
        (
            "[1, 3]\n",
            "[1, 3]\n    (2,2)/4: [1]\n",
            "line 14: weights.values.(2,2)/4: no network of the sweep is called '(2,2)/4'; allowed: (1,2), (2,2)/3 "
            "(did you mean (2,2)/3?)",
        ),
        (
            "[1, 3]\n",
            "[1, 3]\n    1, 2: [1, 1, 1]\n",
            "line 14: weights.values.1, 2: is a second list for network (1,2), after '(1,2)'; give one",
        ),
        (
            "[1, 3]",
            "[1, 1, 3]",
            "line 13: weights.values.(2,2)/3: network (2,2)/3: weights values are 3, must be 2, one for each predict",
        ),
        ("[1, 3]", "[-1, 3]", "line 13: weights.values.(2,2)/3: values.0 is -1.0, must be at least 0"),
        ("[1, 3]", "[.inf, 3]", "line 13: weights.values.(2,2)/3: values.0 is inf, must be a finite number"),
        ("[1, 3]", "[0, 0]", "line 13: weights.values.(2,2)/3: values are all 0, must hold one above 0"),
        ("[1, 3]", "[]", "line 13: weights.values.(2,2)/3: is empty; must be a number for each prediction"),
        ("[1, 3]", "sieve", "line 13: weights.values.(2,2)/3: given 'sieve'; must be a valid list"),
        ("[1, 3]", "", "line 13: weights.values.(2,2)/3: given None; must be a valid list"),
        ("[1, 3]", "[1, x]", "line 13: weights.values.(2,2)/3.1: given 'x'; must be a valid number"),
        ("[1, 3]", "[1, yes]", "line 13: weights.values.(2,2)/3.1: given True; yes and no, true and false are allowed"),
        ("  values:", "  name: sieve\n  values:", "line 11: weights.name: given 'sieve'; must be 'values'"),
        (
            "  values:",
            "  normalize: half\n  values:",
            "line 11: weights.normalize: given 'half'; must be 'sum_to_one', ",
        ),
        (LISTS, "  values: 3\n", f"line 11: weights.values: given 3; {ALLOWED}"),
        (LISTS, "  values:\n", f"line 11: weights.values: given None; {ALLOWED}"),
        (LISTS, "  values: []\n", f"line 11: weights.values: given []; {ALLOWED}"),
        (
            LISTS,
            "  values: {}\n",
            "line 11: weights.values: has no list for (1,2), (2,2)/3; must have one for each network of the sweep",
        ),
        (
            LISTS,
            "  values\n",
            "line 10: weights: no weights are named 'values'; allowed: constant, linear, expb2, expb0.5, half_end, "
            "sieve, opt(k), or a list as {values: [1, 2]}",
        ),
        (
            "{weights: constant}",
            "{weights: {values: {'(1,2)': [1, 1, 1]}}}",
            "line 7: methods.even.weights.values: has no list for (2,2)/3, only for (1,2); must have one",
        ),
        (
            "{weights: constant}",
            "{weights: {values: {'(1,2)': [1, 1], '(2,2)/3': [1, 2]}}}",
            "line 7: methods.even.weights.values.(1,2): network (1,2): weights values are 2, must be 3, one for each",
        ),
    ],
)
def test_a_fault_is_told_in_one_line(load_text: Load, old: str, new: str, message: str) -> None:
    text = TEXT + LISTS
    assert text.count(old) == 1
    (line,) = faults(load_text, text.replace(old, new))
    assert line.startswith(message)


def test_all_faults_of_lists_are_told_at_once(load_text: Load) -> None:
    text = TEXT.replace("period: 3}]", "period: 3}, {n: 3, c: 2}, {n: 4, c: 2}]") + (
        "  values:\n    (1,2): [1, 2]\n    1,2: [1, 1, 2]\n    (2,2)/3: [0, 0]\n    (3,3): [1]\n    (3,2): x\n"
    )
    assert [line.partition("; ")[0] for line in faults(load_text, text)] == [
        "line 11: weights.values: has no list for (4,2), only for (1,2), (2,2)/3, (3,2)",
        "line 12: weights.values.(1,2): network (1,2): weights values are 2, must be 3, one for each prediction",
        "line 13: weights.values.1,2: is a second list for network (1,2), after '(1,2)'",
        "line 14: weights.values.(2,2)/3: values are all 0, must hold one above 0",
        "line 15: weights.values.(3,3): no network of the sweep is called '(3,3)'",
        "line 16: weights.values.(3,2): given 'x'",
    ]


def test_a_list_may_be_of_a_network_that_has_a_fault(load_text: Load) -> None:
    (line,) = faults(load_text, (TEXT + LISTS).replace("period: 3", "period: 7"))
    assert line == "line 2: networks.1: period is 7, must be at most 3n = 6"


def test_a_comma_in_braces_is_told_as_such(load_text: Load) -> None:
    """YAML reads two keys, ``(1`` and ``2)``."""
    text = TEXT + "  values: {(1,2): [1, 1, 2], (2,2)/3: [1, 3]}\n"
    advice = "in braces YAML ends a key at its comma; quote the whole key, or write one key a line, without braces"
    assert faults(load_text, text) == [f"line 11: weights.values.(1: {advice}", f"line 11: weights.values.(2: {advice}"]


def test_one_key_does_not_stand_for_two_networks(tmp_path: Path) -> None:
    networks = "[{name: mlp, width: 32}, {name: mlp, width: 33}]"
    path = documented.write(tmp_path, networks=networks, weights="{values: {mlp: [1, 2, 4]}}")
    nets = tmp_path / "nets.py"
    nets.write_text(nets.read_text().replace('f"mlp {self.width}x{self.depth}"', '"mlp" if self.width < 33 else "MLP"'))
    with pytest.raises(SweepError, match=r"values\.mlp: means networks mlp and MLP; must be the label of one"):
        load(path)
    path.write_text(path.read_text().replace("{mlp: [1, 2, 4]}", "{mlp: [1, 2, 4], MLP: [1, 1, 1]}"))
    assert {trial.config.regime.weights.values for trial in load(path).trials} == {(1, 2, 4), (1, 1, 1)}


def test_a_label_that_raises_is_one_fault(tmp_path: Path) -> None:
    path = documented.write(tmp_path, networks="[{name: mlp}]", weights="{values: {mlp 64x3: [1, 2, 4]}}")
    nets = tmp_path / "nets.py"
    nets.write_text(nets.read_text().replace("{self.width}x", "{self.wdth}x"))
    with pytest.raises(SweepError, match=r"1 fault\n  line 3: networks.0: its label raises AttributeError"):
        load(path)
