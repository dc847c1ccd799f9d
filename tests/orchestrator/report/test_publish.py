"""What a sweep leaves behind for its readers: one folder, one page, one summary run, all up to date."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from answered import drawn_outcomes

from anytime_core.files import LocalFolder
from orchestrator.analysis import trace
from orchestrator.errors import StorageError
from orchestrator.execution.forecast import forecast
from orchestrator.ledger import needs, notes
from orchestrator.ledger.ledger import Ledger
from orchestrator.places import Room
from orchestrator.report import publish, status
from orchestrator.report.figures import drawing
from orchestrator.report.losses import Losses
from orchestrator.sweep.grid import Sweep
from orchestrator.tracking.delivered import is_current, marks_of
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.uris import default_uri

TEXT = """
name: small
description: A sweep of one network.
networks: [{n: 1, c: 4}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt}, opt_all: {regime: opt, at: all}}
training: {batch_size: 64}
"""


@pytest.fixture
def fill(ledger, make_record, make_epochs) -> Callable[[Sweep], Ledger]:
    """Ends every trial; aann is better than ann by ten points, opt_all shares the trials of opt."""

    def filled(sweep: Sweep) -> Ledger:
        for trial in sweep.trials:
            units = trial.config.predicting_units
            top = {"ann": 60.0, "aann": 50.0}.get(trial.cell.method, 40.0)
            record = make_record(trial, tuple(top - unit for unit in units))
            attempt = ledger.begin(trial)
            ledger.write_epochs(attempt, units, record.result.costs, make_epochs(2, len(units)))
            ledger.finish(attempt, record)
        return ledger

    return filled


def asking(sweep: Sweep, **wishes: object) -> Sweep:
    return replace(sweep, report=sweep.report.model_copy(update=wishes))


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_figures_that_are_no_longer_asked_for_are_gone_and_other_files_stay(load_text, fill, tmp_path) -> None:
    sweep, folder = load_text(TEXT), tmp_path / "report"
    ledger = fill(sweep)
    publish.write(asking(sweep, figures=["units", "cost"]), ledger, folder, {}, losses=Losses())
    (folder / "figures" / "mine.png").write_bytes(b"of the user")
    publish.write(asking(sweep, figures=["cost"]), ledger, folder, {}, losses=Losses())
    assert {path.name for path in (folder / "figures").iterdir()} == {"cost.png", "cost.svg", "mine.png"}


def test_the_page_holds_tables_figures_and_the_command_that_makes_it(load_text, fill, tmp_path) -> None:
    sweep = asking(load_text(TEXT), figures=["cost"])
    ledger = fill(sweep)
    publish.write(sweep, ledger, tmp_path, {}, losses=Losses())
    text = (tmp_path / "report.html").read_text()
    assert "at fractions of the cost" in text
    assert "Wins over ann in %" in text
    assert text.index("aann against ann, errors") < text.index("We trained") < text.index("at fractions of the cost")
    assert (tmp_path / "report.txt").read_text().startswith("aann against ann, errors")
    assert (tmp_path / "verdicts.csv").read_text().startswith("method,baseline,metric,verdict,scope")
    assert text.count("data:image/svg+xml") == 1
    assert f"--storage {ledger.storage}" in re.sub(r"\s+", " ", text)


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_the_summary_run_holds_what_the_folder_holds(load_text, fill, tmp_path) -> None:
    """A change of what is asked for makes it out of date, and takes the files away that are no longer made."""
    sweep = asking(load_text(TEXT), figures=["cost", "units"])
    ledger, folder = fill(sweep), tmp_path / "report"
    uri = default_uri(ledger.storage)

    def summarised(sweep: Sweep) -> set[str]:
        with ledger.drive(sweep.name), Tracker(uri, sweep, ledger, pytest.fail) as tracker:
            pass
        tracker.summarise(folder, publish.headline(publish.write(sweep, ledger, folder, {}, losses=Losses())))
        return names_in(folder)

    assert "figures/units.png" in summarised(sweep)
    assert is_current(ledger, sweep, uri)
    changed = asking(sweep, figures=["cost"])
    assert not is_current(ledger, changed, uri)
    assert not is_current(ledger, asking(sweep, baseline="aann"), uri)
    kept = summarised(changed)
    assert is_current(ledger, changed, uri)
    (page,) = (ledger.storage / "mlflow" / "artifacts" / "small").glob("*/artifacts/report.html")
    assert names_in(page.parent) == kept
    assert not any("units" in name for name in kept)


def test_the_numbers_of_a_sweep_are_named_by_method_optimum_and_metric(load_text, fill) -> None:
    sweep = load_text(TEXT)
    found = publish.headline(status.read_tables(sweep, fill(sweep)))
    assert found["wins/aann/at_0.50"] == 100
    assert found["increase/aann/opt/at_1.00"] == found["increase/aann/opt_all/at_1.00"]
    assert found["increase/ann/opt/at_0.50"] == pytest.approx(100 * (59 / 38 - 1))
    assert found["increase/ann/opt_all/average"] == pytest.approx(100 * (58 / 38 - 1))
    assert found["trials/finished"] == len(sweep.trials)


def test_a_figure_that_cannot_be_drawn_is_named_with_its_reason(load_text, fill, tmp_path) -> None:
    sweep = asking(load_text(TEXT), figures=["periods", "cost"])
    found = publish.write(sweep, fill(sweep), tmp_path, {}, losses=Losses())
    note = "Figure periods is not drawn: no network has two periods."
    assert note in found.notes
    for name in ("report.txt", "report.html", "report.md", "report.tex"):
        assert note in (tmp_path / name).read_text(), name
    assert note in json.loads((tmp_path / "report.json").read_text())["notes"]


def test_a_folder_a_page_or_both_are_published_and_named_once_they_are_there(load_text, fill, tmp_path) -> None:
    sweep = asking(load_text(TEXT), figures=["periods", "cost"])
    ledger, said = fill(sweep), []

    def published(**places: Path) -> list[Path]:
        found = []
        for path in publish.publish(sweep, ledger, {}, said.append, losses=Losses(), **places):
            assert path.exists()
            found.append(path)
        return found

    alone, both, folder = tmp_path / "new" / "alone.html", tmp_path / "both.html", tmp_path / "report"
    assert published(page_file=alone) == [alone]
    assert published(folder=folder, page_file=both) == [folder, both]
    assert both.read_bytes() == (folder / publish.PAGE).read_bytes()
    assert "Error by cost" in alone.read_text()
    assert said == 2 * ["Figure periods is not drawn: no network has two periods."]


def test_the_page_has_an_explorer_of_the_trials_that_have_outcomes(load_text, fill, tmp_path, monkeypatch) -> None:
    """What goes wrong with it costs nothing else. A user who wants none has none."""
    sweep, losses = load_text(TEXT), Losses()
    ledger = fill(sweep)

    def shown(sweep: Sweep) -> bool:
        publish.write(sweep, ledger, tmp_path, {}, losses=losses)
        return 'id="explorer"' in (tmp_path / publish.PAGE).read_text()

    assert not shown(sweep)
    for number, trial in enumerate(sweep.trials):
        ledger.fill_outcomes(trial.id, {"test": drawn_outcomes(number, len(trial.config.predicting_units), 30, 10)})
    assert shown(sweep)
    assert not shown(asking(sweep, explorer=False))
    assert not losses

    def failing(*_: object) -> None:
        raise StorageError("the storage does not answer")

    monkeypatch.setattr(Ledger, "outcomes", failing)
    assert not shown(sweep)
    assert losses.lines == ["the explorer is not on the page: the storage does not answer"]
    assert "Wins over ann in %" in (tmp_path / publish.PAGE).read_text()


def test_an_error_in_drawing_costs_that_figure_alone_and_is_a_note_and_a_line(
    load_text, fill, tmp_path, monkeypatch
) -> None:
    sweep = asking(load_text(TEXT), figures=["cost", "units"])
    ledger, draw, losses = fill(sweep), drawing.draw, Losses()

    def failing(name: str, *rest: object) -> object:
        if name == "cost":
            raise ValueError("no such backend\nand more")
        return draw(name, *rest)

    monkeypatch.setattr(drawing, "draw", failing)
    found = publish.write(sweep, ledger, tmp_path, {}, losses=losses)
    line = "igure cost is not drawn: ValueError: no such backend"
    assert losses.lines == [f"f{line}"]
    assert found.notes[-1] == f"F{line}."
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"units.png", "units.svg"}
    for name in ("report.txt", "report.html", "report.md", "report.tex"):
        assert f"F{line}." in (tmp_path / name).read_text(), name


def test_a_figure_or_a_page_that_cannot_be_written_costs_no_table(load_text, fill, tmp_path, monkeypatch) -> None:
    sweep, folder = asking(load_text(TEXT), figures=["cost"]), tmp_path / "report"
    ledger, losses = fill(sweep), Losses()
    publish.write(sweep, ledger, folder, {}, losses=losses)
    assert not losses
    (folder / "figures" / "cost.svg").unlink()
    (folder / "figures" / "cost.svg").mkdir()
    monkeypatch.setattr(publish, "html", lambda *_, over: 1 / 0)
    publish.write(sweep, ledger, folder, {}, losses=losses)
    assert losses.lines == [
        f"figure cost is not written: {folder / 'figures' / 'cost.svg'}: Is a directory",
        f"{folder / publish.PAGE} is not written: ZeroDivisionError: division by zero",
    ]
    assert (folder / "report.txt").exists()
    assert not (folder / publish.PAGE).exists()  # the one of before


@pytest.mark.parametrize("below", ["notes", "sweeps/small/progress.json", "sweeps/small/trials.json", "reruns"])
def test_what_lies_beside_results_and_cannot_be_read_costs_a_warning_and_no_result(
    load_text, fill, tmp_path, monkeypatch, caplog, below
) -> None:
    """As in a folder of another user's."""
    sweep = asking(load_text(TEXT), figures=["cost"])
    ledger, losses = fill(sweep), Losses()
    notes.add(ledger, "sweeps", sweep.name, "a note")
    publish.write(sweep, ledger, tmp_path / "report", {}, losses=losses)
    ledger.write_status(sweep.name, {"time": 1.0, "seconds_left": None})
    needs.declare(sweep, ledger)

    def refusing(call):
        def called(self, name="", *more):
            if self._name(name).startswith(below):
                raise PermissionError(errno.EACCES, "Permission denied", name)
            return call(self, name, *more)

        return called

    for name in ("read", "names"):
        monkeypatch.setattr(LocalFolder, name, refusing(getattr(LocalFolder, name)))
    kept = (tmp_path / "report" / "report.txt").read_text()
    publish.write(sweep, ledger, tmp_path / "report", {}, losses=losses)
    assert not losses
    assert (tmp_path / "report" / "report.txt").read_text() == kept
    assert (tmp_path / "report" / publish.PAGE).exists()
    assert {it.state for it in status.status(sweep, ledger).trials} == {"finished"}
    assert forecast(sweep, ledger, Room()).plan.actions == {"keep": len(sweep.trials)}
    assert trace.trace(sweep, sweep.trials[0], ledger).record
    assert marks_of(ledger, sweep).keys() == {*sweep.ids}
    assert below == "reruns" or f"{below}: cannot be read: Permission denied" in caplog.text
