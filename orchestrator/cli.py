"""``orchestrate``: parses, calls, prints. Whatever is slow to import is imported inside the commands."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar, cast

import click

from anytime_core.errors import TrainerError
from anytime_core.files import write_atomically
from orchestrator.errors import OrchestratorError, UsageError

if TYPE_CHECKING:
    from anytime_core.predictor import ExponentialSequence
    from orchestrator.inference.images import Picture
    from orchestrator.inference.lookup import TrainedTrial
    from orchestrator.inference.predict import Limits
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.ledger.storage import Location
    from orchestrator.planning.plan import Plan
    from orchestrator.sweep.grid import Sweep
    from orchestrator.sweep.notify import Notify
    from orchestrator.system.hardware import Node

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
        if isinstance(error, OSError) and error.filename and error.strerror:  # such as an --output that is read-only
            _end(f"{error.filename}: {error.strerror}{hint}", 1)
        _end(f"unexpected {type(error).__name__}: {error}{hint}", 1)


class _Lasting:
    """A stream whose end is no reason to end: who reads it may go, as `tee` does at ctrl-C, or its disk be full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:  # for whoever else writes there, too
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        except OSError:
            pass


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


class _Share(click.FloatRange):
    """Of a GPU, or ``auto``."""

    name = "share"

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


class _Names(click.Choice[str]):
    """One of the names of a registry, which is imported once somebody asks for them: it may be slow to import."""

    case_sensitive = True

    def __init__(self, registry: Callable[[], Sequence[str]]) -> None:
        self._registry = registry

    @property
    def choices(self) -> Sequence[str]:  # type: ignore[override]
        return tuple(self._registry())


class _StorageType(click.Path):
    """A folder, or the address of a store."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from orchestrator.ledger.storage import checked

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
_cpus = click.option("--cpus", type=click.IntRange(min=1), help="CPU cores of each trial, instead of the sweep's.")
_gpus = click.option("--gpus", type=_Share(), help="Share of a GPU of each trial, or auto, instead of the sweep's.")
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
@_cpus
@_gpus
@click.option("--retry-failed", is_flag=True, help="Run those that failed alone, and leave what else is left.")
@click.option(
    "--notify",
    envvar="ORCHESTRATE_NOTIFY",
    show_envvar=True,
    help="Webhook (http...) or command to tell when it ends, or a method stops; instead of the sweep's.",
)
@_md5
def sweep(
    sweep_file: Path,
    storage: Location,
    tracking_uri: str | None,
    data_root: Path | None,
    address: str | None,
    cpus: int | None,
    gpus: float | str | None,
    retry_failed: bool,
    notify: str | None,
    check_md5: bool,
) -> None:
    """Run what is left of a sweep, then show its tables.

    The same command again goes on where it was interrupted, and runs nothing twice. Ctrl-C stops it once the running
    trials have saved their state; a second one stops it at once.
    """
    from rich.console import Console

    from orchestrator.execution import driver
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.ledger.storage import local_folder
    from orchestrator.report import render
    from orchestrator.report import status as report
    from orchestrator.sweepfile.load import load
    from orchestrator.tracking.store import check_uri, default_uri

    grid = load(sweep_file)
    _note(grid)
    settings = driver.SweepSettings(
        storage=storage,
        data_root=data_root or local_folder(storage) / "data",
        tracking_uri=check_uri(tracking_uri or default_uri(storage)),
        address=_checked_address(address),
        check_md5=check_md5,
        cpus=cpus,
        gpus=gpus,
        retry_failed=retry_failed,
        command=_same_command(),
        notify=_notify(notify),
    )
    troubles = driver.run(grid, settings, Console(file=cast(IO[str], _Lasting(sys.stderr))))
    click.echo(render.report_text(report.read_tables(grid, Ledger(storage))))
    click.echo(f"\nThe whole report: {driver.report_folder(Ledger(storage), grid) / 'report.html'}")
    click.echo(f"Browse the runs: {_ui_command(sweep_file, storage, tracking_uri)}")
    if troubles:
        _end("\n".join(troubles), 1)


def _checked_address(address: str | None) -> str | None:
    """An empty one, as an unset variable may be, is none."""
    if address and address != "auto" and ":" not in address:
        raise UsageError(f"address {address}: allowed: auto, HOST:PORT, ray://HOST:PORT")
    return address or None


def _note(grid: Sweep) -> None:
    for note in grid.notes:
        click.echo(f"note: {grid.path}: {note}", err=True)


def _notify(given: str | None) -> Notify | None:
    from orchestrator.sweep import notify

    try:
        return notify.given(given) if given else None
    except ValueError as error:
        raise UsageError(f"--notify: {error}") from error


def _same_command() -> str:
    """What the user gave, less the restriction to what failed; neither passwords nor webhooks are repeated."""
    import shlex

    from orchestrator.tracking.store import safe_uri

    words = [word for word in sys.argv[1:] if word != "--retry-failed" and not word.startswith("--notify=")]
    shown = [word for place, word in enumerate(words) if "--notify" not in words[max(place - 1, 0) : place + 1]]
    return shlex.join([_program(), *map(safe_uri, shown)])


def _program() -> str:
    import shutil

    return "orchestrate" if shutil.which("orchestrate") == shutil.which(sys.argv[0]) else sys.argv[0]


def _ui_command(sweep_file: Path, storage: Location, tracking_uri: str | None) -> str:
    import shlex

    from orchestrator.tracking.store import safe_uri

    parts = [_program(), "ui", str(sweep_file)]
    parts += ["--tracking-uri", safe_uri(tracking_uri)] if tracking_uri else []
    parts += ["--storage", str(storage)] if storage != DEFAULT_STORAGE and not tracking_uri else []
    return shlex.join(parts)


@cli.command()
@_common
@_address
@_cpus
@_gpus
@_format
def plan(
    sweep_file: Path, storage: Location, address: str | None, cpus: int | None, gpus: float | str | None, form: str
) -> None:
    """List what would run of a sweep, why, and what it would take.

    Times are those that the ledger's trials took on the device at hand: measured, scaled, fitted, or else unknown.
    With --address the cluster is asked what it has, and what it cannot hold is refused.
    """
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.planning import estimate, packing
    from orchestrator.planning import plan as planning
    from orchestrator.report import render
    from orchestrator.sweepfile.load import load

    grid, ledger = load(sweep_file), Ledger(storage)
    _note(grid)
    entries = planning.make(planning.sized(grid.trials, cpus=cpus, gpus=gpus), ledger)
    nodes, speeds = _nodes(_checked_address(address), entries), estimate.Speeds.of(ledger)
    packed = packing.pack(entries, nodes, speeds)
    outlook = estimate.outlook(packed.plan, ledger, nodes, speeds)
    if form == "table":
        notes = (*packed.notes, *_impossible(entries, nodes))
        title = f"{sweep_file}: {planning.summary(entries)}"
        click.echo(render.table_text(render.plan_table(outlook, title, notes)))
    else:
        _print(render.plan_rows(outlook), form, title="")
    if form == "table" and len({cell.method for cell in grid.cells if cell.unit is None}) > 1:
        click.echo(f"\n{planning.power(grid)}")


def _nodes(address: str | None, entries: Plan) -> list[Node]:
    """The machines that a plan is for. What a cluster cannot hold is refused."""
    from orchestrator.planning import estimate, packing

    trials = [entry.trial for entry in entries.to_run]
    if not address:
        return [estimate.here(trials)]
    nodes = _machines_at(address)
    packing.refuse(trials, nodes)
    return nodes


def _impossible(entries: Plan, nodes: list[Node]) -> list[str]:
    """What this machine cannot hold is only told: the sweep may be meant for another."""
    from orchestrator.planning import packing

    faults = packing.faults([entry.trial for entry in entries.to_run], nodes)
    return [f"{fault} here: {packing.advice(nodes)}; or --address for a cluster" for fault in faults]


def _machines_at(address: str) -> list[Node]:
    from tempfile import TemporaryDirectory

    from orchestrator.system.environment import prepare_ray

    prepare_ray(own_cluster=False)
    from orchestrator.cluster import nodes

    with TemporaryDirectory() as folder:
        return nodes.machines_at(address, Path(folder) / "ray.log")


@cli.command()
@_common
@_format
def status(sweep_file: Path, storage: Location, form: str) -> None:
    """Show where a sweep's trials stand, also while it runs."""
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.report import render
    from orchestrator.report import status as report
    from orchestrator.sweepfile.load import load

    grid, ledger = load(sweep_file), Ledger(storage)
    found = report.status(grid, ledger)
    if form == "table":
        what = "folder" if isinstance(storage, Path) else "such place as"
        title, line, rest = render.status_text(found).partition("\n")
        click.echo(title + ("" if ledger.exists() else f"; there is no {what} {storage} yet") + line + rest)
    else:
        _print(render.status_rows(found.trials), form, title="")


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
    """Show the tables of a sweep: errors, wins, increases."""
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.report import render
    from orchestrator.report import status as report
    from orchestrator.sweepfile.load import load

    _refuse_contradictions()
    grid, ledger = load(sweep_file), Ledger(storage)
    if html or output:
        for path in _published(grid, ledger, tracking_uri, html, output):
            click.echo(f"written: {path}")
    elif compare:
        from orchestrator.paper import comparison

        found = comparison.compare_tables(report.read_tables(grid, ledger))
        if form == "json":
            click.echo(render.as_json(comparison.comparison_rows(found)))
        elif form == "csv":
            click.echo(render.as_csv(comparison.comparison_rows(found), comparison.COLUMNS))
        else:
            click.echo(render.show([comparison.comparison_table(found)], form))
    elif form == "csv":
        click.echo(render.LONG[table].csv(report.read_tables(grid, ledger)))
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
    from orchestrator.report import publish
    from orchestrator.tracking.store import check_uri, default_uri
    from orchestrator.tracking.tracker import run_links

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
    from orchestrator.report import publish

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
    """Show one trial: its numbers, and where they come from.

    CELL is a trial's id, its first digits, or words of its place in the tables: "aann (7,16) cifar10 seed 1".
    """
    from orchestrator.analysis import trace
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.report import render_trial as render_trace
    from orchestrator.sweepfile.load import load

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
    """Train one trial again: does it give the same bits?

    CELL is as for `show`. The results in the storage folder stay as they are. Exit code 1 if the bits differ.
    """
    from rich.console import Console

    from orchestrator.analysis import trace
    from orchestrator.execution import reproduce as reproducing
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.ledger.storage import local_folder
    from orchestrator.report import render_trial as render_trace
    from orchestrator.sweepfile.load import load

    grid = load(sweep_file)
    trial = trace.find(grid, " ".join(cell))
    settings = reproducing.ReproduceSettings(data_root=data_root or local_folder(storage) / "data", check_md5=check_md5)
    try:
        comparison = reproducing.reproduce(trial, Ledger(storage), settings, Console(stderr=True))
    except KeyboardInterrupt:
        _end("interrupted; nothing was compared", 130)
    shown = render_trace.comparison_json if form == "json" else render_trace.comparison_text
    click.echo(shown(comparison))
    if not comparison.same_bits:
        sys.exit(1)


def _using(command: Command) -> Command:
    """What every command on trained networks takes."""
    for decorate in (_debug, _storage, _tracking_uri):
        command = decorate(command)
    return command


_sequence = click.option(
    "--sequence", is_flag=True, help="Run the networks of all depths that CELL fits, one after the other (EANN)."
)
_device = click.option("--device", help="Such as cpu or cuda:1.  [default: CUDA where there is one]")
_threads = click.option("--threads", type=click.IntRange(min=1), help="On the CPU.  [default: as many as torch takes]")


def _find(
    words: Sequence[str], storage: Location, tracking_uri: str | None, *, sequence: bool = False
) -> list[TrainedTrial]:
    from orchestrator.inference import lookup as networks
    from orchestrator.ledger.ledger import Ledger

    def trial_of(run_id: str) -> str:
        from orchestrator.tracking import store as mlflow_store

        uri = mlflow_store.check_uri(tracking_uri or mlflow_store.default_uri(storage))
        return mlflow_store.trial_of(run_id, uri)

    return networks.find(words, Ledger(storage), sequence=sequence, trial_of=trial_of)


@cli.command()
@click.argument("words", nargs=-1, required=True, metavar="NETWORK... IMAGE...")
@_using
@click.option("--deadline", metavar="TIME", help="Answer within so much time, such as 5ms.")
@click.option("--budget", type=float, help="A part of the whole cost up to 1; above 1, multiply-adds of one image.")
@click.option("--confidence", type=float, help="Stop once some class is so probable, from 0 to 1.")
@click.option("--resize", is_flag=True, help="Make pictures of another size fit.")
@_sequence
@_device
@_threads
@_table_or_json
def predict(
    words: tuple[str, ...],
    storage: Location,
    tracking_uri: str | None,
    deadline: str | None,
    budget: float | None,
    confidence: float | None,
    resize: bool,
    sequence: bool,
    device: str | None,
    threads: int | None,
    form: str,
) -> None:
    """Classify images with a network that refines its answer.

    NETWORK is a trial's id, its first digits, an id of an MLflow run, or SWEEP.yaml and words of a cell, as for `show`.
    Several ids are a sequence, run by depth. An IMAGE is a .png, .jpg, or an .npy of pixels as the data set has them.
    Each image has the limits to itself; the first call, which takes longer, is not the one that is shown.
    """
    from anytime_core.data.catalog import DATASETS
    from orchestrator.inference import images as pictures
    from orchestrator.inference import lookup as networks
    from orchestrator.inference import predict as predicting
    from orchestrator.inference import profile as profiling
    from orchestrator.ledger.ledger import Ledger

    paths = [Path(word) for word in words if pictures.is_image(word)]
    if not paths:
        raise UsageError(f"no image is given; allowed: files that end in {', '.join(pictures.SUFFIXES)}")
    limits = predicting.Limits(
        deadline=predicting.seconds(deadline) if deadline else None, budget=budget, confidence=confidence
    )
    members = _find([word for word in words if not pictures.is_image(word)], storage, tracking_uri, sequence=sequence)
    dataset = members[0].config.data.name
    images = pictures.read(paths, DATASETS[dataset], resize=resize)
    with profiling.threads(threads):
        predictor = networks.predictor(members, Ledger(storage), device)
        predicting.prepare(predictor, images[0])
        answers = [_answer(predictor, members, image, limits, form) for image in images]
    if form == "json":
        from orchestrator.report import render

        click.echo(render.as_json(answers))


def _answer(
    predictor: ExponentialSequence, members: Sequence[TrainedTrial], image: Picture, limits: Limits, form: str
) -> dict[str, Any]:
    """Shows the answers for one image as they come, for people; all of them together for machines."""
    from orchestrator.inference import predict as predicting

    say: Callable[[str], object] = click.echo if form == "table" else str
    names = [member.label for member in members]
    say(f"{image.name}: {', then '.join(names)}" + "".join(f"; {note}" for note in image.notes))
    say(predicting.COLUMNS)
    rows = []
    for row in predicting.rows(predictor, members, image, limits):
        say(predicting.line(row, len(members) > 1))
        rows.append(row)
    answer = rows[-1]
    say(f"answer: {answer['answer']} ({answer['probability']:.4f}), prediction {len(rows)} of {len(predictor.units)}\n")
    return {"image": image.name, "networks": names, "notes": list(image.notes), "answer": answer, "predictions": rows}


@cli.command()
@click.argument("words", nargs=-1, required=True, metavar="NETWORK...")
@_using
@click.option("--time", "by_time", is_flag=True, help="Of a sweep: by time measured here, not by multiply-adds.")
@click.option("--repeats", type=click.IntRange(min=1), default=30, show_default=True, help="Calls that are measured.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images at once.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Write table and figure there too.")
@_sequence
@_device
@_threads
@_format
def profile(
    words: tuple[str, ...],
    storage: Location,
    tracking_uri: str | None,
    by_time: bool,
    repeats: int,
    batch: int,
    output: Path | None,
    sequence: bool,
    device: str | None,
    threads: int | None,
    form: str,
) -> None:
    """Measure a network's predictions, or compare a sweep's.

    Of a network: cost, error and time of each prediction, here. Of a sweep: which network is best at each budget.

    NETWORK is as for `predict`; SWEEP.yaml alone is all of its networks that have finished, and sequences of them. In
    a folder, --output, the figure is a .png and a .svg, the table a .csv.
    """
    from orchestrator.inference import lookup as networks
    from orchestrator.inference import profile as profiling
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.report import render
    from orchestrator.sweepfile.load import load

    settings, ledger = (
        profiling.ProfileSettings(repeats=repeats, batch=batch, device=device, threads=threads),
        Ledger(storage),
    )
    if len(words) == 1 and networks.is_sweep(words[0]) and not sequence:
        shown = profiling.of_sweep(load(Path(words[0])), ledger, settings, by_time=by_time)
    elif by_time:
        raise UsageError("--time is for all of a sweep: one network's time is always measured")
    else:
        shown = profiling.of_networks(_find(words, storage, tracking_uri, sequence=sequence), ledger, settings)
    click.echo(render.show(shown.tables, form))
    for path in profiling.write(shown, output) if output else ():
        click.echo(f"written: {path}", err=form != "table")


@cli.command()
@click.argument("words", nargs=-1, required=True, metavar="NETWORK")
@_using
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file, a .zip.")
def export(words: tuple[str, ...], storage: Location, tracking_uri: str | None, output: Path) -> None:
    """Write a network as one file for ONNX Runtime.

    It is run unit by unit, and runs itself: `python FILE image.npy`.

    NETWORK is as for `predict`. Needs `pip install -e '.[export]'`; to run the file, numpy and onnxruntime are enough.
    """
    from orchestrator.inference import export as exporting
    from orchestrator.inference import lookup as networks
    from orchestrator.ledger.ledger import Ledger

    found = _find(words, storage, tracking_uri)
    if len(found) > 1:
        raise UsageError(f"{len(found)} networks are given; a file holds one")
    exporting.export(networks.network(found[0], Ledger(storage), "cpu"), exporting.describe(found[0]), output)
    click.echo(f"written: {output}")


@cli.command()
@click.option(
    "--format", "form", type=click.Choice(TABLE_FORMATS), default="table", show_default=True, help="Where it goes."
)
def paper(form: str) -> None:
    """Compute the paper's percentages and test its claims.

    Tables 2a, 2b and 5 follow from its Table 6.

    Exit code 1 if a number is not the printed one.
    """
    from orchestrator.paper import replication as computing
    from orchestrator.report import render

    found = computing.build()
    click.echo(render.show(found.tables, form))
    if form == "table":
        click.echo(f"\n{found.agreeing} of {found.printed} numbers are those that the paper prints.")
    if found.agreeing < found.printed:
        sys.exit(1)


def _print(rows: list[dict[str, Any]], form: str, *, title: str) -> None:
    from orchestrator.report import render

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
    from orchestrator.sweepfile.load import load
    from orchestrator.tracking import ui as browsing
    from orchestrator.tracking.store import check_uri, default_uri

    uri = check_uri(tracking_uri or default_uri(storage))
    browsing.serve(load(sweep_file).name, storage, uri, host, port, click.echo)


@cli.group()
def data() -> None:
    """Download data sets, and check their files."""


def _data_of(storage: Location) -> Path:
    from orchestrator.ledger.storage import checked, local_folder

    return local_folder(checked(storage)) / "data"


def _datasets() -> list[str]:
    from anytime_core.data.catalog import DATASETS

    return list(DATASETS)


_dataset = click.argument("name", metavar="DATASET", type=_Names(_datasets))
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
    """Download what is missing of a data set.

    DATASET is cifar10, cifar100, svhn or fashion_mnist; digits comes with scikit-learn.
    """
    from anytime_core.data import fetch as fetching

    fetching.fetch(name, root)


@data.command()
@_dataset
@_root
@_format
def check(name: str, root: Path, form: str) -> None:
    """Compare the files of a data set with what was published.

    DATASET is cifar10, cifar100, svhn or fashion_mnist; digits, which comes with scikit-learn, has no files.
    """
    from anytime_core.data import fetch as fetching
    from anytime_core.data.source_files import USABLE

    files = fetching.check(name, root)
    if not files and form == "table":
        click.echo(f"{name} has no files of its own: there is nothing to check")
        return
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
    """Check what a sweep needs, and say how to mend it.

    That is the cluster, the storage, the data and MLflow.

    With a sweep, also whether its data sets are on every node, and a trial fits on one. Exit code 1 if there is a
    problem.
    """
    from orchestrator import doctor as examining
    from orchestrator.ledger.storage import local_folder
    from orchestrator.report import render
    from orchestrator.sweepfile.load import load
    from orchestrator.tracking.store import check_uri, default_uri

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
