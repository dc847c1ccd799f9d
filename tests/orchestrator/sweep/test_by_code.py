"""What a record says of the code that trained it, beside the code of today."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from anytime_core.config import Aann, Absent, Ann, Joint
from orchestrator.sweep import by_code as by_code_of
from orchestrator.sweep.by_code import ByCode, by_code, one_code
from orchestrator.sweep.trial import TrialRecord
from orchestrator.system.sources import sources
from orchestrator.system.training_code import training_code


@pytest.fixture
def recorded(make_trial, make_record):
    def made(strategy: Any = Ann(), **provenance: Any) -> TrialRecord:  # noqa: B008
        trial = make_trial(Joint(strategy=strategy))
        today = {"code": training_code(trial.config), "sources": sources(), "code_version": by_code_of._version()}
        provenance = {name: today[name] if value == "today" else value for name, value in provenance.items()}
        return replace(make_record(trial, (3.0, 2.0, 1.0)), provenance=provenance)

    return made


@pytest.mark.parametrize(
    ("provenance", "expected"),
    [
        ({"code": "today", "sources": "today"}, ByCode.SAME),
        ({"code": "today", "sources": "other"}, ByCode.ALIKE),
        ({"code": "other", "sources": "other"}, ByCode.OTHER),
        ({"code": "other; today", "sources": "today"}, ByCode.OTHER),  # it went on from a checkpoint of other code
        ({"sources": "today"}, ByCode.SAME),  # of versions that wrote no hash
        ({"sources": "other", "code_version": "today"}, ByCode.UNKNOWN),
        ({"code_version": "today"}, ByCode.SAME),
        ({"code_version": "other"}, ByCode.UNKNOWN),
        ({}, ByCode.UNKNOWN),
        ({"code": ["x"], "sources": 3}, ByCode.OTHER),
    ],
)
def test_a_record_is_of_todays_code_or_of_other_that_may_matter_or_not(recorded, provenance, expected) -> None:
    assert by_code(recorded(**provenance)) is expected


@pytest.mark.parametrize(("of_today", "expected"), [(True, ByCode.SAME), (False, ByCode.UNKNOWN)])
def test_of_a_trial_whose_part_is_gone_only_the_sources_are_known(recorded, of_today, expected) -> None:
    record = recorded(code="today", sources=sources() if of_today else "other")
    gone = Absent("strategy", "gone", "1", '{"name": "gone", "source": "1"}')
    values = {**record.config, "regime": {**record.config["regime"], "strategy": {"name": "gone", "source": "1"}}}
    assert training_code(replace(_config(record), regime=Joint(strategy=gone))) is None
    assert by_code(replace(record, config=values)) is expected


def _config(record: TrialRecord):
    from orchestrator.sweep.trial import config_of

    return config_of(record)


def test_trials_of_other_methods_are_of_one_code_where_one_code_gives_each_its_own(recorded) -> None:
    """By a brute force over two versions of the sources, of which the second changed what one method comes to."""
    hashes = {("ann", "one"): "a", ("ann", "two"): "a", ("aann", "one"): "b", ("aann", "two"): "c"}
    kinds = {"ann": Ann(), "aann": Aann()}
    for those in product(hashes, repeat=3):
        made = [recorded(kinds[kind], code=hashes[kind, version], sources=version) for kind, version in those]
        trained = {version for _, version in those}
        by_one = any(
            all(
                hashes[kind, version] == hashes[kind, other]
                and any((kind, hashes[kind, other]) == (it, hashes[it, by]) for it, by in those if by == other)
                for kind, version in those
            )
            for other in trained
        )
        assert one_code(made) is by_one, those


def test_trials_that_todays_code_would_train_alike_are_of_one_code(recorded) -> None:
    made = [recorded(kind, code="today", sources=source) for kind, source in ((Ann(), "one"), (Aann(), "two"))]
    assert one_code(made)
    assert not one_code([*made, recorded(Ann(), code="other", sources="two")])
    assert not one_code([*made, recorded(Ann(), sources="one")])
