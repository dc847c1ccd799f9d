"""Arranges the numbers of a sweep as the paper's tables do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.analysis import sequences
from orchestrator.analysis.tables import FEWER, ErrorRow, Tables, WinRow, lacking, sequence_means
from orchestrator.report import metric_words
from orchestrator.report.metric_words import kind, kind_notes
from orchestrator.stats.intervals import Interval
from orchestrator.stats.scopes import SCOPES
from orchestrator.stats.significance import COUNTING, LEVEL, TESTS, UNSOUND, smallest_p
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Cell
from orchestrator.table import Column, Entry, Table

AT_FRACTIONS = "in % at fractions of the cost; AE is the mean of all predictions"
NOTHING_YET = "-: no prediction costs so little."
MOST_NAMED = 8
RATIOS = "the ratios of numbers, or of what they lack of 100 % where higher is better"
BEST = "the best of those trained for all depths"


def errors(tables: Tables) -> Table:
    """Tables 3 and 6: a line for each network and method, the data sets side by side."""
    datasets = list(dict.fromkeys(row.dataset for row in tables.errors))
    lines: dict[tuple[str, str], dict[str, ErrorRow]] = {}
    for row in tables.errors:
        lines.setdefault((row.network, row.method), {})[row.dataset] = row
    best = _best(tables)
    shown = [
        (
            Entry(value=network),
            Entry(value=method),
            *(
                _error(rows.get(dataset), metric, best.get((dataset, network, metric)), tables)
                for dataset in datasets
                for metric in METRICS
            ),
        )
        for (network, method), rows in lines.items()
    ]
    columns = [Column(name=metric, group=dataset) for dataset in datasets for metric in METRICS]
    return Table(
        name="errors",
        title=f"{kind(tables.sweep)} {AT_FRACTIONS}",
        columns=(Column(name="network", numeric=False), Column(name="method", numeric=False), *columns),
        rows=tuple(shown),
        notes=(f"*: {BEST}.", *_error_notes(tables)),
    )


def methods(tables: Tables) -> Table:
    """Table 1: a line for each metric, the methods side by side."""
    names = list(dict.fromkeys(row.method for row in tables.errors))
    best = _best(tables)
    lines: dict[tuple[str, str], dict[str, ErrorRow]] = {}
    for row in tables.errors:
        lines.setdefault((row.dataset, row.network), {})[row.method] = row
    shown = [
        (
            Entry(value=dataset),
            Entry(value=network),
            Entry(value=metric),
            *(_error(rows.get(name), metric, best.get((dataset, network, metric)), tables) for name in names),
        )
        for (dataset, network), rows in lines.items()
        for metric in _average_first()
    ]
    return Table(
        name="methods",
        title=f"{kind(tables.sweep)} {AT_FRACTIONS}",
        columns=(*_words("data set", "network", "metric"), *(Column(name=name) for name in names)),
        rows=tuple(shown),
        notes=(f"*: {BEST}.", *_error_notes(tables)),
    )


def periods(tables: Tables) -> Table:
    """Table 4: a line for each metric of a network, the prediction periods side by side."""
    whole = [cell for cell in sequences.resnets(tables.sweep.cells) if cell.unit is None]
    cells = {(cell.dataset, cell.network, cell.method): cell for cell in whole}
    all_periods = sorted({cell.period for cell in cells.values()})
    lines: dict[tuple[str, str, str], dict[int, ErrorRow]] = {}
    for row in tables.errors:
        if cell := cells.get((row.dataset, row.network, row.method)):
            lines.setdefault((row.dataset, _without_period(cell), row.method), {})[cell.period] = row
    shown = [
        (*(Entry(value=word) for word in place), Entry(value=metric), *_compared(rows, metric, all_periods, tables))
        for place, rows in lines.items()
        for metric in _average_first()
    ]
    return Table(
        name="periods",
        title=f"{kind(tables.sweep)} {AT_FRACTIONS}; s: units from one prediction to the next",
        columns=(
            *_words("data set", "network", "method", "metric"),
            *(Column(name=f"s={period}") for period in all_periods),
        ),
        rows=tuple(shown),
        notes=("*: best of the line.", *_passed_over(tables, "period"), *_error_notes(tables)),
    )


def _compared(rows: Mapping[int, ErrorRow], metric: str, all_periods: Sequence[int], tables: Tables) -> Iterable[Entry]:
    least = _least(row.errors[metric] for row in rows.values())
    return (_error(rows.get(period), metric, least, tables) for period in all_periods)


def _passed_over(tables: Tables, lacking: str) -> Iterable[str]:
    """That networks of extensions are not in a table of ResNets."""
    if others := sequences.passed_over(tables.sweep.cells):
        yield f"Left out, as they have no {lacking}: {', '.join(others)}."


def _without_period(cell: Cell) -> str:
    return cell.network.replace(f"/{cell.period}", "")


def sequence(tables: Tables) -> Table:
    """The last rows of Table 3: sequences of networks (EANN), and the best optima no deeper (OPT+)."""
    means = list(sequence_means(tables.sequences))
    datasets = list(dict.fromkeys(row.dataset for row in means))
    lines: dict[tuple[str, str], dict[str, ErrorRow]] = {}
    for row in means:
        lines.setdefault((row.method, row.network), {})[row.dataset] = row
    shown = [
        (
            Entry(value=f"{method}+" if method in tables.optima else f"sequence of {method}"),
            Entry(value=networks),
            *(_error(rows.get(dataset), metric, None, tables) for dataset in datasets for metric in METRICS),
        )
        for (method, networks), rows in lines.items()
    ]
    return Table(
        name="sequence",
        title=f"Sequences of networks: {kind(tables.sweep).lower()} in % at fractions of the cost of all members",
        columns=(
            *_words("method", "networks"),
            *(Column(name=metric, group=dataset) for dataset in datasets for metric in METRICS),
        ),
        rows=tuple(shown),
        notes=(
            *_passed_over(tables, "n or c"),
            "method+: the least error of the optima no deeper than that fraction of the deepest network.",
            "AE of a sequence: the mean of the errors of all its answers.",
            *_seed_notes(tables, means),
        ),
    )


def wins(tables: Tables) -> Table:
    """Tables 2a and 5, and how sure they are: three lines for each method."""
    report = tables.sweep.report
    by_method: dict[str, dict[str, WinRow]] = {}
    for row in tables.wins:
        by_method.setdefault(row.method, {})[row.metric] = row
    shown = []
    for method, rows in by_method.items():
        for line, entry in WIN_LINES.items():
            entries = (entry(rows[metric], report.p_value) for metric in tables.metrics)
            shown.append((Entry(value=method), Entry(value=line), *entries))
    return Table(
        name="wins",
        title=f"Wins over {report.baseline} in %, ties counting half; one-sided p-values by {report.p_value}",
        columns=(*_words("method", ""), *(Column(name=metric) for metric in tables.metrics)),
        rows=tuple(shown),
        notes=(
            *metric_words.notes(tables.metrics),
            "p Holm: corrected for all places of the table. 95 %: exact (Clopper-Pearson), of the wins that the units "
            f"have on average. pairs (-d): d dropped for lack of {metric_words.value_of(tables.metrics)}.",
            *_scope_notes(tables),
            DIVERGED[report.diverged],
        ),
    )


DIVERGED = {
    "loss": "A trial that diverged loses its pair, and ties with another that diverged.",
    "drop": "A pair with a trial that diverged is dropped.",
}


def _scope_notes(tables: Tables) -> Iterable[str]:
    """To what the p-values generalise, and whether they can decide anything there."""
    scope, test = SCOPES[tables.scope], tables.sweep.report.p_value
    units = max((row.units for row in tables.wins), default=0)
    yield f"Scope {tables.scope}: {scope.counted(units)}; about {scope.about}, and silent about {scope.silent}."
    if units:
        yield least_p_note(scope.counted(units), units, test)
    if tables.sweep.report.scale == "ratios" and test not in COUNTING:
        ratios = "the errors' ratios" if metric_words.all_errors(tables.metrics) else RATIOS
        yield f"Sizes are those of the logarithms of {ratios}."
    if why := UNSOUND.get(test):
        yield f"{test} is no sound test: {why}."


def least_p_note(words: str, units: int, test: str) -> str:
    """What ``units``, called so in ``words``, can show by each test at the most."""
    able = [name for name in TESTS if name not in UNSOUND and smallest_p(units, name) <= LEVEL]
    valid = f"tests that can fall below {100 * LEVEL:g} %: {', '.join(able)}" if able else "too few for any test"
    return f"The smallest p of {words} by {test} is {smallest_p(units, test):.2g}; {valid}."


WIN_LINES: dict[str, Callable[[WinRow, str], Entry]] = {
    "wins %": lambda row, test: Entry(value=row.wins.percent),
    "p": lambda row, test: _probability(row.p_values[test]),
    "p Holm": lambda row, test: _probability(row.adjusted[test]),
    "95 %": lambda row, test: Entry(value=_from_to(row.interval) if row.interval else None),
    "pairs": lambda row, test: Entry(value=f"{row.wins.n}" + (f" (-{row.wins.dropped})" if row.wins.dropped else "")),
}


def increases(tables: Tables) -> Table:
    """Table 2b: how far each method is from training for one depth alone."""
    lines: dict[tuple[str, str], dict[str, Entry]] = {}
    for row in tables.increases:
        dropped = f"of {row.increase.n}" if row.increase.n and row.increase.dropped else ""
        lines.setdefault((row.method, row.optimum), {})[row.metric] = Entry(value=row.increase.percent, mark=dropped)
    return Table(
        name="increases",
        title="Mean relative increase in error over the optimum, in %",
        columns=(*_words("method", "optimum"), *(Column(name=metric) for metric in METRICS)),
        rows=tuple(
            (Entry(value=method), Entry(value=optimum), *entries.values())
            for (method, optimum), entries in lines.items()
        ),
        notes=("(of n): n experiments have both errors; the others are dropped.",),
    )


# Entries


def _error(row: ErrorRow | None, metric: str, least: float | None, tables: Tables) -> Entry:
    if row is None:
        return Entry()
    value = row.errors[metric]
    if value is None:  # an optimum has no average, as nobody trains every depth
        return Entry(mark=" ".join(row.missing.get(metric, ())))
    best = least is not None and row.method not in tables.optima and round(value, 2) == least
    return Entry(value=value, spread=row.spreads[metric], best=best, mark=FEWER if metric in row.missing else "")


def _best(tables: Tables) -> dict[tuple[str, str, str], float | None]:
    """The least errors of methods but the optima, to as many digits as are shown."""
    by_place: dict[tuple[str, str, str], list[float | None]] = {}
    for row in tables.errors:
        for metric in METRICS if row.method not in tables.optima else ():
            by_place.setdefault((row.dataset, row.network, metric), []).append(row.errors[metric])
    return {place: _least(values) for place, values in by_place.items() if len(values) > 1}


def _least(values: Iterable[float | None]) -> float | None:
    return min((round(value, 2) for value in values if value is not None), default=None)


def _probability(value: float | None) -> Entry:
    return Entry(value=value, digits=3) if value is None or value >= 0.001 else Entry(value="<0.001")


def _from_to(interval: Interval) -> str:
    return "-".join(f"{end:.1f}".removesuffix(".0") for end in (interval.low, interval.high))


def _words(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, numeric=False) for name in names)


def _average_first() -> tuple[str, ...]:
    return (METRICS[-1], *METRICS[:-1])


def _error_notes(tables: Tables) -> tuple[str, ...]:
    optima = ", ".join(tables.optima)
    alone = f"{optima}: each network is trained for one depth alone; at a fraction stands the depth nearest to it."
    unreached = any(
        row.errors[metric] is None and metric not in row.missing and row.method not in tables.optima
        for row in tables.errors
        for metric in METRICS
    )
    return (
        *((alone,) if optima else ()),
        *((NOTHING_YET,) if unreached else ()),
        *_seed_notes(tables, tables.errors),
    )


def _seed_notes(tables: Tables, rows: Iterable[ErrorRow]) -> tuple[str, ...]:
    fewer = [_lacking(row) for row in rows if any(row.counts[metric] for metric in row.missing)]
    return (
        *kind_notes(tables.sweep),
        *((f"Mean ± standard deviation of {seeds} seeds.",) if (seeds := _seeds(tables.sweep)) != "1" else ()),
        *((f"{FEWER}: mean of fewer seeds: {_some(fewer)}.",) if fewer else ()),
    )


def _seeds(sweep: Sweep) -> str:
    """How many a method has on a network and data set, such as ``6 to 11``."""
    seeds: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for cell in sweep.cells:
        seeds[cell.method, cell.network, cell.dataset].add(cell.seed)
    counts = {len(own) for own in seeds.values()}
    return f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(max(counts))


def _lacking(row: ErrorRow) -> str:
    return f"{row.method} {row.network} {row.dataset} {lacking(row.missing)}"


def _some(words: Sequence[str]) -> str:
    rest = len(words) - MOST_NAMED
    return "; ".join(words[:MOST_NAMED]) + (f"; and {rest} more" if rest > 0 else "")
