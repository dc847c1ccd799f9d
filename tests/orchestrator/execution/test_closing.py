"""Tables are shown once, as soon as nothing is left to train, and whatever becomes of the rest."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from orchestrator.execution.closing import Closing
from orchestrator.report import publish
from orchestrator.report.losses import Losses

TEXT = """
name: small
networks: [{n: 1, c: 4}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {batch_size: 64}
"""


@pytest.fixture
def ended(load_text, ledger, make_record, make_epochs):
    """A sweep whose trials have all ended."""
    sweep = load_text(TEXT)
    for trial in sweep.trials:
        units = trial.config.predicting_units
        record = make_record(trial, tuple(50.0 - unit for unit in units))
        attempt = ledger.begin(trial)
        ledger.write_epochs(attempt, units, record.result.costs, make_epochs(2, len(units)))
        ledger.finish(attempt, record)
    return sweep


def test_tables_are_shown_once_and_the_files_are_those_of_a_report(ended, ledger, tmp_path) -> None:
    shown, said = [], []
    closing = Closing(ledger, shown.append, said.append)
    closing.begin(ended)
    closing.show(ended)
    closing.check()
    assert shown == [ended]
    assert said == ["the report and MLflow's last runs follow"]

    losses = Losses()
    publish.write(ended, ledger, tmp_path / "ahead", {}, losses=losses, drawing=closing.drawing)
    publish.write(ended, ledger, tmp_path / "plain", {}, losses=losses)
    assert not losses
    names = sorted(path.name for path in (tmp_path / "plain" / "figures").iterdir())
    assert names
    for name in names:
        assert (tmp_path / "ahead/figures" / name).read_bytes() == (tmp_path / "plain/figures" / name).read_bytes()


def test_tables_reach_the_output_also_while_that_is_turned_away(ended, ledger, capsys) -> None:
    """As it is while Ray's cluster is there."""
    closing = Closing(ledger, lambda sweep: print("the tables"), lambda text: None)
    with redirect_stdout(io.StringIO()):
        closing.begin(ended)
        print("what Ray says")
    assert capsys.readouterr().out == "the tables\n"


def test_an_error_in_showing_is_raised_when_all_else_is_done(ended, ledger) -> None:
    def show(sweep) -> None:
        raise BrokenPipeError("nobody reads")

    closing = Closing(ledger, show, lambda text: None)
    closing.begin(ended)
    assert closing.drawing
    assert closing.drawing.take(Losses())[0]
    with pytest.raises(BrokenPipeError, match="nobody reads"):
        closing.check()


def test_a_figure_that_cannot_be_drawn_ahead_is_a_loss_of_the_report(ended, ledger, tmp_path, monkeypatch) -> None:
    def broken(*arguments) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(publish.figure_drawing, "draw", broken)
    closing, losses = Closing(ledger, lambda sweep: None, lambda text: None), Losses()
    closing.begin(ended)
    publish.write(ended, ledger, tmp_path, {}, losses=losses, drawing=closing.drawing)
    assert losses.lines
    assert all("no font" in line for line in losses.lines)
    assert (tmp_path / "report.txt").exists()
