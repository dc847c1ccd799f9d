"""Guarantees live side by side, are those of one network, and a damaged file is named and never taken for another."""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import pytest

from orchestrator.errors import StorageError
from orchestrator.ledger import checksummed
from orchestrator.ledger.guarantees_file import Calibration, Guarantees, guarantees_of
from orchestrator.stats.outcomes.guarantees import NEVER, Guarantee

PLAIN = Calibration(
    split="validation",
    guarantee=Guarantee(threshold=0.75, loss="lost", risk=0.02, delta=None, losses=3, allowed=4, n=250),
)
SURE = Calibration(split="test", guarantee=replace(PLAIN.guarantee, delta=0.1, threshold=NEVER))


def test_none_are_there_before_somebody_asks(ledger) -> None:
    assert ledger.guarantees("ab12") is None


def test_several_live_side_by_side_and_the_same_again_takes_its_place(ledger) -> None:
    ledger.keep_guarantee("ab12", "network", PLAIN)
    ledger.keep_guarantee("ab12", "network", SURE)
    assert ledger.guarantees("ab12") == Guarantees(network_hash="network", calibrations=(PLAIN, SURE))
    again = replace(PLAIN, guarantee=replace(PLAIN.guarantee, threshold=0.5))
    other = replace(again, split="test")
    ledger.keep_guarantee("ab12", "network", again)
    ledger.keep_guarantee("ab12", "network", other)
    assert ledger.guarantees("ab12") == Guarantees(network_hash="network", calibrations=(SURE, again, other))


def test_those_of_another_network_go(ledger) -> None:
    ledger.keep_guarantee("ab12", "network", PLAIN)
    ledger.keep_guarantee("ab12", "another", SURE)
    assert ledger.guarantees("ab12") == Guarantees(network_hash="another", calibrations=(SURE,))


@pytest.mark.parametrize("seed", range(60))
def test_what_was_damaged_is_named_or_says_the_same_and_is_made_again(ledger, caplog, seed) -> None:
    ledger.keep_guarantee("ab12", "network", PLAIN)
    path, rng = ledger.folder("ab12") / "guarantees.json", random.Random(seed)
    content = bytearray(path.read_bytes())
    if seed % 2:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        del content[rng.randrange(len(content)) :]
    path.write_bytes(content)
    found = ledger.guarantees("ab12")
    assert found == Guarantees(network_hash="network", calibrations=(PLAIN,)) or (
        found is None and f"{path} is damaged" in caplog.text
    )
    ledger.keep_guarantee("ab12", "network", PLAIN)
    assert ledger.guarantees("ab12") == Guarantees(network_hash="network", calibrations=(PLAIN,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": -0.5}, "a threshold is -0.5, must be from 0 to 1.0009765625"),
        ({"threshold": 2}, "a threshold is 2, must be from 0"),
        ({"loss": "gain"}, "it bounds 'gain', must be one of lost, error, differs"),
        ({"risk": 0.0}, "a risk or a delta is not between 0 and 1"),
        ({"delta": 1.0}, "a risk or a delta is not between 0 and 1"),
        ({"losses": 251}, "it counts 251 losses of 250 images"),
        ({"n": 0, "losses": 0, "allowed": 0}, "it counts 0 losses of 0 images"),
        ({"allowed": -2}, "it allows -2 losses of 250 images"),
        ({"risk": "much"}, "risk is 'much', must be|must be"),
        ({"more": 1}, "'more' is unknown"),
    ],
)
def test_what_no_calibration_writes_is_refused(ledger, caplog, changes, message) -> None:
    content = asdict(Guarantees(network_hash="network", calibrations=(PLAIN,)))
    content["calibrations"][0]["guarantee"] |= changes
    with pytest.raises(ValueError, match=message):
        guarantees_of(content)
    (ledger.folder("ab12")).mkdir()
    (ledger.folder("ab12") / "guarantees.json").write_bytes(checksummed.pack(content))
    assert ledger.guarantees("ab12") is None
    assert "guarantees.json is damaged" in caplog.text


def test_one_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="it holds a guarantee twice"):
        guarantees_of(asdict(Guarantees(network_hash="network", calibrations=(PLAIN, PLAIN))))


def test_storage_that_cannot_be_written_is_told(ledger) -> None:
    (ledger.local / "trials" / "ab12").touch()
    with pytest.raises(StorageError, match=r"guarantees\.json: cannot be written"):
        ledger.keep_guarantee("ab12", "network", PLAIN)
