"""The commands on data sets: download them, and check their files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.output import print_rows, say
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from anytime_core.data.own.source import Source


@click.group()
def data() -> None:
    """Download data sets, and check their files."""


@data.command()
@options.dataset
@options.root
def fetch(name: str, root: Path) -> None:
    """Download what is missing of a data set.

    DATASET is cifar10, cifar100, svhn or fashion_mnist; digits comes with scikit-learn.
    """
    from anytime_core.data import fetch as fetching

    fetching.fetch(name, root)


@data.command()
@options.any_dataset
@options.root
@click.option("--size", type=click.IntRange(1), help="Side that the pictures of a folder are resized to.")
@options.form(options.ROWS)
def check(given: str | Path, root: Path, size: int | None, form: str) -> None:
    """Compare the files of a data set with what was published, or show what data of your own hold.

    DATASET is cifar10, cifar100, svhn or fashion_mnist; digits, which comes with scikit-learn, has no files. Or it is
    SWEEP.yaml, for all of its own data sets, or the folder or file of one.
    """
    if isinstance(given, str):
        if size:
            raise UsageError(f"--size {size} is for data of your own, and {given} is a data set of ours")
        _check_published(given, root, form)
    else:
        _show_own(given, size, form)


def _check_published(name: str, root: Path, form: str) -> None:
    from anytime_core.data import fetch as fetching
    from anytime_core.data.source_files import USABLE

    files = fetching.check(name, root)
    if not files and form == "table":
        say(f"{name} has no files of its own: there is nothing to check")
        return
    print_rows([{"file": str(file.path), "state": file.state} for file in files], form, title=f"{name} below {root}")
    if any(file.state not in USABLE for file in files):
        sys.exit(1)


def _show_own(path: Path, size: int | None, form: str) -> None:
    from orchestrator.owndata import formats
    from orchestrator.report.views import data as render_data
    from orchestrator.report.views import render

    found = [(source, formats.load(source)) for source in _sources(path, size)]
    match form:
        case "json":
            say(render.as_json([render_data.data_document(*each) for each in found]), form)
        case "csv":
            for each in found:
                if len(found) > 1:
                    say(f"# {each[0].name}", form)
                print_rows(render_data.data_rows(*each), form)
        case _:
            say("\n\n".join(render_data.data_text(*each) for each in found))


def _sources(path: Path, size: int | None) -> list[Source]:
    """The data sets of a sweep file, or the one that lies at a path."""
    from orchestrator.inference.lookup import is_sweep
    from orchestrator.owndata import formats
    from orchestrator.sweepfile.load import load

    if not is_sweep(str(path)):
        return [formats.source_at(path.absolute(), size)]
    if size:
        raise UsageError(f"--size {size} is for a folder of pictures; {path} gives the sizes of its own")
    if not (sources := list(load(path).own_data.values())):
        raise UsageError(f"{path} has no data sets of its own; those of ours are checked by their names")
    return sources
