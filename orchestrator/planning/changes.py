"""Why a trial never ran that looks as one did: the code of a part that it uses has changed since, an extension's or one
of this package."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from anytime_core.config import SOURCE, Part, TrialConfig, of_ours, parts_of, to_dict
from orchestrator.extensions.finding import Extension
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning.plan import Plan, PlannedTrial

OUR_FILE = "this package"


def explained(plan: Plan, ledger: Ledger, earlier: Iterable[str], extensions: Iterable[Extension]) -> Plan:
    """Says of trials that never ran which change of code sets them apart from those of an ``earlier`` run of the sweep,
    whose ids these are. Raises StorageError."""
    if not any(entry.action == "run" and parts_of(entry.trial.config) for entry in plan.entries):
        return plan
    known = {entry.trial.id for entry in plan.entries}
    records = ledger.records(trial_id for trial_id in earlier if trial_id not in known)
    before: dict[str, set[str]] = defaultdict(set)
    for record in records.values():
        before[_but_for_sources(record.config)] |= {*_sources(record.config)}
    files = {extension.source: extension.given for extension in extensions}
    return Plan(entries=tuple(_with(entry, before, files) for entry in plan.entries))


def _with(entry: PlannedTrial, before: Mapping[str, Collection[str]], files: Mapping[str, str]) -> PlannedTrial:
    config = entry.trial.config
    sources = before.get(_but_for_sources(to_dict(config))) if entry.action == "run" and parts_of(config) else None
    if sources is None:
        return entry
    return replace(entry, reason=f"{reason(config, sources, files)}; it ran before that")


def reason(config: TrialConfig, sources: Collection[str], files: Mapping[str, str]) -> str:
    """Such as ``ramp.py changed (weights ramp)``: of the parts whose code is of none of these ``sources``."""
    changed: dict[str, list[str]] = {}
    for part in parts_of(config):
        if part.source not in sources:
            changed.setdefault(_file(part, files), []).append(f"{part.kind} {part.name}")
    return " and ".join(f"{file} changed ({', '.join(names)})" for file, names in changed.items())


def _file(part: Part, files: Mapping[str, str]) -> str:
    return OUR_FILE if of_ours(part) else files.get(part.source, part.source)


def _sources(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == SOURCE:
                yield str(item)
            yield from _sources(item)


def _but_for_sources(config: Mapping[str, Any]) -> str:
    return json.dumps(_without(config), sort_keys=True)


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(item) for key, item in value.items() if key != SOURCE}
    return [_without(item) for item in value] if isinstance(value, list) else value
