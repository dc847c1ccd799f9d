"""The commands on data sets: download them, and check their files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.cli import options
from orchestrator.cli.output import print_rows, say


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
@options.dataset
@options.root
@options.form(options.ROWS)
def check(name: str, root: Path, form: str) -> None:
    """Compare the files of a data set with what was published.

    DATASET is cifar10, cifar100, svhn or fashion_mnist; digits, which comes with scikit-learn, has no files.
    """
    from anytime_core.data import fetch as fetching
    from anytime_core.data.source_files import USABLE

    files = fetching.check(name, root)
    if not files and form == "table":
        say(f"{name} has no files of its own: there is nothing to check")
        return
    print_rows([{"file": str(file.path), "state": file.state} for file in files], form, title=f"{name} below {root}")
    if any(file.state not in USABLE for file in files):
        sys.exit(1)
