"""Anybody's errors beside the paper's: the difference in each place, and whether it is within tolerance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.analysis.tables import FEWER, ErrorRow, Tables, sequence_means
from orchestrator.paper.reference import Published, published
from orchestrator.sweep.metrics import METRICS
from orchestrator.table import Column, Entry, Table

SEQUENCE = ("(1,32)", "(3,32)", "(7,32)", "(13,32)", "(25,32)/3")
"""The members of the paper's EANN (section 4.6), which stands in Table 3 under its deepest."""
VALIDATED = "Table 1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """How far an error may be from the paper's: ``points`` of a percent or this share of the paper's error, whichever
    is more.

    The defaults are what the paper's own numbers allow. It trained three networks twice (ANN with c = 16 on CIFAR-100,
    in Tables 4 and 6): the two differ, in 15 errors, by up to 4.0 points and up to 7.7 %. Of a small error that would
    be less than what two seeds commonly differ by on 10,000 images, hence half a point in any case.
    """

    points: float = 0.5
    relative: float = 0.08

    def __post_init__(self) -> None:
        faults = [f"{name} is {value}" for name in ("points", "relative") if not (value := getattr(self, name)) >= 0]
        if faults:
            raise ValueError(f"{', '.join(faults)}: must be at least 0")

    def allows(self, ours: float, paper: float) -> bool:
        return (
            abs(ours - paper) <= max(self.points, self.relative * paper) + 1e-9
        )  # errors are decimals, floats are not

    def __str__(self) -> str:
        return f"{self.points:g} points or {100 * self.relative:g} % of the paper's error, whichever is more"


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedError:
    """``ours`` is the mean over ``seeds``, None where there is none; ``within`` too. ``paper_table`` is where the paper
    has it; ``missing`` counts, by why, the seeds that lack it."""

    dataset: str
    network: str
    method: str
    metric: str
    seeds: int
    ours: float | None
    spread: float | None
    paper: float
    paper_table: str
    within: bool | None
    missing: Mapping[str, int] = field(default_factory=dict)

    @property
    def difference(self) -> float | None:
        """Points above the paper's."""
        return None if self.ours is None else self.ours - self.paper


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperComparison:
    """Each error that the paper has of the methods and networks given; ``unpublished`` counts those that it has not,
    ``of_other_images`` those that are not compared as one is of test images and the other of validation images."""

    errors: tuple[ComparedError, ...]
    unpublished: int
    tolerance: Tolerance
    of_other_images: int = 0

    @property
    def compared(self) -> int:
        return sum(error.ours is not None for error in self.errors)

    @property
    def within(self) -> int:
        return sum(error.within is True for error in self.errors)

    @property
    def lacking(self) -> int:
        """Errors that the paper has and we have not, or not yet."""
        return len(self.errors) - self.compared


def compare(
    rows: Iterable[ErrorRow],
    *,
    first: str = "table6",
    tolerance: Tolerance | None = None,
    validated: Collection[str] | None = None,
) -> PaperComparison:
    """Errors of a sweep, such as ``tables.errors``, beside the paper's: means over seeds, difference, within or not.

    ``first`` is as in ``published``: the sweep's name will do. ``validated`` are the data sets whose errors are of
    validation images, which are compared with no error of test images; None takes all for what the paper's are.
    """
    paper, tolerance = published(first), tolerance or Tolerance()
    compared, unpublished, others = [], 0, 0
    for row in rows:
        for metric in METRICS:
            printed, has = paper.get((row.dataset, row.network, row.method, metric)), row.errors[metric] is not None
            if not printed:
                unpublished += has
            elif validated is not None and (row.dataset in validated) != (printed.table == VALIDATED):
                others += has
            else:
                compared.append(_compared(row, metric, printed, tolerance))
    return PaperComparison(errors=tuple(compared), unpublished=unpublished, tolerance=tolerance, of_other_images=others)


def _compared(row: ErrorRow, metric: str, paper: Published, tolerance: Tolerance) -> ComparedError:
    ours = row.errors[metric]
    return ComparedError(
        dataset=row.dataset,
        network=row.network,
        method=row.method,
        metric=metric,
        seeds=row.counts.get(metric, row.seeds) if ours is not None else 0,
        ours=ours,
        spread=row.spreads[metric],
        paper=paper.error,
        paper_table=paper.table,
        within=None if ours is None else tolerance.allows(ours, paper.error),
        missing=row.missing.get(metric, {}),
    )


def compare_tables(tables: Tables, tolerance: Tolerance | None = None) -> PaperComparison:
    """All that a sweep has and the paper too, its EANN and OPT+ included."""
    rows = [*tables.errors, *_sequence_rows(tables)]
    return compare(rows, first=tables.sweep.name, tolerance=tolerance, validated=tables.sweep.validated)


def _sequence_rows(tables: Tables) -> Iterator[ErrorRow]:
    """The sequences of the paper's networks, under the names of Table 3."""
    for row in sequence_means(row for row in tables.sequences if row.networks == SEQUENCE):
        if name := {"aann": "eann", "opt": "opt_plus"}.get(row.method):
            yield replace(row, network=SEQUENCE[-1], method=name)


def comparison_table(comparison: PaperComparison) -> Table:
    """A line for each method of a network, the metrics side by side."""
    lines: dict[tuple[str, str, str], dict[str, ComparedError]] = {}
    for error in comparison.errors:
        lines.setdefault((error.dataset, error.network, error.method), {})[error.metric] = error
    return Table(
        name="paper",
        title="Error in %: ours, the paper's, and how much ours is above it",
        columns=(
            *(Column(name=name, numeric=False) for name in ("data set", "network", "method")),
            *(Column(name=name, group=metric) for metric in METRICS for name in ("ours", "paper", "difference")),
        ),
        rows=tuple(
            (*map(_word, place), *(entry for metric in METRICS for entry in _entries(errors.get(metric))))
            for place, errors in lines.items()
        ),
        notes=tuple(_notes(comparison)),
    )


def _word(word: str) -> Entry:
    return Entry(value=word)


def _entries(error: ComparedError | None) -> tuple[Entry, Entry, Entry]:
    if error is None:
        return Entry(), Entry(), Entry()
    outside = "!" if error.within is False else ""
    lacking = FEWER if error.ours is not None else " ".join(error.missing)
    ours = Entry(value=error.ours, spread=error.spread, mark=lacking if error.missing else "")
    return ours, Entry(value=error.paper), Entry(value=error.difference, mark=outside)


def _notes(comparison: PaperComparison) -> Iterator[str]:
    if comparison.compared:
        yield f"{comparison.within} of {comparison.compared} are within {comparison.tolerance}. !: not within."
    if not comparison.errors:
        yield "The paper has none of these errors."
    if any(error.missing and error.ours is not None for error in comparison.errors):
        yield f"{FEWER}: mean of fewer seeds than the sweep has."
    if comparison.of_other_images:
        yield (
            f"{comparison.of_other_images} of our errors are not compared: of ours and the paper's, "
            "one is of test images and the other of validation images."
        )
    if comparison.lacking:
        yield f"{comparison.lacking} of the paper's errors have none of ours beside them."
    if comparison.unpublished:
        yield f"{comparison.unpublished} of our errors are not in the paper."
    tables = sorted({error.paper_table for error in comparison.errors})
    validation = ", whose errors are those of the last 5,000 training images" if VALIDATED in tables else ""
    if tables:
        yield f"From the paper: {', '.join(reversed(tables))}{validation}."


COLUMNS = (
    *("dataset", "network", "method", "metric", "seeds", "ours", "sd", "paper", "difference", "within", "missing"),
    "paper_table",
)


def comparison_rows(comparison: PaperComparison) -> list[dict[str, str | int | float | bool | None]]:
    """For machines: a row for each error of the paper."""
    return [
        {
            "dataset": error.dataset,
            "network": error.network,
            "method": error.method,
            "metric": error.metric,
            "seeds": error.seeds,
            "ours": error.ours,
            "sd": error.spread,
            "paper": error.paper,
            "difference": error.difference,
            "within": error.within,
            "missing": ", ".join(f"{count} {reason}" for reason, count in error.missing.items()),
            "paper_table": error.paper_table,
        }
        for error in comparison.errors
    ]
