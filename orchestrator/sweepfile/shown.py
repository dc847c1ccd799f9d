"""A sweep to be shown: as its file has it, or as it last ran where extensions or data that the file names are gone, or
as a bundle has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import GoneError, UsageError
from orchestrator.ledger import last_run
from orchestrator.ledger.bundle import SUFFIX
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import storage_at
from orchestrator.report.figures import FIGURES
from orchestrator.report.layouts import LAYOUTS
from orchestrator.stats.scopes import SCOPES
from orchestrator.stats.significance import TESTS
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.report import Report
from orchestrator.sweepfile.document import read
from orchestrator.sweepfile.fields import Name
from orchestrator.sweepfile.load import activate, load


def load_to_show(path: Path, ledger: Ledger, note: Callable[[str], object]) -> Sweep:
    """The sweep of a file, or of a bundle, which is the ledger, too, and of which no code is run. Where it is one that
    last ran, ``note`` is told so, and why; nothing may be trained by it. Raises what ``load`` does, also where nothing
    is left of a last run, and StorageError."""
    if path.suffix == SUFFIX and path.exists():
        if str(storage_at(ledger.storage)) != str(path.absolute()):
            raise UsageError(
                f"{path}: is a bundle, and holds its own results; give SWEEP.yaml to read {ledger.storage}"
            )
        return _bundled(path, ledger, note)
    try:
        return chosen(load(path), ledger)
    except GoneError as error:
        activate([])
        name = _name(path)
        if name is None or (sweep := last_run.recalled(name, path, ledger)) is None:
            raise
        note("\n  ".join([str(error), "shown is the sweep as it was last run", *_lacking(sweep.report)]))
        return chosen(replace(sweep, report=_known(sweep.report)), ledger)


def _bundled(path: Path, ledger: Ledger, note: Callable[[str], object]) -> Sweep:
    activate([])
    for name in storage_at(ledger.storage).names("sweeps"):
        if sweep := last_run.recalled(name, path, ledger):
            if lacking := [*_lacking(sweep.report)]:
                note("\n  ".join([f"{path}: the sweep is shown without code of its own", *lacking]))
            return chosen(replace(sweep, report=_known(sweep.report)), ledger)
    raise UsageError(f"{path}: is a bundle of no sweep that this version can show; give SWEEP.yaml --storage {path}")


def _name(path: Path) -> str | None:
    """What the file calls its sweep; None for what can be no name."""
    content = read(path).content
    try:
        name: str = TypeAdapter(Name).validate_python(content["name"])
    except (KeyError, TypeError, ValidationError):
        return None
    return name


def _known(report: Report) -> Report:
    """Less what only an extension makes."""
    defaults = Report()
    return report.model_copy(
        update={
            "tables": [name for name in report.tables if name in LAYOUTS],
            "figures": [name for name in report.figures if name in FIGURES],
            "p_value": report.p_value if report.p_value in TESTS else defaults.p_value,
            "scope": report.scope if report.scope in SCOPES else defaults.scope,
        }
    )


def _lacking(report: Report) -> Iterator[str]:
    """What that leaves out, a line each."""
    known = _known(report)
    for what, given, kept in (("table", report.tables, known.tables), ("figure", report.figures, known.figures)):
        yield from (f"{what} {name} is an extension's, and left out" for name in given if name not in kept)
    if report.p_value != known.p_value:
        yield f"p_value {report.p_value} is an extension's; {known.p_value} stands in"
