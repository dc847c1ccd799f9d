"""What two trials differ in: what was to be trained, by which code, where, on which data, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from anytime_core.config import is_here, to_dict
from anytime_core.cost import trial_costs
from anytime_core.result import EpochMetrics
from orchestrator.analysis.trace import Difference, epoch_differences, flat, provenance_differences, result_differences
from orchestrator.errors import UsageError
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.metrics import METRICS, errors_at, errors_of
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState

CONFIG, CODE, DATA, ENVIRONMENT, NUMBERS = PARTS = ("config", "code", "data", "environment", "numbers")
"""In which trials can differ, the first ones being why the last does."""
OF_CODE, OF_DATA = ("code_version", "sources", "code"), ("data_hash",)
"""What of a trial's provenance is neither is the environment's."""
TELLING = (*OF_CODE, *OF_DATA, "device_name", "torch")
"""Of these one at least is written down of a part that is known."""
OF_RESULT = ("steps", "units", "costs")
SAME, OTHER, UNKNOWN = "same", "other", "unknown"
Curve = Mapping[int, Mapping[str, float]]
"""Errors in percent by epoch and metric."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of two trials, and all that is compared of it. ``record`` is there once it has ended; ``epochs`` are those so
    far, none where their file is lost."""

    trial: Trial
    storage: str
    state: TrialState
    record: TrialRecord | None
    epochs: tuple[EpochMetrics, ...]
    costs: tuple[int, ...]

    @property
    def network_hash(self) -> str:
        """Empty where it is not known."""
        return str(self.record.provenance.get("network_hash") or "") if self.record else ""

    @property
    def errors(self) -> dict[str, float]:
        """At its end, in percent, by metric; empty unless it has finished."""
        finished = self.record and self.record.state is TrialState.FINISHED
        return errors_of(self.trial.cell, self.record) if self.record and finished else {}

    @property
    def curve(self) -> Curve:
        """Of the epochs that ended with an evaluation; empty without costs."""
        known = (each for each in self.epochs if self.costs and each.evaluated)
        return {each.epoch: errors_at(self.trial.cell, self.costs, each.test_error) for each in known}


@dataclass(frozen=True, kw_only=True, slots=True)
class Differing:
    """A value that the two do not share: ``what`` it is, in which of PARTS; None is absent."""

    part: str
    what: str
    a: Any
    b: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorPair:
    """The errors of both at one metric, in percent, at their ends: None where there is none. They differ from the epoch
    ``first`` on, and most in the epoch ``at``, by ``most`` points of b less a; None where no epoch of both differs."""

    metric: str
    a: float | None
    b: float | None
    first: int | None
    most: float | None
    at: int | None

    @property
    def difference(self) -> float | None:
        """Points of b above a."""
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialDifference:
    """``parts`` says of each of PARTS whether it is the same, another or unknown; ``differing`` in what. ``first`` is
    the first number of their epochs, losses included, that is not the same to the bit. ``same_bits`` is None where
    nothing differs and not all of it is known."""

    a: Side
    b: Side
    parts: Mapping[str, str]
    differing: tuple[Differing, ...]
    errors: tuple[ErrorPair, ...]
    first: Difference | None
    same_bits: bool | None


def side(trial: Trial, ledger: Ledger) -> Side:
    """Reads what is compared of a trial. Raises StorageError, and UsageError for one that tuning has yet to choose."""
    if trial.awaits:
        raise UsageError(f"{trial.cell.label}: {trial.awaits}")
    standing = ledger.standing(trial.id)
    driver = ledger.driver(standing.sweep) if standing.sweep and not standing.record else None
    return Side(
        trial=trial,
        storage=str(ledger.storage),
        state=standing.under(driver),
        record=standing.record,
        epochs=tuple(ledger.epochs(trial.id)),
        costs=_costs(trial, standing.record),
    )


def _costs(trial: Trial, record: TrialRecord | None) -> tuple[int, ...]:
    if record:
        return record.result.costs
    return tuple(trial_costs(trial.config)) if is_here(trial.config) else ()


def compare(a: Side, b: Side) -> TrialDifference:
    """All that the two differ in, but for when they ran, and how long."""
    differing = (*_config(a, b), *_provenance(a, b), *_numbers(a, b))
    first = next(epoch_differences(a.epochs, b.epochs), None) if a.epochs and b.epochs else None
    parts = dict.fromkeys((it.part for it in differing), OTHER)
    if first or _ends(a) != _ends(b):
        parts[NUMBERS] = OTHER
    hashed = a.network_hash and b.network_hash and a.epochs and b.epochs
    return TrialDifference(
        a=a,
        b=b,
        parts={part: parts.get(part, SAME if _known(part, a) and _known(part, b) else UNKNOWN) for part in PARTS},
        differing=differing,
        errors=tuple(_errors(a, b)),
        first=first,
        same_bits=False if NUMBERS in parts else True if hashed else None,
    )


def _config(a: Side, b: Side) -> Iterator[Differing]:
    yield from unlike(flat(to_dict(a.trial.config)), flat(to_dict(b.trial.config)))


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Differing]:
    """The values of two flat configs, or of parts of them, that are not the same."""
    for name in {**a, **b}:
        if a.get(name) != b.get(name):
            yield Differing(part=CONFIG, what=name, a=a.get(name), b=b.get(name))


def _provenance(a: Side, b: Side) -> Iterator[Differing]:
    """In the order of PARTS."""
    if a.record and b.record:
        found = sorted(provenance_differences(a.record, b.record), key=lambda it: PARTS.index(part_of(it.what)))
        yield from (Differing(part=part_of(it.what), what=it.what, a=it.recorded, b=it.rerun) for it in found)


def part_of(name: str) -> str:
    """Which part something of a trial's provenance belongs to."""
    return CODE if name in OF_CODE else DATA if name in OF_DATA else ENVIRONMENT


def _numbers(a: Side, b: Side) -> Iterator[Differing]:
    """Of the ends, without errors, which are compared metric by metric."""
    if a.state is not b.state:
        yield Differing(part=NUMBERS, what="state", a=str(a.state), b=str(b.state))
    if a.record and b.record:
        for it in result_differences(a.record, b.record):
            if it.what in OF_RESULT:
                yield Differing(part=NUMBERS, what=it.what, a=it.recorded, b=it.rerun)
    if a.network_hash and b.network_hash and a.network_hash != b.network_hash:
        yield Differing(part=NUMBERS, what="network_hash", a=a.network_hash, b=b.network_hash)


def _errors(a: Side, b: Side) -> Iterator[ErrorPair]:
    """At each metric that one of them has."""
    ends, (own, other) = (a.errors, b.errors), (a.curve, b.curve)
    for metric in METRICS:
        gaps = {epoch: _gap(own[epoch], other[epoch], metric) for epoch in own if epoch in other}
        apart = {epoch: gap for epoch, gap in gaps.items() if gap}
        at = max(apart, key=lambda epoch: abs(apart[epoch]), default=None)
        if any(metric in errors for errors in (*ends, *own.values(), *other.values())):
            yield ErrorPair(
                metric=metric,
                a=ends[0].get(metric),
                b=ends[1].get(metric),
                first=min(apart, default=None),
                most=None if at is None else apart[at],
                at=at,
            )


def _gap(own: Mapping[str, float], other: Mapping[str, float], metric: str) -> float | None:
    return other[metric] - own[metric] if metric in own and metric in other else None


def _ends(side: Side) -> tuple[float, ...]:
    return side.record.result.errors if side.record else ()


def _known(part: str, side: Side) -> bool:
    """Whether anything was written down by which it could be told from another."""
    if part == CONFIG:
        return True
    if not side.record:
        return False
    return part == NUMBERS or any(part_of(name) == part and side.record.provenance.get(name) for name in TELLING)
