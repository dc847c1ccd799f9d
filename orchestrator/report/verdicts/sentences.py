"""Verdicts in words: a block to be seen at a glance, a sentence for each comparison, and the methods of a paper.

Every number comes from the ledger. Text, Markdown and LaTeX differ in their dress alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from orchestrator.analysis.quantities import ERRORS, QUANTITIES
from orchestrator.analysis.tables import Tables
from orchestrator.analysis.verdicts import BETTER, EQUAL, TEST, UNDECIDED, WORSE, Verdict, by_method, verdicts
from orchestrator.report import metric_words
from orchestrator.report.escape import escaped_latex, escaped_markdown
from orchestrator.report.verdicts.decisions import decision_lines
from orchestrator.stats.bayes import Posterior
from orchestrator.stats.resampling import EXACT_UNITS
from orchestrator.stats.scopes import FEWEST
from orchestrator.stats.significance import LEVEL, smallest_p
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord, TrialState
from orchestrator.sweep.tuning import notes
from orchestrator.table import decimals
from orchestrator.text import counted

NARROWEST = 8
"""Letters of the name of a metric in the block."""
ALONE = "*"
"""Marks a verdict that does not stand with Holm's correction."""


# The block


def block(tables: Tables) -> list[str]:
    """The verdicts at a glance, a line for each metric of a method; nothing where there is nothing to compare."""
    decided = decision_lines(tables.sweep.deciding)
    compared = lines(verdicts(tables), tables.metrics)
    return [*decided, *([""] if decided and compared else []), *compared]


def lines(found: tuple[Verdict, ...], metrics: Sequence[str]) -> list[str]:
    """The same of verdicts by these metrics, which Holm's method has corrected together."""
    said: list[str] = []
    what = "errors, " if metric_words.all_errors(metrics) else ""
    width = max([NARROWEST, *(len(_place(metric)) for metric in metrics)])
    for method, of_method in by_method(found):
        most = max(of_method, key=lambda each: each.units)
        about = f"says something about: {most.of.about}"
        said += ["", f"{method} against {most.baseline}, {what}{_extent(most)}, {about}"]
        said += [_line(each, width) for each in of_method]
    shown = dict.fromkeys(each.metric for each in found)
    if raised := ", ".join(metric for metric in shown if not QUANTITIES[metric].lower_is_better):
        said.append(f"{raised}: higher is better.")
    if any(_marked(each) for each in found):
        said.append(f"{ALONE}: alone; not with Holm's correction for all {len(found)} verdicts.")
    return said[1:]


def _line(verdict: Verdict, width: int) -> str:
    word = verdict.word + (ALONE if _marked(verdict) else "")
    return f"  {_place(verdict.metric):<{width}} {word:<10} {_glance(verdict)}"


def _place(metric: str) -> str:
    return f"at {metric}" if metric in ERRORS else metric


def _marked(verdict: Verdict) -> bool:
    return verdict.word in (BETTER, WORSE) and not verdict.holds_with_others


def _glance(verdict: Verdict) -> str:
    found = verdict.effect
    if found is None:
        return f"no pair without a divergence: {_diverged(verdict)}"
    if verdict.word == EQUAL:
        return f"{_within(verdict)}{_interval(verdict)}"
    parts = [f"{_apart(verdict)}{_interval(verdict)}"]
    parts.append(f"wins {verdict.wins} of {verdict.of.counted(found.n)}")
    parts.append(f"p {_p(verdict.p)}, Holm {_p(verdict.adjusted)}")
    if sum(verdict.diverged):
        parts.append(_diverged(verdict))
    return ", ".join(parts)


def _within(verdict: Verdict) -> str:
    return " ".join(filter(None, [f"within {verdict.rope:g}", verdict.quantity.apart]))


def _apart(verdict: Verdict) -> str:
    """Such as ``1.3 points lower``."""
    assert verdict.effect is not None, "there is a difference"
    mean, unit = verdict.effect.mean, verdict.quantity.apart
    size = f"{abs(mean):#.2g}" if abs(mean) < 10 else f"{abs(mean):.1f}"
    if not mean:
        return f"no {unit} apart" if unit else "no difference"
    return " ".join(filter(None, [size, unit, "lower" if mean < 0 else "higher"]))


def _interval(verdict: Verdict) -> str:
    """Of the mean difference, counted in its direction: ``(95 % 0.4 to 2.1)``, with a space before it."""
    if verdict.effect is None or (interval := verdict.effect.mean_interval) is None:
        return ""
    low, high = (interval.low, interval.high) if verdict.effect.mean >= 0 else (-interval.high, -interval.low)
    digits = verdict.quantity.digits
    return f" ({100 * interval.level:g} % {_short(low, digits)} to {_short(high, digits)})"


def _short(value: float, digits: int) -> str:
    return decimals(value, digits if abs(value) < 1 else digits - 1)


def _p(value: float | None, equals: str = "") -> str:
    if value is None:
        return "unknown"
    return "< 0.001" if value < 0.001 else f"{equals}{value:.3f}"


def _extent(verdict: Verdict) -> str:
    """Such as ``12 cells, 3 seeds``; the units of the scope where they are others."""
    units = "" if verdict.scope in ("seeds", "cells") else f"{verdict.of.counted(verdict.units)}, "
    return f"{units}{counted(verdict.cells, 'cell')}, {_seeds(verdict)}"


def _seeds(verdict: Verdict) -> str:
    least, most = verdict.seeds
    return counted(most, "seed") if least == most else f"{least} to {most} seeds"


def _diverged(verdict: Verdict) -> str:
    own, other, both = verdict.diverged
    parts = [(own, f"{verdict.method} alone"), (other, f"{verdict.baseline} alone"), (both, "both")]
    return "diverged: " + ", ".join(f"{who} in {counted(count, 'pair')}" for count, who in parts if count)


# Sentences


def sentences(tables: Tables) -> list[str]:
    """One for each comparison, for somebody who reads nothing else."""
    return [_sentence(each) for each in verdicts(tables)]


def found(tables: Tables) -> str:
    """What a sweep has found, in one sentence; empty where there is nothing to compare, or nobody asked."""
    all_ = verdicts(tables) if asked_for(tables) else ()
    if not all_:
        return ""
    words = {BETTER: "better", EQUAL: "practically equal", WORSE: "worse"}
    decided = {word: [each for each in all_ if each.word == word and not _marked(each)] for word in words}
    said = "; ".join(f"{_methods(own)} {words[word]}" for word, own in decided.items() if own)
    count = sum(map(len, decided.values()))
    start = f"Decided: {count} of {counted(len(all_), 'comparison')} with {tables.sweep.report.baseline}"
    return f"{start}: {said}." if said else f"{start}; more seeds, or more networks, may decide them."


def _methods(own: Sequence[Verdict]) -> str:
    """Such as ``linear at 3/4 and AE is``."""
    places: dict[str, list[str]] = {}
    for each in own:
        places.setdefault(each.method, []).append(each.metric)
    listed = [f"{method} at {' and '.join(metrics)}" for method, metrics in places.items()]
    return f"{', '.join(listed)} {'is' if len(listed) == 1 else 'are'}"


WORDS = {EQUAL: "is practically that", UNDECIDED: "cannot be told from that"}
LOWER = {BETTER: "is lower than", WORSE: "is higher than", **WORDS}
HIGHER = {BETTER: "is higher and so better than", WORSE: "is lower and so worse than", **WORDS}
PLACES = {"AE": "on average over all predictions", "1": "at the full cost"}


def _sentence(verdict: Verdict) -> str:
    found = verdict.effect
    cells = "this cell" if verdict.cells == 1 else f"these {verdict.cells} cells"
    start = f"On {cells} with {_seeds(verdict)}"
    subject = f"{_subject(verdict)} {(LOWER if verdict.quantity.lower_is_better else HIGHER)[verdict.word]}"
    whose = f"that of {verdict.baseline}" if verdict.word in (BETTER, WORSE) else f"of {verdict.baseline}"
    if found is None:
        return f"{start} {subject} {whose}: {_diverged(verdict)}."
    return f"{start} {subject} {whose}: {'; '.join(_evidence(verdict))}."


def _subject(verdict: Verdict) -> str:
    if verdict.metric not in ERRORS:
        return f"the {verdict.metric} of {verdict.method}"
    return f"the error of {verdict.method} {PLACES.get(verdict.metric, f'at {verdict.metric} of the cost')}"


def _evidence(verdict: Verdict) -> Iterator[str]:
    found = verdict.effect
    assert found is not None, "there is evidence"
    quantity = verdict.quantity
    of_what = "it" if quantity.lower_is_better else f"what {verdict.baseline} lacks of 100 %"
    relative = "" if found.relative is None else f", {abs(found.relative):.2g} % of {of_what}"
    yield f"{_apart(verdict)}{_interval(verdict)}{relative}"
    yield f"{quantity.better} in {verdict.wins} of {verdict.of.counted(found.n)}"
    yield f"sign-flip test on {_unit_means(verdict)} p {_p(verdict.p, '= ')}, two-sided, Holm {_p(verdict.adjusted)}"
    if _marked(verdict):
        yield "which does not stand with Holm's correction"
    if chances := verdict.posterior:
        yield _believed(verdict, chances)
    if verdict.units < FEWEST:
        yield f"too few for any verdict at {100 * LEVEL:g} %, which needs {verdict.of.counted(FEWEST)}"
    if sum(verdict.diverged):
        yield _diverged(verdict)
    if verdict.dropped:
        yield f"{counted(verdict.dropped, 'pair')} dropped for lack of {metric_words.value_of([verdict.metric])}"
    yield f"says nothing about {verdict.of.silent}"


def _believed(verdict: Verdict, chances: Posterior) -> str:
    if not verdict.quantity.in_points:
        return f"chances of better and worse {chances.better:.2f}, {chances.worse:.2f}"
    return (
        f"chances of better, equal {_within(verdict)}, and worse "
        f"{chances.better:.2f}, {chances.equal:.2f}, {chances.worse:.2f}"
    )


def _unit_means(verdict: Verdict) -> str:
    return "pairs" if verdict.of.seeds_apart else f"{verdict.of.noun} means"


# Methods


def methods(tables: Tables, records: Sequence[TrialRecord]) -> str:
    """A paragraph that answers what a checklist of a conference asks of experiments: what was run, on what, how often,
    what the intervals are, and what was assumed."""
    return " ".join([*_runs(tables.sweep, tables.states), *_effort(records), *_statistics(tables)])


def _runs(sweep: Sweep, states: Counter[TrialState]) -> Iterator[str]:
    cells = sweep.cells
    networks, datasets, seeds = (
        dict.fromkeys(getattr(cell, name) for cell in cells) for name in ("network", "dataset", "seed")
    )
    names = dict.fromkeys(cell.method for cell in cells)
    training = sweep.trials[0].config.training
    yield (
        f"We trained {counted(len(names), 'method')} ({', '.join(names)}) on {counted(len(networks), 'network')} and "
        f"{counted(len(datasets), 'data set')} ({', '.join(datasets)}) with {counted(len(seeds), 'seed')} "
        f"({', '.join(map(str, seeds))}), each for {training.steps} steps of {training.batch_size} images."
    )
    yield (
        "A seed sets the initial weights, the order of the images and all other random draws; "
        f"errors are of {_images(sweep, list(datasets))}."
    )
    yield from (f"Parameters were chosen on images held out from training. {note}" for note in notes(sweep.tuning))
    counts = ", ".join(f"{states[state]} {state}" for state in TrialState if states[state])
    yield f"Of {counted(states.total(), 'trial')}, {counts}."


def _images(sweep: Sweep, datasets: Sequence[str]) -> str:
    held = [name for name in datasets if name in sweep.validated]
    if len(held) in (0, len(datasets)):
        return "images held out from training" if held else "the test images"
    return f"the test images, and on {', '.join(held)} of images held out from training"


def _effort(records: Sequence[TrialRecord]) -> Iterator[str]:
    if not records:
        return
    hours = sum(record.result.seconds for record in records) / 3600
    devices = Counter(record.result.device for record in records)
    named = ", ".join(device if len(devices) == 1 else f"{device} ({n} trials)" for device, n in devices.most_common())
    codes = Counter(str(record.provenance.get("code_version", "unknown")) for record in records)
    yield f"Training took {hours:.2f} hours in all, one device a trial: {named}; code version {', '.join(codes)}."


def _statistics(tables: Tables) -> Iterator[str]:
    found = verdicts(tables)
    if not found:
        return
    report, first = tables.sweep.report, max(found, key=lambda each: each.units)
    if said := metric_words.notes(tables.metrics):
        yield f"Methods are compared by these metrics. {' '.join(said)}"
    within = "each pair of runs is a unit" if first.of.seeds_apart else f"runs are averaged within each {first.of.noun}"
    points = "differences in points" if metric_words.in_points(tables.metrics) else "differences"
    differ = points if report.scale == "points" else "logarithms of ratios"
    yield (
        f"Methods are compared with {report.baseline} on the same network, data set and seed; {within}, which gives "
        f"{first.of.counted(first.units)}, taken for independent."
    )
    flips = "all patterns of signs" if first.units <= EXACT_UNITS else "random patterns of signs"
    least = min(1.0, 2 * smallest_p(first.units, TEST))
    yield (
        f"P-values are two-sided, of a sign-flip test on {differ} with {flips}, corrected by Holm's method for "
        f"{counted(len(found), 'comparison')}; no p of so many units is below {least:.2g}."
    )
    yield (
        "Intervals of a mean difference hold 95 % and invert that test; they need differences that are symmetric and "
        "neither normal nor of equal spread. Intervals of wins are those of Clopper and Pearson."
    )
    diverged = "loses its pair" if report.diverged == "loss" else "is left out"
    yield (
        f"Differences of at most {report.rope:g} points count as practically equal{_but_exact(tables)}, "
        f"a trial that diverged {diverged}. "
        f"The conclusions are about {first.of.about}, and say nothing about {first.of.silent}."
    )


def _but_exact(tables: Tables) -> str:
    """By which metrics only the same numbers are equal."""
    others = ", ".join(metric for metric in tables.metrics if not QUANTITIES[metric].in_points)
    return f" (of {others} only the same numbers)" if others else ""


# Forms


def document(tables: Tables, records: Sequence[TrialRecord], form: str = "table") -> str:
    """All of it: the block, the sentences and the paragraph, as text, Markdown or LaTeX."""
    if not verdicts(tables):
        return f"There is nothing to compare with {tables.sweep.report.baseline} yet."
    escape, item, end = FORMS[form]
    said = [f"{item}{escape(sentence)}" for sentence in sentences(tables)]
    before, after = FENCES[form]
    return "\n".join([*before, *block(tables), *after, "", *said, *end, "", escape(methods(tables, records))])


def glance(tables: Tables, form: str = "table") -> str:
    """What a report begins with: the block in a form; empty where there is nothing to compare, or nobody asked."""
    lines = block(tables) if asked_for(tables) else []
    before, after = FENCES[form] if lines else ([], [])
    return "\n".join([*before, *lines, *after])


def asked_for(tables: Tables) -> bool:
    """Whether a report is to compare methods: not where it names its tables, and that of wins is not among them."""
    return not tables.sweep.report.tables or "wins" in tables.sweep.report.tables


FENCES: dict[str, tuple[list[str], list[str]]] = {
    "table": ([], []),
    "markdown": (["```"], ["```"]),
    "latex": ([r"\begin{verbatim}"], [r"\end{verbatim}"]),
}
FORMS: dict[str, tuple[Callable[[str], str], str, list[str]]] = {
    "table": (str, "", []),
    "markdown": (escaped_markdown, "- ", []),
    "latex": (escaped_latex, r"\par\noindent ", [r"\paragraph{Methods.}"]),
}
"""How text is escaped, what begins a sentence, and what stands before the paragraph."""
