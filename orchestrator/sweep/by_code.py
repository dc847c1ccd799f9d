"""By which code a trial was trained, and whether that of today could give it other numbers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import cache

from anytime_core.config import TrialConfig
from orchestrator.errors import UsageError
from orchestrator.sweep.trial import TrialRecord, config_of
from orchestrator.system.sources import code_version, sources
from orchestrator.system.training_code import training_code


class ByCode(StrEnum):
    """What trained a trial that ended: ``same``, today's code; ``alike``, other code, but not where the trial comes to
    it; ``other``, code that could matter; ``unknown``, other code that left no hash of what the trial comes to."""

    SAME = "same"
    ALIKE = "alike"
    OTHER = "other"
    UNKNOWN = "unknown"


def by_code(record: TrialRecord, config: TrialConfig | None = None) -> ByCode:
    """``config`` is the record's own, where that was read already."""
    known = record.provenance
    if code := known.get("code"):
        if known.get("sources") == sources() and not went_on(record):
            return ByCode.SAME
        if (today := _today(record, config)) is None:
            return ByCode.UNKNOWN
        return ByCode.ALIKE if code == today else ByCode.OTHER
    # Of an earlier version.
    same = known["sources"] == sources() if known.get("sources") else known.get("code_version") == _version()
    return ByCode.SAME if same else ByCode.UNKNOWN


def went_on(record: TrialRecord) -> bool:
    """Whether other code than that which ended it had begun it."""
    return ";" in str(record.provenance.get("code") or "")


_version = cache(code_version)
"""Of this process: git is asked once for all records."""


def _today(record: TrialRecord, config: TrialConfig | None) -> str | None:
    """The hash of the code that would train it now; None where this version cannot."""
    try:
        return training_code(config or config_of(record))
    except UsageError:
        return None


def one_code(records: Iterable[TrialRecord]) -> bool:
    """Whether there is one code that trains each of them as it was trained, so far as is recorded: today's, or that of
    one of them."""
    records = list(records)
    codes = {str(record.provenance.get("code") or "") for record in records}
    if "" in codes or any(map(went_on, records)):
        return False
    by: dict[str, set[str]] = {}
    for record in records:
        by.setdefault(str(record.provenance.get("sources")), set()).add(str(record.provenance["code"]))
    return any(codes == own for own in by.values()) or all(
        by_code(record) in (ByCode.SAME, ByCode.ALIKE) for record in records
    )
