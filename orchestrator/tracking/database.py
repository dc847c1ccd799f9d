"""The file of a SQLite store: how it is made, who may write it, and what it says of places after it was moved. Imports
no MLflow."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from anytime_core.files import open_plain
from orchestrator.tracking.uris import ARTIFACTS, FOLDER, sqlite_uri

STALE = 3600.0
"""In seconds: a database that is still half made then has no maker any more."""
BUSY_SECONDS = 20.0
"""As long as MLflow waits for a database that another process writes."""


def create(database: Path, fill: Callable[[str], object]) -> None:
    """Makes a new file under another name, where ``fill`` is given its URI to make the tables: one that was left half
    made could never be used."""
    with suppress(FileNotFoundError):
        check_plain(database)
    database.parent.mkdir(parents=True, exist_ok=True)
    _tidy(database.parent)
    with TemporaryDirectory(prefix=".new-", dir=database.parent) as folder:
        made = Path(folder) / database.name
        fill(sqlite_uri(made.absolute()))
        made.chmod(0o666 & ~_umask())  # SQLite makes 0644; its -wal and -journal get what the database has
        _put_in_place(made, database)


def _umask() -> int:
    """This process's. Linux tells it without setting it, which other threads would see."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _tidy(folder: Path) -> None:
    """Takes away what processes that were killed left long ago."""
    for left in folder.glob(".new-*"):
        with suppress(FileNotFoundError):
            if left.lstat().st_mtime < time.time() - STALE:
                shutil.rmtree(left, ignore_errors=True)


def _put_in_place(made: Path, database: Path) -> None:
    """Unless another process was first: its file may have runs already."""
    try:
        os.link(made, database)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not database.exists():
            os.replace(made, database)


def refuse_links(database: Path) -> None:
    """Raises OSError for a link in place of the database of a storage folder: a writer of the folder could have MLflow
    make its tables in another database of this user's. A database that the user names may be a link."""
    if database.parent.name == FOLDER:
        for path in (database.parent, database):
            if path.is_symlink():
                raise OSError(errno.ELOOP, "is a link, which is not followed in a storage folder", str(path))


def share(database: Path) -> None:
    """Lets the group write a file of ours where it may write the folder: earlier versions let its owner alone."""
    with suppress(OSError):
        group = database.parent.stat().st_mode & (stat.S_IRGRP | stat.S_IWGRP)
        opened = open_plain(*_below(database))
        try:
            if missing := group & ~os.fstat(opened).st_mode & ~_umask():
                os.fchmod(opened, stat.S_IMODE(os.fstat(opened).st_mode) | missing)
        finally:
            os.close(opened)


def _below(database: Path, name: str = "") -> tuple[Path, str]:
    """The folder below which nobody follows links, and where the database, or a name beside it, is from there: the
    storage folder. Who keeps a database elsewhere chose its place, links and all."""
    own = database.absolute().parent
    if own.name == FOLDER and (own.parent / "sweeps").is_dir():
        return own.parent, f"{FOLDER}/{name or database.name}"
    real = database.resolve()
    return (own, name) if name else (real.parent, real.name)


def check_plain(database: Path) -> None:
    """Raises UnfitFileError for what is no file, for which MLflow would wait or try for minutes, and for a link in a
    storage folder."""
    os.close(open_plain(*_below(database)))


def check_writable(database: Path) -> None:
    """Raises PermissionError that says whose a file is that this user cannot write: SQLite would say less. Raises as
    ``check_plain`` does."""
    check_plain(database)
    for path, what in ((database, "chmod g+w"), (database.parent, "chmod g+ws")):
        if not os.access(path, os.W_OK):
            status = path.stat()
            words = f"cannot be written by this user: it is {_owner(path)}'s, mode {stat.S_IMODE(status.st_mode):04o}"
            raise PermissionError(errno.EACCES, f"{path} {words}; its owner can share it: {what} {path}")


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:  # a user without a name here
        return f"user {path.stat().st_uid}"


# Places. MLflow keeps the absolute address of each experiment's and each run's files in the database.


def adopt(database: Path) -> str:
    """Makes the database of a storage folder that was moved or copied point to the files beside it, not to those where
    it was. Returns a line for the user where it did so. Raises sqlite3.Error.

    Only addresses that end in the same place of a storage folder are changed, and only where the folder that they name
    is not this one by another path.
    """
    own = database.absolute().parent
    if own.name != FOLDER or not (own.parent / "sweeps").is_dir():
        return ""  # not in a storage folder: who made it chose its places
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        if moved := list(_moved(connection, own / ARTIFACTS)):
            connection.execute("BEGIN IMMEDIATE")
            for old in moved:
                _rewrite(connection, old, (own / ARTIFACTS).as_uri())
            connection.execute("COMMIT")
    before = " and ".join(unquote(urlsplit(old).path).removesuffix(f"/{FOLDER}/{ARTIFACTS}") for old in moved)
    return f"this storage was at {before}; MLflow's runs now name their files in {own.parent}" if moved else ""


def _moved(connection: sqlite3.Connection, root: Path) -> Iterator[str]:
    """The other artifact roots that the experiments name; none in a file that MLflow has yet to fill."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return
    query = "SELECT artifact_location FROM experiments UNION SELECT artifact_uri FROM runs"
    roots = {_root_of(place) for (place,) in connection.execute(query) if isinstance(place, str)}
    for old in sorted(roots - {"", root.as_uri()}):
        with suppress(OSError):
            if os.path.samefile(unquote(urlsplit(old).path), root):
                continue
        yield old


def _root_of(place: str) -> str:
    """The part up to mlflow/artifacts; empty where that is no part of it."""
    tail = f"/{FOLDER}/{ARTIFACTS}"
    before, separator, _ = place.rpartition(f"{tail}/")
    return before + tail if separator and place.startswith("file:") else ""


def _rewrite(connection: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
            (new, len(old) + 1, len(old) + 1, f"{old}/"),
        )
