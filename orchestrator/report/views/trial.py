"""Shows what is known of one trial, and how a rerun compares, to people and to machines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from anytime_core.config import to_dict
from anytime_core.inputs import as_options
from anytime_core.result import ENERGY
from orchestrator.analysis.expense import UNKNOWN
from orchestrator.analysis.time_spent import TRAINING
from orchestrator.analysis.trace import Difference, RerunComparison, Trace, flat
from orchestrator.ledger.guarantees_file import Calibration
from orchestrator.ledger.ledger import LOG
from orchestrator.report.views.render import ABSENT, as_json, as_text
from orchestrator.stats.outcomes.metrics import METRICS
from orchestrator.sweep.by_code import by_code
from orchestrator.sweep.device_time import ENDING, PREPARATION
from orchestrator.sweep.trial import steps_of
from orchestrator.sweep.tuning import Point, Tuning, notes
from orchestrator.text import counted

PROVENANCE = (
    *(
        "code_version",
        "sources",
        "code",
        "code_is",
        "data_hash",
        "network_hash",
        "host",
        "device",
        "device_name",
        "threads",
    ),
    *("python", "torch", "numpy", "environment"),
)
"""What is shown of every trial that ended, ``-`` where an older version did not write it down. Of ``environment``, the
variables that change bits, ``-`` also says that none was set. ``code`` is of what the trial comes to of the sources;
``code_is`` says how it differs from that of today: see ``ByCode``."""
TIMES = ("first_attempt_began", "last_attempt_began", "ended")
AROUND = (PREPARATION, ENDING)
"""Shown with where the time went, and what ENERGY has as ``expense``."""
TABLES = ("notes", "errors", "milestones", "outcomes", "guarantees", "tuning", "time", "log", "failure")
"""What people are shown otherwise than as a key and a value in each line."""

Group = Mapping[str, Any]


def trace_json(trace: Trace) -> str:
    return as_json(_groups(trace))


def trace_text(trace: Trace) -> str:
    groups = _groups(trace)
    noted, errors, milestones, outcomes, _, tuning, time, log, failure = (groups.pop(name) for name in TABLES)
    parts = [f"{trace.trial.cell.label}: {trace.state}", _group("trial", groups.pop("trial"))]
    if noted:
        parts.append(as_text("notes", noted))
    parts.append(as_text("errors in %, cost in multiply-adds", errors))
    parts.append(as_text("errors in % at fractions of the cost, and their mean", [milestones]))
    if outcomes:
        parts.append(as_text("answers to single images", list(_outcome_rows(outcomes))))
    if trace.guarantees:
        parts.append(as_text("thresholds with a guarantee", [_threshold(it) for it in trace.guarantees]))
    parts += [as_text(one["said"], one["points"]) for one in tuning]
    if time:
        parts.append(_time_text(time, on_gpu="gpu_percent" in trace.load or "gpu_memory" in trace.load))
    groups["expense"] = {name: UNKNOWN if value is None else value for name, value in trace.expense.items()}
    if log:
        groups["files"][LOG] = f"{log['path']} ({counted(log['bytes'], 'byte')})"
    parts += [_group(title, values) for title, values in groups.items()]
    if failure:
        parts.append(_group("failure", {**failure, "traceback": ""}) + "\n" + _indented(failure["traceback"]))
    return "\n\n".join(parts)


def _groups(trace: Trace) -> dict[str, Any]:
    """All that is shown, in both forms."""
    failure = trace.failure
    return {
        "trial": _identity(trace),
        "notes": [{"id": it.id, "time": it.time, "who": it.who, "note": it.text} for it in trace.notes],
        "errors": [
            {"prediction": it.number, "unit": it.unit, "cost": it.cost, "relative": it.share, "error": it.error}
            for it in trace.predictions
        ],
        "milestones": dict(trace.metrics),
        "outcomes": dict(trace.outcomes),
        "guarantees": [{**asdict(it.guarantee), "on": it.split} for it in trace.guarantees],
        "tuning": [_tuning(one) for one in trace.tuning],
        "times": _times(trace),
        "time": _time(trace.seconds),
        "load": _load(trace.load),
        "expense": dict(trace.expense),
        "provenance": _provenance(trace),
        "config": {} if trace.trial.awaits else to_dict(trace.trial.config),
        "files": dict(trace.files),
        "log": None if trace.log_size is None else {"path": trace.files.get(LOG), "bytes": trace.log_size},
        "failure": failure and {"time": failure.time, "error": failure.error, "traceback": failure.traceback},
    }


def _outcome_rows(outcomes: Mapping[str, float | None]) -> Iterator[dict[str, Any]]:
    for name, value in outcomes.items():
        metric = METRICS[name]
        better = "lower" if metric.lower_is_better else "higher"
        yield {"metric": name, "value": value, "unit": metric.unit or None, "better": better}


def _threshold(calibration: Calibration) -> dict[str, Any]:
    it = calibration.guarantee
    return {
        "asked for by": as_options(asdict(it)),
        "leave from": it.leaving_from,
        "losses": it.losses,
        "images": f"{it.n} of {calibration.split}",
    }


def _taken(tuning: Tuning, point: Point) -> str | None:
    """Whether, or why not; None where others were better in the end, or nothing is chosen yet."""
    if point is tuning.chosen:
        return "yes"
    if point.error == math.inf:
        return "diverged"
    return f"stopped at step {point.stopped} of {tuning.steps}" if point.stopped else None


def _tuning(tuning: Tuning) -> dict[str, Any]:
    """A row for each point that was tried, in the order of the grid: it is the first of the lowest that is taken."""
    (said,) = notes([tuning])
    points = [
        {
            "point": point.name,
            "error": None if point.error in (None, math.inf) else point.error,
            "taken": _taken(tuning, point),
            "trials": " ".join(trial.id for trial in point.trials),
        }
        for point in tuning.points
    ]
    return {"method": tuning.method, "where": tuning.where or None, "said": said, "points": points}


def _rests(trace: Trace) -> str:
    """Why a trial does not go on; nothing of one that has ended or runs."""
    return trace.trial.pause.rests if trace.trial.pause and not trace.state.ended else ""


def _identity(trace: Trace) -> dict[str, Any]:
    return {
        "id": trace.trial.id,
        "sweep": trace.sweep or None,
        "cells": [cell.label for cell in trace.cells],
        "seed": trace.trial.config.seed,
        "state": str(trace.state),
        "step": trace.step,
        "steps": steps_of(trace.trial.config, trace.record),
        **({"pause": said} if (said := _rests(trace)) else {}),
        "attempts": trace.record.attempts if trace.record else trace.attempt.number if trace.attempt else 0,
        "mlflow": f"tags.trial_id = '{trace.trial.id}'",
    }


def _times(trace: Trace) -> dict[str, Any]:
    """Of an attempt that has not ended, when it began is known all the same."""
    attempt, record = trace.attempt, trace.record
    begun = {"first_attempt_began": attempt.first_began, "last_attempt_began": attempt.began} if attempt else {}
    known = {**begun, **(record.provenance if record else {})}
    return {
        **{name: known.get(name) or None for name in TIMES},
        "training_seconds": round(record.result.seconds, 2) if record else None,
    }


def _time(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    total = sum(seconds.values())
    return [
        {"part": part, "seconds": value, "share": 100 * value / total if total else None}
        for part, value in seconds.items()
    ]


def _time_text(rows: list[dict[str, Any]], *, on_gpu: bool) -> str:
    training = sum(row["seconds"] for row in rows if row["part"] in TRAINING)
    note = f"training: {training:.2f} s of it, in {', '.join(TRAINING)}"
    made = "; on a GPU the steps make their batches" if on_gpu else ""
    return as_text("where the time went, in seconds and as a share in %", rows) + f"\n\n {note}{made}"


def _load(load: Mapping[str, float]) -> dict[str, float]:
    """In megabytes, where it is memory; 100 % is one core, or the whole GPU."""
    units = {"memory": "memory_megabytes", "gpu_memory": "gpu_memory_megabytes"}
    return {units.get(name, name): round(value / 1e6 if name in units else value, 1) for name, value in load.items()}


def _provenance(trace: Trace) -> dict[str, Any]:
    if trace.record is None:
        return {}
    known = {name: value for name, value in trace.record.provenance.items() if name not in (*TIMES, *AROUND, *ENERGY)}
    own = {"device": trace.record.result.device, "code_is": str(by_code(trace.record))}
    return {**dict.fromkeys(PROVENANCE), **own, **known}


def comparison_json(comparison: RerunComparison) -> str:
    return as_json(
        {
            "trial": comparison.trial.id,
            "cell": comparison.trial.cell.label,
            "same_bits": comparison.same_bits,
            "differences": [_difference(it) for it in comparison.differences],
            "provenance": [_difference(it) for it in comparison.provenance],
            "not_compared": list(comparison.lacking),
            "network_hash": comparison.rerun.network_hash,
        }
    )


def _difference(difference: Difference) -> dict[str, Any]:
    recorded, rerun = jsonable(difference.recorded), jsonable(difference.rerun)
    return {"what": difference.what, "recorded": recorded, "rerun": rerun}


def jsonable(value: Any) -> Any:
    """Numbers that JSON has no word for, as Python writes them."""
    return repr(value) if value in (float("inf"), float("-inf")) or value != value else value


def comparison_text(comparison: RerunComparison) -> str:
    trial, rerun = comparison.trial, comparison.rerun
    parts = [f"{_verdict(comparison)}: {trial.cell.label} ({trial.id})"]
    if comparison.same_bits:
        counts = (len(rerun.record.result.errors), "error"), (len(comparison.recorded.epochs), "epoch")
        parts[0] += f": {', '.join(counted(*it) for it in counts)}, network {rerun.network_hash}"
    if comparison.lacking:
        parts.append(f"not compared, as the ledger lacks them: {', '.join(comparison.lacking)}")
    if comparison.differences:
        parts.append(as_text("first differences", _difference_rows(comparison.differences)))
    if comparison.provenance:
        parts.append(as_text("made otherwise", _difference_rows(comparison.provenance)))
    elif comparison.differences:
        parts.append("made by the same code, on the same data, device and versions, so far as is recorded")
    return "\n\n".join(parts)


def comparison_line(comparison: RerunComparison) -> str:
    """Such as ``aann (2,8) digits seed 0 was trained again: same bits``; the first difference, and what may explain
    it."""
    line = f"{comparison.trial.cell.label} was trained again: {_verdict(comparison)}"
    if not comparison.differences:
        return line
    first, *_ = _difference_rows(comparison.differences)
    line += f": {first['what']} was {first['recorded']} and is {first['rerun']}"
    otherwise = [
        f"{it['what']} was {it['recorded']} and is {it['rerun']}" for it in _difference_rows(comparison.provenance)
    ]
    return f"{line}; " + (
        ", ".join(otherwise) or "with the same code, data, device and versions, so far as is recorded"
    )


def _verdict(comparison: RerunComparison) -> str:
    if comparison.differences:
        return "other bits"
    return "same bits" if comparison.same_bits else "same errors, not shown to be the same bits"


def _difference_rows(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """Numbers in full: two that differ in the last bit must not look alike."""
    return [{"what": it.what, "recorded": _full(it.recorded), "rerun": _full(it.rerun)} for it in differences]


def _full(value: Any) -> str:
    return ABSENT if value is None else str(value)


def _group(title: str, values: Group) -> str:
    """Aligned lines of a key and its value; a list, and a text of several lines, have a line for each."""
    lines = [(name, item) for name, value in flat(values).items() for name, item in _lines(name, value)]
    width = max((len(name) for name, _ in lines), default=0)
    return "\n".join([title, *(f"  {name:{width}}  {item}".rstrip() for name, item in lines or [(ABSENT, "")])])


def _lines(name: str, value: Any) -> list[tuple[str, str]]:
    values = value if isinstance(value, list) else _full(value).split("\n")
    return [("" if index else name, _full(item)) for index, item in enumerate(values)]


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())
