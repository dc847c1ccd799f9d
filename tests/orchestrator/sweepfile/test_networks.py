"""Networks of extensions in a sweep file: named, identified, refused with their lines, in tables beside ResNets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import documented
import pytest

from anytime_core.config import NetworkConfig, Opt, parts_of, to_dict
from anytime_core.cost import nearest_index, trial_costs
from orchestrator.analysis import sequences, tables, trace
from orchestrator.errors import SweepError, UsageError
from orchestrator.extensions import importing
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import changes, plan
from orchestrator.report import layouts
from orchestrator.report.views import render
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState, config_of
from orchestrator.sweepfile.load import load

pytestmark = pytest.mark.usefixtures("trusted")
OPT = "{ann: {}, opt: {regime: opt, at: [1/4, 3/4, 1]}}"


def loaded(folder: Path, **changed: str) -> Sweep:
    return load(documented.write(folder, **changed))


def faults(folder: Path, **changed: str) -> list[str]:
    with pytest.raises(SweepError) as error:
        loaded(folder, **changed)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def test_the_pages_sweep_names_its_networks_by_their_labels(tmp_path: Path) -> None:
    sweep = loaded(tmp_path)
    assert Counter(cell.network for cell in sweep.cells) == {"(1,4)": 2, "mlp 32x3": 2, "mlp 64x4": 2}
    own = trace.find(sweep, "aann mlp 32x3")
    assert [part.name for part in parts_of(own.config)] == ["mlp"]
    written = to_dict(own.config)["network"]
    assert written == {"name": "mlp", "source": sweep.extensions[0].source, "width": 32, "depth": 3}
    assert trial_costs(own.config) == [64 * 32 + 320, 64 * 32 + 640 + 1024, 64 * 32 + 960 + 2048]


def test_a_network_of_ours_has_the_identity_that_it_has_alone(
    tmp_path: Path, load_text: Callable[[str], Sweep]
) -> None:
    beside = {trial.id for trial in loaded(tmp_path).trials if isinstance(trial.config.network, NetworkConfig)}
    text = documented.block("yaml").replace("extensions: [nets.py]\n", "")
    alone = load_text("".join(line for line in text.splitlines(keepends=True) if "mlp" not in line))
    assert beside == {trial.id for trial in alone.trials}


def test_an_optimum_stands_for_the_fractions_that_its_prediction_is_nearest_to(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, networks="[{name: mlp, width: 32}]", methods=OPT)
    optima = {cell.unit: cell for cell in sweep.cells if cell.unit is not None}
    whole = trial_costs(trace.find(sweep, "ann").config)
    assert [cost / whole[-1] for cost in whole] == pytest.approx([0.468, 0.734, 1], abs=1e-3)
    assert {unit: cell.fractions for unit, cell in optima.items()} == {1: ("1/4", "1/2"), 2: ("3/4",), 3: ("1",)}
    alone = trace.find(sweep, "opt unit 2")
    assert isinstance(alone.config.regime, Opt)
    assert trial_costs(alone.config) == [whole[1]]


def test_of_two_predictions_that_are_as_near_the_later_stands_for_a_fraction() -> None:
    assert nearest_index([10, 30, 40], Fraction(1, 2)) == 1
    assert nearest_index([10, 20, 30, 40], Fraction(5, 8)) == 2


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ("[{name: lstm}]", "line 3: networks.0: no network is named 'lstm'; allowed: feedback, msdnet, mlp, and"),
        (
            "[{name: mlp, widht: 3}]",
            "line 3: networks.0.widht: unknown key; allowed: width, depth (did you mean width?)",
        ),
        ("[{name: mlp, width: wide}]", "line 3: networks.0.width: given 'wide'; must be a valid integer"),
        ("[{name: mlp}, {name: mlp, width: 64}]", "line 3: networks.1: is the same as networks.0"),
        (
            "[{name: mlp, depth: 0}]",
            "line 3: networks.0: on digits, network mlp has 0 predictions, must have at least 1",
        ),
        ("[{name: mlp, width: -1}]", "line 3: networks.0: on digits, network mlp does not run on an image [1,8,8]"),
    ],
)
def test_a_fault_of_a_network_is_told_with_its_line(tmp_path: Path, networks: str, expected: str) -> None:
    (line,) = faults(tmp_path, networks=networks)
    assert line.startswith(expected)


def test_a_network_without_an_extension_says_what_is_allowed(load_text: Callable[[str], Sweep]) -> None:
    with pytest.raises(SweepError, match="no network is named 'mlp'; allowed: feedback, msdnet, and a ResNet, which"):
        load_text("name: a\nnetworks: [{name: mlp}]\ndatasets: [digits]\nmethods: {ann: {}}\n")


def test_two_networks_of_one_label_are_refused(tmp_path: Path) -> None:
    path = documented.write(tmp_path)
    nets = tmp_path / "nets.py"
    nets.write_text(nets.read_text().replace('f"mlp {self.width}x{self.depth}"', '"twin"'))
    with pytest.raises(SweepError) as error:
        load(path)
    assert "networks.2: is called twin in tables, as networks.1 is" in str(error.value)
    nets.write_text(nets.read_text().replace('"twin"', '"(1,4)"'))
    with pytest.raises(
        SweepError, match=r"its label is '\(1,4\)', must be one line, up to 64 long, a letter or digit first"
    ):
        load(path)


def test_what_the_methods_need_and_a_network_lacks_is_told_at_once(tmp_path: Path) -> None:
    path = documented.write(tmp_path, methods="{ann: {}, opt: {regime: opt}, late: {regime: midfeat}}")
    nets = tmp_path / "nets.py"
    nets.write_text(nets.read_text().replace("def up_to", "def up").replace("def head", "def hat"))
    with pytest.raises(SweepError) as error:
        load(path)
    told = str(error.value)
    assert told.count("networks.1: network mlp has no up_to(prediction), which opt needs") == 1
    assert told.count("networks.1: network mlp has no head(prediction), which midfeat needs") == 1


def test_all_layouts_show_both_kinds_and_say_what_they_leave_out(tmp_path: Path, make_record) -> None:
    sweep = loaded(tmp_path, methods=OPT.replace("ann: {}", "ann: {}, aann: {strategy: aann}"))
    records = {
        trial.id: make_record(trial, tuple(40.0 - index for index, _ in enumerate(trial.config.predicting_units)))
        for trial in sweep.trials
    }
    built = tables.build(sweep, records, dict.fromkeys(records, TrialState.FINISHED))
    labels = {"(1,4)", "mlp 32x3", "mlp 64x4"}
    for name, layout in layouts.LAYOUTS.items():
        shown = layout.arrange(built)
        for form in ("table", "markdown", "latex", "csv", "json"):
            text = render.show([shown], form)
            if name in ("errors", "methods"):
                assert all(label in text for label in labels), (name, form)
        if name in ("periods", "sequence"):
            assert any("Left out" in note and "mlp 32x3, mlp 64x4" in note for note in shown.notes)
    assert [family[0].network for family in sequences.families(sweep.cells)] == ["(1,4)"]
    own = [row for row in built.errors if row.network == "mlp 32x3" and row.method == "opt"]
    assert own[0].errors == {"1/4": 40.0, "1/2": 40.0, "3/4": 40.0, "1": 40.0, "AE": 40.0}


def test_a_record_whose_network_is_not_here_is_still_read(tmp_path: Path, make_record) -> None:
    sweep = loaded(tmp_path)
    kept = make_record(trace.find(sweep, "ann mlp 32x3"), (3.0, 2.0, 1.0))
    importing.activate([])
    assert config_of(kept).network.label == "mlp"


def test_a_plan_says_that_the_file_of_a_network_changed(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    nets = tmp_path / "nets.py"
    nets.write_text(nets.read_text().replace(".relu()", ".tanh()"))
    after = load(tmp_path / "perceptrons.yaml")
    reasons = {changes.reason(trial.config, (), {after.extensions[0].source: "nets.py"}) for trial in after.trials}
    assert reasons == {"", "nets.py changed (network mlp)"}
    same = {trial.id for trial in before.trials} & {trial.id for trial in after.trials}
    assert len(same) == 2
    assert plan.make(after.trials, Ledger(tmp_path / "runs")).actions == {"run": 6}


def test_words_of_a_label_find_a_trial(tmp_path: Path) -> None:
    sweep = loaded(tmp_path)
    assert trace.find(sweep, "ANN mlp 64x4").cell.network == "mlp 64x4"
    with pytest.raises(UsageError, match="may be 2 trials"):
        trace.find(sweep, "64x4")
    with pytest.raises(UsageError, match="no cell"):
        trace.find(sweep, "mlp convolution")
