"""Why a trial never ran that looks as one did: the extension that it uses has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from anytime_core.config import SOURCE, TrialConfig, parts_of, to_dict
from orchestrator.extensions.finding import Extension
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning.plan import Plan, PlannedTrial


def explained(plan: Plan, ledger: Ledger, earlier: Iterable[str], extensions: Iterable[Extension]) -> Plan:
    """Says of trials that never ran which change of an extension sets them apart from those of an ``earlier`` run of
    the sweep, whose ids these are. Raises StorageError."""
    new = [entry for entry in plan.entries if entry.action == "run" and parts_of(entry.trial.config)]
    if not new:
        return plan
    known = {entry.trial.id for entry in plan.entries}
    records = ledger.records(trial_id for trial_id in earlier if trial_id not in known)
    before = {_but_for_sources(record.config) for record in records.values()}
    files = {extension.source: extension.given for extension in extensions}
    changed = {entry.trial.id for entry in new if _but_for_sources(to_dict(entry.trial.config)) in before}
    return Plan(entries=tuple(_with(entry, files) if entry.trial.id in changed else entry for entry in plan.entries))


def _with(entry: PlannedTrial, files: Mapping[str, str]) -> PlannedTrial:
    return replace(entry, reason=f"{reason(entry.trial.config, files)}; it ran before that")


def reason(config: TrialConfig, files: Mapping[str, str]) -> str:
    """Such as ``ramp.py changed (weights ramp)``."""
    parts: dict[str, list[str]] = {}
    for part in parts_of(config):
        parts.setdefault(files.get(part.source, part.source), []).append(f"{part.kind} {part.name}")
    return " or ".join(f"{file} changed ({', '.join(names)})" for file, names in parts.items())


def _but_for_sources(config: Mapping[str, Any]) -> str:
    return json.dumps(_without(config), sort_keys=True)


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(item) for key, item in value.items() if key != SOURCE}
    return [_without(item) for item in value] if isinstance(value, list) else value
