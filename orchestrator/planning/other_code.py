"""Says of trials that have ended whether other code than today's trained them, and whether that could matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from orchestrator.planning.plan import Plan, PlannedTrial
from orchestrator.sweep.by_code import ByCode, by_code
from orchestrator.text import counted

SAID = {
    ByCode.SAME: "",
    ByCode.ALIKE: ", other code: the same for it",
    ByCode.OTHER: ", other code: may matter",
    ByCode.UNKNOWN: ", other code: unknown",
}
"""Short enough for a column of a table."""
AGAIN = {ByCode.OTHER: "other-code", ByCode.UNKNOWN: "unknown-code"}
"""What ``--rerun`` calls those whose code could matter."""
WORDS = {
    ByCode.OTHER: "ended by other code that could matter",
    ByCode.UNKNOWN: "ended by other code that left no hash of what matters",
}


def explained(plan: Plan) -> Plan:
    """The same plan with that, also in the reasons."""
    return Plan(entries=tuple(map(_explained, plan.entries)))


def _explained(entry: PlannedTrial) -> PlannedTrial:
    if not entry.record or entry.action != "keep":
        return entry
    code = by_code(entry.record, entry.trial.config)
    return replace(entry, code=code, reason=f"{entry.reason}{SAID[code]}")


def notes(plan: Plan) -> Iterator[str]:
    """Of a plan that is explained: a line for each kind of code that could matter, with what trains those again."""
    counts = Counter(entry.code for entry in plan.entries)
    for code, word in AGAIN.items():
        if counts[code]:
            those = f"{counted(counts[code], 'trial')} {WORDS[code]}"
            yield f"{those}; sweep --rerun {word} trains {'them' if counts[code] > 1 else 'it'} again"
