"""Two trials differ in what they were, in what trained them, and from one epoch on in their numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from anytime_core.config import Aann, Joint
from orchestrator.analysis.trial_difference import PARTS, Differing, Side, compare, side
from orchestrator.errors import UsageError
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.trial import Trial, TrialState

MADE = {
    "code_version": "1a2b3c",
    "sources": "0123456789ab",
    "data_hash": "d" * 12,
    "device_name": "a CPU",
    "torch": "2.13",
    "network_hash": "f" * 16,
}


@pytest.fixture
def make_side(make_trial, make_record, make_epochs):
    """A trial that finished after three epochs with errors of 8, 4 and 2 %, but for ``changes``."""

    def made(errors=(8.0, 4.0, 2.0), epochs=None, trial: Trial | None = None, **provenance: Any) -> Side:
        trial = trial or make_trial()
        record = make_record(trial, errors)
        return Side(
            trial=trial,
            storage="runs",
            state=record.state,
            record=replace(record, provenance={**record.provenance, **MADE, **provenance}),
            epochs=tuple(make_epochs(3, 3) if epochs is None else epochs),
            costs=record.result.costs,
        )

    return made


def test_a_trial_is_the_same_as_itself(make_side) -> None:
    found = compare(make_side(), make_side(host="there"))
    assert found.same_bits is True
    assert set(found.parts.values()) == {"same"}
    assert (found.differing, found.first) == ((), None)
    assert [(it.metric, it.a, it.b, it.first) for it in found.errors][-2:] == [
        ("1", 2.0, 2.0, None),
        ("AE", 14 / 3, 14 / 3, None),
    ]


def test_each_difference_belongs_to_a_part(make_side, make_trial) -> None:
    other = make_trial(Joint(strategy=Aann()), seed=7)
    found = compare(
        make_side(),
        make_side((8.0, 4.0, 3.0), trial=other, sources="ba9876543210", torch="2.14", network_hash="e" * 16),
    )
    assert found.parts == dict.fromkeys(PARTS, "other") | {"data": "same"}
    assert Differing(part="config", what="seed", a=0, b=7) in found.differing
    assert Differing(part="config", what="regime.strategy.name", a="ann", b="aann") in found.differing
    assert [it.what for it in found.differing if it.part != "config"] == ["sources", "torch", "network_hash"]
    assert found.same_bits is False
    assert {it.metric: it.difference for it in found.errors}["1"] == 1.0


def test_other_sources_are_the_same_code_where_the_trial_does_not_come_to_them(make_side) -> None:
    """Such as a comment, or a strategy that it does not have."""
    other = {"code_version": "4d5e6f", "sources": "ba9876543210"}
    for own, code in (("c" * 12, "same"), ("e" * 12, "other")):
        found = compare(make_side(code="c" * 12), make_side(code=own, **other))
        assert found.parts["code"] == code
        named = [it.what for it in found.differing]
        assert named == ([] if code == "same" else ["code_version", "sources", "code"])


def test_what_nobody_wrote_down_is_unknown(make_side) -> None:
    lost = {"code_version": "", "sources": "", "data_hash": None, "network_hash": ""}
    found = compare(make_side(), make_side(**lost))
    assert found.parts == dict.fromkeys(PARTS, "same") | {"code": "other", "data": "other"}
    found = compare(make_side(**lost), make_side(**lost))
    assert (found.parts["code"], found.parts["data"], found.same_bits) == ("unknown", "unknown", None)


def test_curves_say_where_they_part_and_where_most(make_side, make_epochs) -> None:
    """The last prediction but one moves, by 0.5 points in the second epoch and by 2 in the third."""
    epochs = make_epochs(3, 3)
    moved = [
        replace(it, test_error=(it.test_error[0], it.test_error[1] + gap, it.test_error[2]))
        for it, gap in zip(epochs, (0.0, 0.5, -2.0), strict=True)
    ]
    found = compare(make_side(), make_side(epochs=moved))
    by_metric = {it.metric: it for it in found.errors}
    costs = make_side().record.result.costs
    metric = next(name for name, share in (("1/2", 0.5), ("3/4", 0.75)) if costs[1] <= share * costs[2])
    pair = by_metric[metric]
    assert (pair.a, pair.b) == (4.0, 4.0)
    assert (pair.first, pair.most, pair.at) == (2, -2.0, 3)
    assert (by_metric["1"].first, by_metric["1"].most) == (None, None)
    assert by_metric["AE"].most == pytest.approx(-2 / 3)
    assert found.first is not None
    assert found.first.what == "test_error of prediction 2 in epoch 2"
    assert found.parts["numbers"] == "other"
    assert found.same_bits is False


def test_epochs_that_one_lacks_are_not_compared(make_side, make_epochs) -> None:
    found = compare(make_side(), make_side(epochs=make_epochs(2, 3)))
    assert found.first is not None
    assert found.first.what == "number of epochs"
    assert {it.first for it in found.errors} == {None}
    assert compare(make_side(), make_side(epochs=[])).same_bits is None


def test_epochs_that_one_has_not_evaluated_differ_in_what_they_trained_alone(make_side, make_epochs) -> None:
    epochs = make_epochs(3, 3)
    fewer = [replace(it, test_loss=(), test_error=()) for it in epochs[:2]] + epochs[2:]
    assert compare(make_side(epochs=fewer), make_side()).same_bits is True
    moved = [replace(it, test_error=tuple(error + 1 for error in it.test_error)) for it in epochs]
    found = compare(make_side(epochs=fewer), make_side(epochs=moved))
    assert found.first is not None
    assert found.first.what == "test_error of prediction 1 in epoch 3"
    assert {(it.first, it.most) for it in found.errors if it.metric == "1"} == {(3, 1.0)}


def test_a_trial_that_has_not_ended_has_curves_all_the_same(
    ledger: Ledger, make_trial, make_epochs, make_side, make_record
) -> None:
    trial = make_trial()
    ledger.write_epochs(ledger.begin(trial), (1, 2, 3), make_record(trial, None).result.costs, make_epochs(2, 3))
    begun = side(trial, ledger)
    assert (begun.state, begun.record) == (TrialState.INTERRUPTED, None)
    found = compare(make_side(), begun)
    assert Differing(part="numbers", what="state", a="finished", b="interrupted") in found.differing
    assert (found.parts["config"], found.parts["code"]) == ("same", "unknown")
    assert {it.metric: (it.a, it.b) for it in found.errors}["1"] == (2.0, None)
    other = make_epochs(2, 3, test_error=(1.0, 2.0, 3.0))
    assert {it.metric: it.first for it in compare(replace(begun, epochs=tuple(other)), begun).errors}["1"] == 1


def test_a_trial_that_is_not_chosen_yet_cannot_be_compared(ledger: Ledger, make_trial) -> None:
    with pytest.raises(UsageError, match=r"ann \(1,2\) digits seed 0: 3 points are to be tried"):
        side(replace(make_trial(), awaits="3 points are to be tried"), ledger)
