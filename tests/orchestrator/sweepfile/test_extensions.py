"""What a sweep file says of extensions: names, values and grids are checked by line, and ids follow the code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from written import RAMP

from anytime_core.config import KINDS, parts_of
from orchestrator.errors import SweepError
from orchestrator.report.figures import FIGURES
from orchestrator.report.layouts import LAYOUTS
from orchestrator.stats.significance import TESTS
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile import trust
from orchestrator.sweepfile.load import activate, load

EXTENSION = f"""{RAMP}
from anytime_core.extend import Strategy

@register("still")
@dataclass(frozen=True, kw_only=True)
class Still(Strategy):
    share: float
    times: int = 2
"""
REPORTS = """from orchestrator.extend import Entry, Column, Table, figure, table, win_test

@win_test("coin")
def coin(differences):
    return 0.5

@table("counts")
def counts(tables):
    return Table(name="counts", title="Lines", columns=(Column(name="lines"),), rows=((Entry(value=tables.zero),),))

@figure("flat", "Flat")
def flat(results):
    return []
"""
REST = "networks: [{n: 1, c: 2}]\ndatasets: [digits]\n"
METHODS = "  ann: {}\n  ramp: {weights: {name: ramp, power: 2}}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(trust.FOLDERS, str(tmp_path))
    (tmp_path / "ramp.py").write_text(EXTENSION)
    (tmp_path / "reports.py").write_text(REPORTS)
    yield tmp_path
    activate([])


def loaded(folder: Path, methods: str = METHODS, rest: str = "", extensions: str = "[ramp.py]") -> Sweep:
    path = folder / "mine.yaml"
    path.write_text(f"name: mine\nextensions: {extensions}\n{REST}methods:\n{methods}{rest}")
    return load(path)


def faults(folder: Path, *arguments: str, **options: str) -> list[str]:
    with pytest.raises(SweepError) as error:
        loaded(folder, *arguments, **options)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def ids(sweep: Sweep) -> dict[str, str]:
    return {cell.method: trial_id for cell, trial_id in sweep.cells.items()}


def test_a_part_may_be_named_and_given_values(folder) -> None:
    sweep = loaded(
        folder, "  short: {weights: ramp}\n  long: {weights: {name: ramp, power: 2}}\n", "report: {baseline: short}"
    )
    powers = {parts_of(trial.config)[0].power for trial in sweep.trials}
    assert powers == {1.0, 2.0}
    assert [extension.given for extension in sweep.extensions] == ["ramp.py"]


def test_ids_follow_what_is_said_and_nothing_else(folder) -> None:
    before = ids(loaded(folder))
    for same in (
        "  ramp: {weights: {power: 2.0, name: ramp}}\n  ann: {}\n",
        "  ann: {}\n  ramp:\n    weights:\n      normalize: sum_to_one\n      power: 2\n      name: ramp\n",
    ):
        assert ids(loaded(folder, same)) == before
    assert ids(loaded(folder, METHODS.replace("2", "3")))["ramp"] != before["ramp"]
    (folder / "ramp.py").write_text(f"# why\n{EXTENSION}".replace("\n", "\r\n"))
    assert ids(loaded(folder)) == before
    (folder / "ramp.py").write_text(EXTENSION.replace("0.01", "0.02"))
    after = ids(loaded(folder))
    assert after["ramp"] != before["ramp"]
    assert after["ann"] == before["ann"]


def test_a_grid_varies_the_fields_of_a_part(folder) -> None:
    sweep = loaded(folder, "  ann: {}\n  ramp: {weights: ramp, grid: {power: [0.5, 1, 2]}}\n")
    assert {cell.method for cell in sweep.cells} == {"ann", "ramp power=0.5", "ramp power=1", "ramp power=2"}
    assert len(sweep.trials) == 4


FAULTS = {
    "  ann: {weights: ramps}\n": "line 6: methods.ann.weights: no weights are named 'ramps'; allowed: constant,",
    "  ann: {weights: {name: ramp, powr: 2}}\n": "unknown key; allowed: normalize, power (did you mean power?)",
    "  ann: {weights: {name: ramp, power: high}}\n": "line 6: methods.ann.weights.power: given 'high'; must be a valid",
    "  ann: {strategy: still}\n": "line 6: methods.ann.strategy.share: is missing",
    "  ann: {strategy: {name: still, share: 1, times: 1.5}}\n": "methods.ann.strategy.times: given 1.5; must be",
    "  ann: {objective: ramp}\n": "no objective is named 'ramp'; allowed: ",
    "  ann: {weights: ramp, grid: {share: [1]}}\n": "grid: the method has no share; allowed: ",
    "  ann: {regime: ramp}\n": "no regime is named 'ramp'; allowed: ",
}


@pytest.mark.parametrize("methods", FAULTS)
def test_a_fault_is_told_with_its_line(methods, folder) -> None:
    said = faults(folder, methods)
    assert any(FAULTS[methods] in line for line in said), said


def test_extensions_that_are_not_there_are_told_at_once(folder) -> None:
    said = faults(folder, extensions="[ramp.py, gone.py, no_such_lab]")
    assert [line.split(": ")[1] for line in said] == ["extensions.1", "extensions.2"]


def test_weights_that_go_wrong_are_told_with_the_line_of_the_code(folder) -> None:
    (folder / "ramp.py").write_text(EXTENSION.replace("self.power for", "self.pwr for"))
    said = faults(folder)
    assert any(line.startswith("line 7: methods.ramp.weights: network (1,2): ") for line in said), said
    assert any(
        "ramp.py, line 10: weights ramp: AttributeError: 'Ramp' object has no attribute 'pwr'" in s for s in said
    )


def test_weights_of_an_extension_and_decay_by_weights_are_refused_together(folder) -> None:
    said = faults(folder, rest="training: {head_decay: loss_weight, steps: 2, learning_rate: {0: 0.1}}\n")
    assert any("methods.ramp: training.head_decay is loss_weight, must be uniform: weights ramp" in s for s in said), (
        said
    )


def test_reports_may_name_what_a_listed_extension_adds_and_no_other(folder) -> None:
    names = "report: {p_value: coin, tables: [counts], figures: [flat]}\n"
    sweep = loaded(folder, rest=names, extensions="[ramp.py, reports.py]")
    assert sweep.report.tables == ["counts"]
    assert TESTS["coin"](None) == 0.5
    assert FIGURES["flat"].caption == "Flat"
    assert len(faults(folder, rest=names)) == 3
    assert not {"coin", "counts", "flat"} & {*TESTS, *LAYOUTS, *FIGURES}


def test_an_error_in_a_table_is_told_with_its_line(folder) -> None:
    loaded(folder, extensions="[ramp.py, reports.py]")
    with pytest.raises(Exception, match=r"^table counts: .*reports\.py, line 9: AttributeError: ") as error:
        LAYOUTS["counts"].arrange(object())
    assert error.value.exit_code == 2


@pytest.mark.parametrize(("add", "name"), [("win_test", "wilcoxon"), ("table", "errors"), ("figure", "cost")])
def test_a_report_of_ours_is_not_replaced(add, name, folder) -> None:
    """Each time that it is tried."""
    ours = {**TESTS}, {**LAYOUTS}, {**FIGURES}
    arguments = f"{name!r}, 'x'" if add == "figure" else repr(name)
    (folder / "reports.py").write_text(
        f"from orchestrator.extend import *\n@{add}({arguments})\ndef f(given):\n    pass\n"
    )
    for _ in range(2):
        said = faults(folder, extensions="[ramp.py, reports.py]")
        assert said == [f"line 2: extensions: {add} {name} is one of ours; give it another name"]
    assert ours == ({**TESTS}, {**LAYOUTS}, {**FIGURES})


def test_a_sweep_without_extensions_knows_none(folder) -> None:
    loaded(folder)
    assert KINDS["weights"]
    loaded(folder, "  ann: {}\n", extensions="[]")
    assert not any(KINDS.values())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("        return ", "        raise SystemExit(0)\n        return ", "weights ramp: SystemExit: 0"),
        (
            "    def weights",
            "    def __post_init__(self):\n        raise SystemExit(0)\n\n    def weights",
            "SystemExit: 0",
        ),
    ],
)
def test_an_exit_of_an_extension_is_a_fault(folder, old: str, new: str, expected: str) -> None:
    (folder / "ramp.py").write_text(EXTENSION.replace(old, new, 1))
    (line,) = faults(folder)
    assert expected in line
