"""``orchestrate``: parses, calls, prints. Whatever is slow to import is imported inside the commands."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from anytime_core.catalog import DATASETS
from anytime_core.errors import TrainerError
from anytime_core.files import write_atomically
from orchestrator.errors import OrchestratorError, UsageError

if TYPE_CHECKING:
    from orchestrator.ledger import Ledger
    from orchestrator.storage import Location
    from orchestrator.sweep import Sweep

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_STORAGE = Path("runs")
FORMATS = ("table", "json", "csv")
TABLE_FORMATS = (*FORMATS, "markdown", "latex")
LONG_TABLES = ("errors", "wins", "increases", "sequences")

_debugging = False


def main() -> NoReturn:
    """Runs the command line. User errors are one message; exit code 2 for bad usage or input, 1 for a failed run."""
    _show_warnings()
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _leave("interrupted; the same command goes on from here", 130)
    except OrchestratorError as error:
        _end(str(error), error.exit_code)
    except TrainerError as error:  # a data set that is not as it should be
        _end(str(error), 2)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _end(f"{error.filename or 'storage'}: {error.strerror}; with more space the same command goes on", 1)
        hint = "" if _debugging else "\n(give --debug to see where)"
        _end(f"unexpected {type(error).__name__}: {error}{hint}", 1)


class _Warnings(logging.Handler):
    """Says each warning once: the same file is read many times."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if (message := record.getMessage()) not in self._said:
            self._said.add(message)
            click.echo(f"warning: {message}", err=True)


def _show_warnings() -> None:
    """What our code warns of, such as a damaged file, goes to the user, whatever Ray and MLflow do with the rest."""
    handler = _Warnings()
    for package in ("anytime_core", "orchestrator"):
        logger = logging.getLogger(package)
        logger.addHandler(handler)
        logger.propagate = False


def _end(message: str, exit_code: int) -> NoReturn:
    if _debugging and sys.exc_info()[0]:
        import traceback

        traceback.print_exc()
    click.echo(f"error: {message}", err=True)
    sys.exit(exit_code)


def _leave(message: str, exit_code: int) -> NoReturn:
    """At once: what libraries do at an exit can hang after an interrupt in the middle of their import or start."""
    from contextlib import suppress

    click.echo(f"error: {message}", err=True)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(exit_code)


def _set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    global _debugging
    _debugging |= value


class _StorageType(click.Path):
    """A folder, or the address of a store."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from orchestrator.storage import checked

        location = checked(value)
        return super().convert(value, param, ctx) if isinstance(location, Path) else location


_debug = click.option("--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show tracebacks.")
_storage = click.option(
    "--storage",
    type=_StorageType(),
    default=DEFAULT_STORAGE,
    show_default=True,
    envvar="ORCHESTRATE_STORAGE",
    show_envvar=True,
    help="Folder of results, checkpoints and, unless told otherwise, MLflow's database and the data; or "
    "s3://BUCKET/PREFIX?endpoint_override=...&region=... for results and checkpoints.",
)


def _common(command: Command) -> Command:
    """What every command on a sweep takes."""
    for decorate in (
        _debug,
        _storage,
        click.argument("sweep_file", metavar="SWEEP.yaml", type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


_tracking_uri = click.option(
    "--tracking-uri",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    help="MLflow server or database.  [default: SQLite in the storage folder]",
)
_data_root = click.option(
    "--data-root",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="ORCHESTRATE_DATA_ROOT",
    show_envvar=True,
    help="Folder of the data sets.  [default: data in the storage folder]",
)
_address = click.option(
    "--address", envvar="RAY_ADDRESS", show_envvar=True, help="Ray cluster.  [default: this machine alone]"
)
_md5 = click.option(
    "--md5/--no-md5", "check_md5", default=True, show_default=True, help="Check the data files' md5 sums."
)
_format = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="For people or machines."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="anytime-orchestrator", prog_name="orchestrate")
def cli() -> None:
    """Runs sweeps of anytime neural networks: every trial once, whatever happens."""


@cli.command()
@_common
@_tracking_uri
@_data_root
@_address
@click.option("--cpus", type=click.IntRange(min=1), help="CPU cores of each trial, instead of the sweep's.")
@click.option("--gpus", type=click.FloatRange(0, 1), help="Share of a GPU of each trial, instead of the sweep's.")
@click.option("--retry-failed", is_flag=True, help="Run those that failed alone, and leave what else is left.")
@_md5
def sweep(
    sweep_file: Path,
    storage: Location,
    tracking_uri: str | None,
    data_root: Path | None,
    address: str | None,
    cpus: int | None,
    gpus: float | None,
    retry_failed: bool,
    check_md5: bool,
) -> None:
    """Run what is left of a sweep, then show its tables.

    The same command again goes on where it was interrupted, and runs nothing twice. Ctrl-C stops it once the running
    trials have saved their state; a second one stops it at once.
    """
    from rich.console import Console

    from orchestrator import driver, render, report
    from orchestrator.ledger import Ledger
    from orchestrator.mlflow_store import check_uri, default_uri
    from orchestrator.storage import local_folder
    from orchestrator.sweep import load

    grid = load(sweep_file)
    _note(grid)
    settings = driver.Settings(
        storage=storage,
        data_root=data_root or local_folder(storage) / "data",
        tracking_uri=check_uri(tracking_uri or default_uri(storage)),
        address=_checked_address(address),
        check_md5=check_md5,
        cpus=cpus,
        gpus=gpus,
        retry_failed=retry_failed,
        command=_same_command(),
    )
    troubles = driver.run(grid, settings, Console(stderr=True))
    click.echo(render.report_text(report.read_tables(grid, Ledger(storage))))
    click.echo(f"\nThe whole report: {driver.report_folder(Ledger(storage), grid) / 'report.html'}")
    click.echo(f"Browse the runs: {_ui_command(sweep_file, storage, tracking_uri)}")
    if troubles:
        _end("\n".join(troubles), 1)


def _checked_address(address: str | None) -> str | None:
    """An empty one, as an unset variable may be, is none."""
    if address and address.startswith("ray://"):
        raise UsageError(f"address {address}: Ray Tune needs the cluster itself; allowed: auto, HOST:PORT")
    return address or None


def _note(grid: Sweep) -> None:
    for note in grid.notes:
        click.echo(f"note: {grid.path}: {note}", err=True)


def _same_command() -> str:
    """What the user gave, less the restriction to what failed; passwords are not repeated."""
    import re
    import shlex

    given = (re.sub(r"(://[^:/@]*:)[^@/]*@", r"\1***@", word) for word in sys.argv[1:] if word != "--retry-failed")
    return shlex.join([_program(), *given])


def _program() -> str:
    import shutil

    return "orchestrate" if shutil.which("orchestrate") == shutil.which(sys.argv[0]) else sys.argv[0]


def _ui_command(sweep_file: Path, storage: Location, tracking_uri: str | None) -> str:
    import shlex

    from orchestrator.mlflow_store import safe_uri

    parts = [_program(), "ui", str(sweep_file)]
    parts += ["--tracking-uri", safe_uri(tracking_uri)] if tracking_uri else []
    parts += ["--storage", str(storage)] if storage != DEFAULT_STORAGE and not tracking_uri else []
    return shlex.join(parts)


@cli.command()
@_common
@_format
def plan(sweep_file: Path, storage: Location, form: str) -> None:
    """List the trials of a sweep: what would run, in which order, and why."""
    from orchestrator import plan as planning
    from orchestrator import render
    from orchestrator.ledger import Ledger
    from orchestrator.sweep import load

    grid = load(sweep_file)
    _note(grid)
    entries = planning.make(grid.trials, Ledger(storage))
    _print(render.plan_rows(entries), form, title=f"{sweep_file}: {planning.summary(entries)}")
    if form == "table" and len({cell.method for cell in grid.cells if cell.unit is None}) > 1:
        click.echo(f"\n{planning.power(grid)}")


@cli.command()
@_common
@_format
def status(sweep_file: Path, storage: Location, form: str) -> None:
    """Show where the trials of a sweep stand, also while it runs elsewhere."""
    from orchestrator import render, report
    from orchestrator.ledger import Ledger
    from orchestrator.sweep import load

    grid, ledger = load(sweep_file), Ledger(storage)
    statuses = report.statuses(grid, ledger)
    title = render.status_title(grid.name, statuses, ledger.driver(grid.name))
    what = "folder" if isinstance(storage, Path) else "such place as"
    title += "" if ledger.exists() else f"; there is no {what} {storage} yet"
    _print(render.status_rows(statuses), form, title=title)


@cli.command(name="report")
@_common
@_tracking_uri
@click.option(
    "--format",
    "form",
    type=click.Choice(TABLE_FORMATS),
    default="table",
    show_default=True,
    help="On standard output.",
)
@click.option("--table", type=click.Choice(LONG_TABLES), default="errors", show_default=True, help="Which, for csv.")
@click.option("--compare", type=click.Choice(["paper"]), help="Show the errors beside the paper's.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one page with everything.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Write tables and figures into a folder."
)
def report_command(
    sweep_file: Path,
    storage: Location,
    tracking_uri: str | None,
    form: str,
    table: str,
    compare: str | None,
    html: Path | None,
    output: Path | None,
) -> None:
    """Show the tables of a sweep: errors, wins over the baseline, increases over the optimum."""
    from orchestrator import render, report
    from orchestrator.ledger import Ledger
    from orchestrator.sweep import load

    _refuse_contradictions()
    grid, ledger = load(sweep_file), Ledger(storage)
    if html or output:
        for path in _published(grid, ledger, tracking_uri, html, output):
            click.echo(f"written: {path}")
    elif compare:
        from orchestrator import comparison

        found = comparison.compare_tables(report.read_tables(grid, ledger))
        if form == "json":
            click.echo(render.as_json(comparison.comparison_rows(found)))
        elif form == "csv":
            click.echo(render.as_csv(comparison.comparison_rows(found), comparison.COLUMNS))
        else:
            click.echo(render.show([comparison.comparison_table(found)], form))
    elif form == "csv":
        click.echo(render.long_csv(report.read_tables(grid, ledger), table))
    elif form == "json":
        click.echo(render.report_json(report.read_tables(grid, ledger)))
    else:
        click.echo(render.report_text(report.read_tables(grid, ledger), form))


def _refuse_contradictions() -> None:
    """Raises UsageError for options of `report` of which one would silently win."""
    context = click.get_current_context()
    options = {"html": "--html", "output": "--output", "compare": "--compare", "form": "--format", "table": "--table"}
    given = {
        option
        for name, option in options.items()
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    files, shown = given & {"--html", "--output"}, given & {"--compare", "--format", "--table"}
    if files and shown:
        words = [" and ".join(sorted(names)) for names in (files, shown)]
        raise UsageError(f"{words[0]}: all there is goes there; not to be given with {words[1]}")
    if {"--compare", "--table"} <= given:
        raise UsageError("--compare has one table: not to be given with --table")


def _published(
    grid: Sweep, ledger: Ledger, tracking_uri: str | None, page: Path | None, folder: Path | None
) -> Iterator[Path]:
    from orchestrator import publish
    from orchestrator.mlflow_store import check_uri, default_uri
    from orchestrator.tracking import run_links

    say = partial(click.echo, err=True)
    links = run_links(ledger, grid.name, check_uri(tracking_uri or default_uri(ledger.storage)))
    if folder:
        publish.write(grid, ledger, folder, links, say)
        yield folder
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(page, (folder / publish.PAGE).read_bytes() if folder else _page(grid, ledger, links, say))
        yield page


def _page(grid: Sweep, ledger: Ledger, links: dict[str, str], say: Callable[[str], object]) -> bytes:
    from orchestrator import publish

    drawn = publish.draw(grid, ledger)
    return publish.html(grid, ledger, publish.read_tables(grid, ledger, drawn, say), drawn, links).encode()


_cell = click.argument("cell", nargs=-1, required=True)
_table_or_json = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or machines.",
)


@cli.command()
@_common
@_cell
@_table_or_json
def show(sweep_file: Path, storage: Location, cell: tuple[str, ...], form: str) -> None:
    """Show all that is known of one trial, and where its numbers come from.

    CELL is a trial's id, its first digits, or words of its place in the tables: "aann (7,16) cifar10 seed 1".
    """
    from orchestrator import render_trace, trace
    from orchestrator.ledger import Ledger
    from orchestrator.sweep import load

    grid = load(sweep_file)
    found = trace.trace(grid, trace.find(grid, " ".join(cell)), Ledger(storage))
    click.echo(render_trace.trace_json(found) if form == "json" else render_trace.trace_text(found))


@cli.command()
@_common
@_cell
@_data_root
@_md5
@_table_or_json
def reproduce(
    sweep_file: Path, storage: Location, cell: tuple[str, ...], data_root: Path | None, check_md5: bool, form: str
) -> None:
    """Train one trial again, and say whether it gives the same bits.

    CELL is as for `show`. The results in the storage folder stay as they are. Exit code 1 if the bits differ.
    """
    from rich.console import Console

    from orchestrator import render_trace, trace
    from orchestrator import reproduce as reproducing
    from orchestrator.ledger import Ledger
    from orchestrator.storage import local_folder
    from orchestrator.sweep import load

    grid = load(sweep_file)
    trial = trace.find(grid, " ".join(cell))
    settings = reproducing.Settings(data_root=data_root or local_folder(storage) / "data", check_md5=check_md5)
    try:
        comparison = reproducing.reproduce(trial, Ledger(storage), settings, Console(stderr=True))
    except KeyboardInterrupt:
        _end("interrupted; nothing was compared", 130)
    shown = render_trace.comparison_json if form == "json" else render_trace.comparison_text
    click.echo(shown(comparison))
    if not comparison.same_bits:
        sys.exit(1)


@cli.command()
@click.option(
    "--format", "form", type=click.Choice(TABLE_FORMATS), default="table", show_default=True, help="Where it goes."
)
def paper(form: str) -> None:
    """Compute the paper's Tables 2a, 2b and 5 from its Table 6, and test what it claims of them.

    Exit code 1 if a number is not the printed one.
    """
    from orchestrator import paper as computing
    from orchestrator import render

    found = computing.build()
    click.echo(render.show(found.tables, form))
    if form == "table":
        click.echo(f"\n{found.agreeing} of {found.printed} numbers are those that the paper prints.")
    if found.agreeing < found.printed:
        sys.exit(1)


def _print(rows: list[dict[str, Any]], form: str, *, title: str) -> None:
    from orchestrator import render

    match form:
        case "json":
            click.echo(render.as_json(rows))
        case "csv":
            click.echo(render.as_csv(rows))
        case _:
            click.echo(render.as_text(title, rows))


@cli.command()
@_common
@_tracking_uri
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option("--port", type=click.IntRange(1, 65_535), default=5000, show_default=True)
def ui(sweep_file: Path, storage: Location, tracking_uri: str | None, host: str, port: int) -> None:
    """Browse the runs of a sweep in MLflow's UI, until ctrl-C."""
    from orchestrator import ui as browsing
    from orchestrator.mlflow_store import check_uri, default_uri
    from orchestrator.sweep import load

    browsing.serve(load(sweep_file).name, check_uri(tracking_uri or default_uri(storage)), host, port, click.echo)


@cli.group()
def data() -> None:
    """Download data sets, and check that their files are as published."""


def _data_of(storage: Location) -> Path:
    from orchestrator.storage import checked, local_folder

    return local_folder(checked(storage)) / "data"


_dataset = click.argument("name", type=click.Choice(list(DATASETS)))
_root = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="ORCHESTRATE_DATA_ROOT",
    show_envvar=True,
    default=lambda: _data_of(os.environ.get("ORCHESTRATE_STORAGE") or DEFAULT_STORAGE),
    show_default="data in the storage folder",
    help="Folder of the data sets.",
)


@data.command()
@_dataset
@_root
def fetch(name: str, root: Path) -> None:
    """Download what is missing of a data set."""
    from anytime_core.data import fetch as fetching

    fetching.fetch(name, root)


@data.command()
@_dataset
@_root
@_format
def check(name: str, root: Path, form: str) -> None:
    """Compare the files of a data set with their published md5 sums."""
    from anytime_core.data import fetch as fetching
    from anytime_core.data.formats import USABLE

    files = fetching.check(name, root)
    _print([{"file": str(file.path), "state": file.state} for file in files], form, title=f"{name} below {root}")
    if any(file.state not in USABLE for file in files):
        sys.exit(1)


@cli.command()
@click.argument("sweep_file", metavar="[SWEEP.yaml]", type=click.Path(path_type=Path), required=False)
@_storage
@_debug
@_tracking_uri
@_data_root
@_address
@_table_or_json
def doctor(
    sweep_file: Path | None,
    storage: Location,
    tracking_uri: str | None,
    data_root: Path | None,
    address: str | None,
    form: str,
) -> None:
    """Check the cluster, the storage, the data and MLflow, and say how to mend what is wrong.

    With a sweep, also whether its data sets are on every node, and a trial fits on one. Exit code 1 if there is a
    problem.
    """
    from orchestrator import doctor as examining
    from orchestrator import render
    from orchestrator.mlflow_store import check_uri, default_uri
    from orchestrator.storage import local_folder
    from orchestrator.sweep import load

    settings = examining.settings_of(
        load(sweep_file) if sweep_file else None,
        storage=storage,
        data_root=data_root or local_folder(storage) / "data",
        tracking_uri=check_uri(tracking_uri or default_uri(storage)),
        address=_checked_address(address),
    )
    checks = examining.examine(settings)
    click.echo(render.as_json(examining.as_rows(checks)) if form == "json" else examining.as_text(checks))
    if any(check.state is examining.State.PROBLEM for check in checks):
        sys.exit(1)
