"""The commands on extensions: begin one, check one, and list those that installed packages announce."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.output import print_rows, print_written, say
from orchestrator.cli.parameter_types import FileOrFolder
from orchestrator.errors import UsageError
from orchestrator.extensions.templates import TEMPLATES, write

if TYPE_CHECKING:
    from orchestrator.extensions.conformance import Verdict


@click.group()
def extension() -> None:
    """Begin methods of your own, and check them."""


@extension.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(tuple(TEMPLATES)), default="weights", show_default=True, help="What it adds.")
@options.debug
def new(name: str, kind: str) -> None:
    """Write NAME.py, a method to change, and NAME_test.py.

    Both pass: `orchestrate extension check NAME.py`, and `pytest NAME_test.py`. Nothing is overwritten.
    """
    for path in write(name, kind, Path()):
        print_written(path)


@extension.command()
@click.argument("file", metavar="FILE.py", type=FileOrFolder())
@click.option("--field", "given", multiple=True, metavar="NAME=VALUE", help="A value of a field that has no default.")
@click.option("--data", metavar="PATH", type=FileOrFolder(), help="What a reader of data is to read.")
@options.form(options.TABLE_OR_JSON)
@options.debug
def check(file: Path, given: tuple[str, ...], data: Path | None, form: str) -> None:
    """Check whether what a file registers can be trained, resumed and sent to workers.

    It runs the file's code, for some seconds. Exit code 1 if something is found.
    """
    from orchestrator.extensions import conformance

    verdicts = conformance.check_file(file, dict(map(_field, given)), data)
    if form == "json":
        print_rows([_row(verdict) for verdict in verdicts], form)
    else:
        say("\n".join(_lines(verdicts)))
    if any(verdict.findings for verdict in verdicts):
        sys.exit(1)


@extension.command("list")
@options.form(options.ROWS)
@options.debug
def announced(form: str) -> None:
    """List the extensions that installed packages announce, by the names that sweep files may give."""
    from dataclasses import asdict

    from orchestrator.extensions import finding

    rows = [asdict(one) for one in finding.announced()]
    if rows or form != "table":
        print_rows(rows, form, title="Announced by installed packages")
    else:
        say(f"no installed package announces an extension, by entry points of the group {finding.GROUP}")


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--field {text}: must be NAME=VALUE, such as power=2")
    return name, value


def _row(verdict: Verdict) -> dict[str, object]:
    findings = [{"fault": finding.fault, "mend": finding.mend} for finding in verdict.findings]
    return {"name": verdict.name, "kind": verdict.kind, "passed": list(verdict.passed), "findings": findings}


def _lines(verdicts: list[Verdict]) -> list[str]:
    wide = max(len(verdict.name) for verdict in verdicts), max(len(verdict.kind) for verdict in verdicts)
    lines = []
    for verdict in verdicts:
        begin = f"{verdict.name:<{wide[0]}}    {verdict.kind:<{wide[1]}}    "
        if not verdict.findings:
            lines.append(f"{begin}ok: {', '.join(verdict.passed)}")
        for finding in verdict.findings:
            lines += [f"{begin}{finding.fault}", f"{'':<{len(begin)}}→ {finding.mend}"]
    return lines
