"""Where a command or a script finds results, data sets, MLflow and a cluster, and how much of one its trials may use.

What nobody gives is in the environment, or below the storage.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.text import ADDRESSES, FromEnvironment, expanded_path, named

if TYPE_CHECKING:
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.ledger.storage import Location

DEFAULT_STORAGE = Path("runs")
STORAGE, DATA_ROOT = "ORCHESTRATE_STORAGE", "ORCHESTRATE_DATA_ROOT"
NOTIFY, GRACE = "ORCHESTRATE_NOTIFY", "ORCHESTRATE_GRACE"
TRACKING_URI, RAY_ADDRESS = "MLFLOW_TRACKING_URI", "RAY_ADDRESS"
"""Variables that give what an option does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The storage, and what the user gave of the others: None for what nobody gave, or the command does not take."""

    storage: Location
    given_data_root: Path | None = None
    given_tracking_uri: str | None = None

    @property
    def ledger(self) -> Ledger:
        from orchestrator.ledger.ledger import Ledger

        return Ledger(self.storage)

    @property
    def data_root(self) -> Path:
        from orchestrator.ledger.storage import local_folder

        return self.given_data_root or local_folder(self.storage) / "data"

    @property
    def tracking_uri(self) -> str:
        """Raises UsageError for a URI that no MLflow store answers to."""
        from orchestrator.tracking.uris import SQLITE, check_uri, default_uri

        given = self.given_tracking_uri
        if given and given.startswith(f"{SQLITE}~"):
            given = SQLITE + expanded(given.removeprefix(SQLITE))
        return check_uri(given or default_uri(self.storage))


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """Where trials run, and how much each may use. None stands for this machine alone, for what the sweep file says,
    and for all CPUs; ``slots`` are those that a cluster of the command's own gives out at most. Raises UsageError with
    every fault."""

    address: str | None = None
    cpus: int | None = None
    gpus: float | str | None = None
    slots: int | None = None

    def __post_init__(self) -> None:
        faults = [
            *(_count_faults("cpus", self.cpus)),
            *(_count_faults("slots", self.slots)),
            *(_share_faults(self.gpus)),
        ]
        if self.slots and self.address:
            faults.append(
                f"--slots {self.slots} limits what a sweep uses of this machine, and "
                f"{named(self.address, '--address')} names a cluster; leave out one of them"
            )
        if faults:
            raise UsageError("\n".join(faults))


def _count_faults(name: str, given: object) -> list[str]:
    sound = given is None or (isinstance(given, int) and not isinstance(given, bool) and given >= 1)
    return [] if sound else [f"{name}: given {given!r}; must be a whole number of at least 1"]


def _share_faults(given: object) -> list[str]:
    number = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1
    return [] if given in (None, "auto") or number else [f"gpus: given {given!r}; must be from 0 to 1, or auto"]


def places_of(
    storage: str | os.PathLike[str] | None = None,
    data_root: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
) -> Places:
    """The places of a script: given, or else from the environment, as for a command. They stay where they are when the
    script changes its working folder. Raises UsageError."""
    from orchestrator.ledger.storage import checked

    location = checked(os.fspath(storage or from_environment(STORAGE) or DEFAULT_STORAGE))
    root = data_root or from_environment(DATA_ROOT)
    return Places(
        storage=_folder("storage", location) if isinstance(location, Path) else location,
        given_data_root=_folder("data_root", root) if root else None,
        given_tracking_uri=tracking_uri or from_environment(TRACKING_URI),
    )


def _folder(name: str, given: str | os.PathLike[str]) -> Path:
    path = Path(expanded(os.fspath(given))).absolute()
    if path.is_file():
        raise UsageError(f"{name} {path}: is a file; must be a folder")
    return path


def room_of(
    address: str | None = None,
    cpus: int | None = None,
    gpus: float | str | None = None,
    slots: int | None = None,
) -> Room:
    """The room of a script's trials. An address is given, or else from the environment. Raises UsageError."""
    if address is None:
        address = from_environment(RAY_ADDRESS)
    return Room(address=checked_address(address), cpus=cpus, gpus=gpus, slots=slots)


def from_environment(variable: str) -> FromEnvironment | None:
    """What a variable says, for which a message can name it; None where it says nothing."""
    value = os.environ.get(variable)
    return FromEnvironment(value, variable) if value else None


def checked_address(address: str | None) -> str | None:
    """A cluster's address, or None. Takes an empty address, as an unset variable leaves it, for none. ``local`` and
    ``auto`` mean what they mean to Ray: this machine alone, and the variable's cluster if that names one. Raises
    UsageError for what is no address."""
    if address == "auto":
        address = from_environment(RAY_ADDRESS) or address
    if address and address not in ("auto", "local") and ":" not in address:
        raise UsageError(f"{named(address, '--address')}: allowed: {ADDRESSES}")
    return None if address in ("", "local") else address


def expanded(text: str) -> str:
    """A path with the home folder in the place of a leading ``~`` and the values of ``$VARIABLES``: the shell puts
    neither into ``--output=~/x``, into quotes, or into most files of variables. Raises UsageError where there is no
    such home."""
    path = expanded_path(text)
    if path.startswith("~"):
        home = path.partition("/")[0]
        raise UsageError(f"{text}: there is no home folder {home}; for one of that very name give ./{text}")
    return path
