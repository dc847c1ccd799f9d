"""The commands that give results away and take them in: a bundle of a sweep, and the trials of another storage."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.main import end
from orchestrator.cli.output import check_writable, load_to_show, print_rows, print_written, say
from orchestrator.cli.parameter_types import FileOrFolder, StorageType
from orchestrator.errors import UsageError
from orchestrator.places import Places
from orchestrator.text import counted

if TYPE_CHECKING:
    from orchestrator.ledger.bringing import Brought
    from orchestrator.ledger.bundling import Bundled
    from orchestrator.ledger.storage import Location
    from orchestrator.sweep.grid import Sweep

ALL = "all"


@click.command()
@options.on_a_sweep()
@click.option("--output", type=FileOrFolder(folder=False), required=True, help="The file, a .zip.")
@click.option(
    "--networks", multiple=True, metavar="CELL", help="With the networks of these trials, as for `show`; or all."
)
@options.form(options.ROWS)
def bundle(sweep_file: Path, places: Places, output: Path, networks: tuple[str, ...], form: str) -> None:
    """Write what has ended of a sweep as one file, to be given away.

    It holds the sweep file with its extensions, results, metrics, outcomes, notes, what the trials ran on, and
    checksums. Data are not in it. `status`, `show`, `report` and `plan` read it as --storage, and `import` brings it
    into a storage.
    """
    from orchestrator.ledger import bundling
    from orchestrator.ledger.bundle import SUFFIX

    if output.suffix != SUFFIX:
        raise UsageError(f"--output {output}: must end in {SUFFIX}, by which commands know a bundle")
    check_writable("--output", output.parent)
    sweep, ledger = load_to_show(sweep_file, places), places.ledger
    written = bundling.write(sweep, ledger, output, _named(sweep, networks))
    if form == "table":
        print_written(output)
        say(_contents(written))
    else:
        print_rows([{"path": str(output), "bytes": output.stat().st_size, **asdict(written)}], form)
    if sweep.notify.command or sweep.notify.webhook:
        say(f"note: {sweep_file} says whom to notify, and is in the bundle as it is", err=True)


def _contents(written: Bundled) -> str:
    """What a bundle holds, in a sentence."""
    ended = f"{written.trials} of {written.of} trials have ended and are in it, {written.networks} with their networks"
    points = f"; {counted(written.points, 'trial')} of its halving are in it, too" if written.points else ""
    notes = f"; {counted(written.notes, 'note')} can be read by whoever has it" if written.notes else ""
    return ended + points + notes


def _named(sweep: Sweep, networks: Sequence[str]) -> set[str]:
    """The trials whose networks are asked for. Raises UsageError for words that no cell has."""
    from orchestrator.analysis import trace

    found: set[str] = set()
    for words in networks:
        ids = sweep.ids if words == ALL else [trial.id for trial in trace.by_words(sweep, words)]
        if not ids:
            raise UsageError(f"--networks {words!r}: no cell of {sweep.path} has these words; {ALL} means every one")
        found |= {*ids}
    return found


@click.command("import")
@click.argument("source", metavar="FROM", type=StorageType(bundle=True))
@options.sweep_file(required=False)
@options.with_places(options.tracking_uri)
@options.form(options.ROWS)
def import_(source: Location, sweep_file: Path | None, places: Places, form: str) -> None:
    """Bring trials that ended elsewhere into the storage.

    FROM is another storage, as for --storage, or a bundle. Each trial is checked before it is copied. One that has
    ended here stays as it is; where its numbers differ from those of FROM, both sides are shown. A sweep may run
    meanwhile, and the same command goes on where it was cut short.

    With SWEEP.yaml only its trials come, and MLflow learns of them at once; otherwise the next run of their sweep tells
    it. Speeds that `plan --calibrate` measured there come along. Exit code 1 if a trial differs or is damaged, or if a
    sweep is left out.
    """
    from orchestrator.ledger import bringing, calibrations
    from orchestrator.ledger.choices import chosen

    ledger = places.ledger
    sweep = load_to_show(sweep_file, places) if sweep_file else None
    storage = bringing.source_at(source, ledger)
    ids, own = bringing.ids_in(storage), sweep.candidates.union(sweep.ids) if sweep else None
    ids = [trial_id for trial_id in ids if own is None or trial_id in own]
    left: list[str] = []
    if sweep is None:
        left = bringing.bring_sweeps(storage, ledger)
    else:
        bringing.keep(sweep, ledger)
    with click.progressbar(
        bringing.bring(storage, ledger, ids), len(ids), file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as trials:
        found = list(trials)
    noted, speeds = bringing.bring_notes(storage, ledger, sweep), calibrations.bring(storage, ledger)
    _print(found, form, f"{source} into {ledger.storage}")
    if noted:
        say(f"{counted(noted, 'note')} came along", err=True)
    if speeds:
        say(f"the speeds of {counted(speeds, 'calibrated device')} came along", err=True)
    for words in left:
        say(f"warning: left out: {words}", err=True)
    if sweep and (troubles := _tell(chosen(sweep, ledger), places)):
        end("\n".join(troubles), 1)
    if left or any(each.fate.wrong for each in found):
        sys.exit(1)


def _print(found: Sequence[Brought], form: str, title: str) -> None:
    """Prints a row for each trial to machines; to people how many there are, and those that something is wrong with."""
    if form != "table":
        print_rows([asdict(each) for each in found], form)
        return
    counts = Counter(each.fate for each in found)
    print_rows([{"became": str(fate), "trials": count} for fate, count in sorted(counts.items())], form, title=title)
    for each in found:
        if each.fate.wrong:
            sides = f"\n  there: {each.theirs}\n  here:  {each.ours}" if each.theirs else ""
            label = f" ({each.label})" if each.label else ""
            say(f"\n{each.trial_id}{label} {each.fate}: {each.what}{sides}")


def _tell(sweep: Sweep, places: Places) -> list[str]:
    """Tells MLflow what it lacks of a sweep. Returns what it could not be told, and why."""
    from orchestrator.errors import HeldError
    from orchestrator.tracking.delivered import is_current
    from orchestrator.tracking.tracker import Tracker

    ledger, note = places.ledger, partial(say, err=True)
    try:
        with ledger.drive(sweep.name):
            if is_current(ledger, sweep, places.tracking_uri):
                return []
            with Tracker(places.tracking_uri, sweep, ledger, note, meanwhile="the trials are here") as tracker:
                pass
            return tracker.troubles()
    except HeldError:
        note(f"sweep {sweep.name} runs now, and tells MLflow at its end")
        return []
