"""The options and arguments that several commands take, each made once, and the groups that they come in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from orchestrator.cli.main import set_debug
from orchestrator.cli.parameter_types import (
    Expanded,
    FileOrFolder,
    NameOrPath,
    Names,
    Percent,
    Share,
    StorageType,
    SweepFile,
)
from orchestrator.errors import UsageError
from orchestrator.places import (
    DATA_ROOT,
    DEFAULT_STORAGE,
    RAY_ADDRESS,
    STORAGE,
    TRACKING_URI,
    Places,
    Room,
    checked_address,
)
from orchestrator.text import FromEnvironment

if TYPE_CHECKING:
    from orchestrator.inference.guarantees import Asked
    from orchestrator.ledger.storage import Location

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

TABLE_OR_JSON = ("table", "json")
ROWS = (*TABLE_OR_JSON, "csv")
DOCUMENTS = (*ROWS, "markdown", "latex")


# Arguments


def _datasets() -> Sequence[str]:
    from anytime_core.data.catalog import DATASETS

    return tuple(DATASETS)


def _losses() -> Sequence[str]:
    from orchestrator.stats.outcomes.guarantees import LOSSES

    return tuple(LOSSES)


def sweep_file(*, required: bool = True) -> Decorator:
    name = "SWEEP.yaml" if required else "[SWEEP.yaml]"
    return click.argument("sweep_file", metavar=name, type=SweepFile(), required=required)


def words(metavar: str) -> Decorator:
    return click.argument("words", nargs=-1, required=True, metavar=metavar, type=Expanded())


cell = click.argument("cell", nargs=-1, required=True)
dataset = click.argument("name", metavar="DATASET", type=Names(_datasets))
any_dataset = click.argument("given", metavar="DATASET", type=NameOrPath(_datasets))


# Options


def _with_origin(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Lets messages name the variable that gave the value."""
    by = context.get_parameter_source(parameter.name or "")
    if value and by is ParameterSource.ENVIRONMENT and isinstance(parameter.envvar, str):
        return FromEnvironment(value, parameter.envvar)
    return value


def _checked_address(context: click.Context, parameter: click.Parameter, address: str | None) -> str | None:
    return checked_address(_with_origin(context, parameter, address))


def _default_data_root() -> Path:
    """Follows the variable of ``--storage``, which the commands on data sets do not have."""
    given = os.environ.get(STORAGE) or DEFAULT_STORAGE
    return Places(storage=StorageType().convert(given, None, None)).data_root


def form(formats: Sequence[str]) -> Decorator:
    """The option ``--format`` with these to choose from."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(formats),
        default="table",
        show_default=True,
        help="For people or machines.",
    )


def _set_trust(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    """Holds until the process ends, as what it lets in does."""
    from orchestrator.sweepfile.trust import policy

    policy.given |= given
    policy.ask = _asked if sys.stdin.isatty() else None


def _asked(what: str) -> bool:
    return click.confirm(f"{what}. Go on, and trust it from now on?", err=True)


trust = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    callback=_set_trust,
    help="Trust the sweep file's command, webhook and extensions from now on: you have looked at them.",
)
debug = click.option(
    "--debug", is_flag=True, is_eager=True, expose_value=False, callback=set_debug, help="Show tracebacks."
)


def _storage(*, read_only: bool) -> Decorator:
    return click.option(
        "--storage",
        type=StorageType(bundle=read_only),
        default=DEFAULT_STORAGE,
        show_default=True,
        envvar=STORAGE,
        show_envvar=True,
        help="Folder of results, checkpoints and, unless told otherwise, MLflow's database and the data; or "
        "s3://BUCKET/PREFIX?endpoint_override=...&region=... for results and checkpoints"
        + ("; or a bundle." if read_only else "."),
    )


other_storage = click.option(
    "--other-storage",
    type=StorageType(bundle=True),
    help="Where the other one's results are, as --storage.  [default: the same storage]",
)
tracking_uri = click.option(
    "--tracking-uri",
    envvar=TRACKING_URI,
    show_envvar=True,
    callback=_with_origin,
    help="MLflow server or database.  [default: SQLite in the storage folder]",
)
_FOLDER_OF_DATA: dict[str, Any] = {
    "type": FileOrFolder(file=False),
    "envvar": DATA_ROOT,
    "show_envvar": True,
}
data_root = click.option(
    "--data-root", help="Folder of the data sets.  [default: data in the storage folder]", **_FOLDER_OF_DATA
)
root = click.option(
    "--root",
    default=_default_data_root,
    show_default="data in the storage folder",
    help="Folder of the data sets.",
    **_FOLDER_OF_DATA,
)
address = click.option(
    "--address",
    envvar=RAY_ADDRESS,
    show_envvar=True,
    callback=_checked_address,
    help="Ray cluster.  [default: this machine alone]",
)
cpus = click.option("--cpus", type=click.IntRange(min=1), help="CPU cores of each trial, instead of the sweep's.")
slots = click.option(
    "--slots",
    type=click.IntRange(min=1),
    help="CPU cores of this machine to use at most, so that others have room.  [default: all that it may use]",
)
gpus = click.option("--gpus", type=Share(), help="Share of a GPU of each trial, or auto, instead of the sweep's.")
price = click.option(
    "--price", metavar="AMOUNT", help='Of an hour of a device, such as "2.50 EUR"; instead of the sweep\'s.'
)
wide = click.option("--wide", is_flag=True, help="Show whole tables, however wide; else they fit the terminal.")
md5 = click.option(
    "--md5/--no-md5", "check_md5", default=True, show_default=True, help="Check the data files' md5 sums."
)
sequence = click.option(
    "--sequence", is_flag=True, help="Run the networks of all depths that CELL fits, one after the other (EANN)."
)
device = click.option("--device", help="Such as cpu or cuda:1.  [default: CUDA where there is one]")
threads = click.option("--threads", type=click.IntRange(min=1), help="On the CPU.  [default: as many as torch takes]")

delta = click.option(
    "--delta", type=Percent(), metavar="SHARE", help="But for this chance, such as 10%; without it, on average."
)
loss = click.option(
    "--loss",
    type=Names(_losses),
    help="lost: wrong where the last prediction is right; error: wrong; differs: not as the last.  [default: lost]",
)


def risk(*, required: bool = False) -> Decorator:
    what = "The largest share of losses" if required else "Stop where `calibrate` found, for this share of losses"
    return click.option("--risk", type=Percent(), metavar="SHARE", required=required, help=f"{what}, such as 2%.")


# Groups


def together(*options: Decorator) -> Decorator:
    """Joins options into one decorator; help shows them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def with_places(*others: Decorator, read_only: bool = False) -> Decorator:
    """Adds ``--storage``, ``--trust``, ``--debug`` and the ``others``, which are ``tracking_uri`` and ``data_root`` or
    one of them. The command gets the places among them as one ``places``. The storage of one that is ``read_only`` may
    be a bundle."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_one(
            *, storage: Location, data_root: Path | None = None, tracking_uri: str | None = None, **rest: Any
        ) -> Any:
            if read_only:
                storage = _own_storage(rest.get("sweep_file"), storage)
            places = Places(storage=storage, given_data_root=data_root, given_tracking_uri=tracking_uri)
            return command(places=places, **rest)

        return together(_storage(read_only=read_only), trust, debug, *others)(with_one)

    return decorate


def _own_storage(sweep_file: Path | None, storage: Location) -> Location:
    """A bundle in place of the sweep file is the storage, too, unless the command line names another."""
    from orchestrator.ledger.bundle import SUFFIX

    given = click.get_current_context().get_parameter_source("storage") is ParameterSource.COMMANDLINE
    return sweep_file if sweep_file and sweep_file.suffix == SUFFIX and not given else storage


def places_at(sweep_file: Path, storage: Location) -> Places:
    """Of one sweep of two: a bundle in place of its file is its storage, too, whatever that of the other is."""
    from orchestrator.ledger.bundle import is_bundle

    return Places(storage=sweep_file if is_bundle(sweep_file) else storage)


def other_places(sweep_file: Path, other_storage: Location | None) -> Places:
    """Of the other sweep of a command with ``--other-storage``."""
    return places_at(sweep_file, other_storage or click.get_current_context().params["storage"])


def on_a_sweep(*others: Decorator, read_only: bool = False) -> Decorator:
    return together(sweep_file(), with_places(*others, read_only=read_only))


def on_networks(metavar: str, *, read_only: bool = False) -> Decorator:
    return together(words(metavar), with_places(tracking_uri, read_only=read_only))


def with_a_guarantee(*, required: bool = False) -> Decorator:
    """Adds ``--risk``, ``--delta`` and ``--loss``. The command gets them as one ``asked``; None without a risk."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_one(*, risk: float | None, delta: float | None, loss: str | None, **rest: Any) -> Any:
            return command(asked=_guarantee(risk, delta, loss, rest.get("confidence")), **rest)

        return together(risk(required=required), delta, loss)(with_one)

    return decorate


def _guarantee(risk: float | None, delta: float | None, loss: str | None, confidence: float | None) -> Asked | None:
    from anytime_core.inputs import LOST, check_asked
    from orchestrator.inference.guarantees import Asked

    try:
        check_asked(risk, delta, loss, confidence)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return None if risk is None else Asked(risk=risk, delta=delta, loss=loss or LOST)


def on_a_cluster(command: Command) -> Command:
    """Adds ``--address``, ``--cpus``, ``--gpus`` and ``--slots``. The command gets them as one ``room``."""

    @wraps(command)
    def with_one(
        *, address: str | None, cpus: int | None, gpus: float | str | None, slots: int | None, **rest: Any
    ) -> Any:
        return command(room=Room(address=address, cpus=cpus, gpus=gpus, slots=slots), **rest)

    return together(address, cpus, gpus, slots)(with_one)


as_a_predictor = together(sequence, device, threads)
