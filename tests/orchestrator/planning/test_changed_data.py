"""A plan says why trials run again whose data have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from anytime_core.config import DataConfig, OwnData
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import changed_data
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.report import Report
from orchestrator.sweep.trial import Trial

OWN = OwnData(content="a" * 16, class_names=("cat", "dog"), channels=3, size=8, train_images=90, test_images=9)


def sweep_of(trial: Trial) -> Sweep:
    return Sweep(
        name="mine", description="", path=Path(), trials=(trial,), cells={trial.cell: trial.id}, report=Report()
    )


def ended(make_trial: Callable[..., Trial], make_record: Callable[..., Any], ledger: Ledger, own: OwnData) -> Trial:
    trial = make_trial(data=DataConfig(name="pets", own=own))
    ledger.finish(ledger.begin(trial), make_record(trial, (50.0,) * len(trial.config.predicting_units)))
    return trial


def test_what_has_changed_is_told(make_trial, make_record, ledger) -> None:
    before = ended(make_trial, make_record, ledger, OWN)
    now = make_trial(data=DataConfig(name="pets", own=replace(OWN, content="b" * 16, train_images=91)))
    assert list(changed_data.notes(sweep_of(now), [before.id], ledger)) == [
        f"pets has changed since this sweep last ran: it was {'a' * 16} with 90 training images, "
        f"and is {'b' * 16} with 91 training images; its trials run again"
    ]


def test_new_names_of_classes_are_told(make_trial, make_record, ledger) -> None:
    before = ended(make_trial, make_record, ledger, OWN)
    now = make_trial(data=DataConfig(name="pets", own=replace(OWN, class_names=("cat", "wolf"))))
    (note,) = changed_data.notes(sweep_of(now), [before.id], ledger)
    assert "with cat/dog classes, and is" in note
    assert "with cat/wolf classes; its trials run again" in note


def test_nothing_is_told_of_what_is_the_same_or_was_never_there(make_trial, make_record, ledger) -> None:
    before = ended(make_trial, make_record, ledger, OWN)
    assert list(changed_data.notes(sweep_of(before), [before.id], ledger)) == []
    assert list(changed_data.notes(sweep_of(before), [], ledger)) == []
    assert list(changed_data.notes(sweep_of(make_trial()), [before.id], ledger)) == []
