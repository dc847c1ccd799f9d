"""Files that are either whole or as they were, on a disk or wherever a Folder keeps them. Standard library only.

Others may be able to write to a folder, and must not be able to lead its user astray there. So no symbolic link below
it is followed, nothing but a plain file is opened, and no file is read that is larger than its kind can be. The folder
itself may be reached through links: its user chose it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import accumulate
from pathlib import Path
from typing import Protocol

Guard = Callable[[], AbstractContextManager[object]]
"""Entered for the moment in which a file takes its place; forbids that by raising."""

UNFINISHED = re.compile(r"\..+\.\d+\.[0-9a-f]{8}")
"""The names under which ``write_atomically`` writes."""
STALE = 3600.0
"""Seconds; a file that is still unfinished then has no writer any more."""
MOST = 1 << 23
"""Bytes of a file for which its reader names no other limit."""
FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A pipe would keep whoever opens it waiting for another process."""
NOT_PLAIN = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
"""What the system says of a link, of one in place of a folder, and of a pipe or a socket."""
KINDS = {
    stat.S_IFLNK: "a symbolic link, which is not followed",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnfitFileError(OSError, ValueError):
    """What lies at a name cannot be the file that is asked for: a link, a pipe, a folder, or larger than it can be.

    An OSError for who writes, and for who reads a ValueError as any other damage is.
    """


def user_cache() -> Path | None:
    """The folder for what may be deleted at any time; None where there is no home, as in some containers."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "anytime_core"
    return folder if folder.is_absolute() else None


def write_atomically(path: Path, content: bytes, guard: Guard = nullcontext, *, below: Path | None = None) -> None:
    """After a return the file is whole and on disk; after a kill it is the old one, or whole.

    A link at ``path`` is replaced, not followed. Nor is one among the folders between ``below`` and it, which are made;
    without ``below`` the file's folder must be there. Raises OSError that names ``path``.
    """
    root = below or path.parent
    if below:
        _make(below)
    with parent(root, str(path.relative_to(root)), make=True) as (folder, name):
        temporary = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o666, dir_fd=folder)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with guard():
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise
        _sync(folder)


def _make(root: Path) -> None:
    with suppress(FileExistsError):  # who opens it says what else it is
        root.mkdir(parents=True)


def _sync(folder: int) -> None:
    opened = os.open(".", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# Names below a folder


@contextmanager
def parent(root: Path, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """The open folder that a name below ``root`` is directly in, and its name there.

    Folders on the way are made with ``make``. Raises UnfitFileError where one of them is a link, OSError that names the
    path where there is none.
    """
    *folders, last = name.split("/")
    if ".." in folders or last in ("", ".."):
        raise UnfitFileError(errno.EINVAL, "leads out of its folder", f"{root}/{name}")
    here = os.open(root, FOLDER)
    try:
        for part in folders:
            try:
                here, left = _entered(here, part, make), here
            except OSError as error:
                raise _named(error, root, name) from error
            os.close(left)
        yield here, last
    finally:
        os.close(here)


def _entered(folder: int, part: str, make: bool) -> int:
    try:
        return os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(part, dir_fd=folder)
    return os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=folder)


def _named(error: OSError, root: Path, name: str) -> OSError:
    """The same error with the path in it; of what is no plain file or folder on the way, one that says so."""
    parts = name.split("/") if error.errno in NOT_PLAIN else []
    for path in accumulate(parts, "{}/{}".format, initial=str(root)):
        with suppress(OSError):
            mode = os.lstat(path).st_mode
            if path != str(root) and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                return _unfit(mode, path)
    return OSError(error.errno, error.strerror, f"{root}/{name}")


def _unfit(mode: int, path: str) -> UnfitFileError:
    return UnfitFileError(errno.ELOOP, f"is {KINDS.get(stat.S_IFMT(mode), 'no plain file')}", path)


def open_plain(root: Path, name: str, flags: int = os.O_RDONLY) -> int:
    """Opens a file below ``root`` and returns its descriptor, which is the caller's to close.

    With ``os.O_CREAT`` in ``flags`` it and its folders are made. Raises UnfitFileError for what is no plain file or
    lies behind a link, OSError that names the path.
    """
    with parent(root, name, make=bool(flags & os.O_CREAT)) as (folder, last):
        try:
            descriptor = os.open(last, flags | PLAIN, 0o666, dir_fd=folder)
        except IsADirectoryError as error:
            raise _unfit(stat.S_IFDIR, f"{root}/{name}") from error
        except OSError as error:
            raise _named(error, root, name) from error
    if stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise _unfit(mode, f"{root}/{name}")


def read_plain(root: Path, name: str, most: int = MOST) -> bytes:
    """The content of a file below ``root``. Raises as ``open_plain`` does; UnfitFileError for more than ``most`` bytes.

    What another process adds meanwhile is left out.
    """
    with open(open_plain(root, name), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise too_large(size, most, f"{root}/{name}")
        try:
            return file.read(size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{root}/{name}") from error


def too_large(size: int, most: int, address: str) -> UnfitFileError:
    return UnfitFileError(errno.EFBIG, f"is {size} bytes long, of at most {most}", address)


def plain_files(folder: Path) -> list[Path]:
    """All files below a folder, in the order of their paths; no links, and nothing behind one."""
    found = [Path(inside) / name for inside, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if stat.S_ISREG(os.lstat(path).st_mode))


class Folder(Protocol):
    """Files by name, each of which appears whole. A name may have parts, as ``trials/ID/result.json`` has.

    All raise OSError where the files cannot be reached.
    """

    def address(self, name: str) -> str:
        """Where a file is, for people."""

    def read(self, name: str, most: int = MOST) -> bytes:
        """Raises FileNotFoundError where there is none, UnfitFileError where it is no plain file of at most so many
        bytes, or another OSError."""

    def write(self, name: str, content: bytes, guard: Guard = nullcontext) -> None: ...

    def delete(self, name: str) -> None:
        """No fault where there is none."""

    def names(self, below: str = "") -> list[str]:
        """What is directly below a name; nothing where there is nothing."""

    def below(self, name: str) -> Folder: ...

    def tidy(self) -> None:
        """Drops what writers that were killed left directly in this folder, an hour ago."""


class LocalFolder:
    """A Folder on a disk of this machine, or on one that it shares: the one ``below`` a root, or the root itself.

    The root may be reached through links; none below it is followed.
    """

    def __init__(self, root: Path | str, below: str = "") -> None:
        self.root, self._below = Path(root), below
        self.path = self.root / below

    def __str__(self) -> str:
        return str(self.path)

    def _name(self, name: str) -> str:
        return f"{self._below}/{name}" if self._below else name

    def address(self, name: str) -> str:
        return str(self.path / name)

    def read(self, name: str, most: int = MOST) -> bytes:
        return read_plain(self.root, self._name(name), most)

    def open(self, name: str, flags: int) -> int:
        """As ``open_plain`` does; with ``os.O_CREAT`` the folder itself is made, too."""
        if flags & os.O_CREAT:
            _make(self.root)
        return open_plain(self.root, self._name(name), flags)

    def write(self, name: str, content: bytes, guard: Guard = nullcontext) -> None:
        write_atomically(self.path / name, content, guard, below=self.root)

    def append(self, name: str, content: bytes) -> None:
        """Adds to a file. One that has another name as well, a hard link, may be any file of this user's: it is left
        alone, as is what is no plain file, and a new one takes its place."""
        try:
            descriptor = self.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        except UnfitFileError:
            self.delete(name)
            descriptor = self.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        with open(descriptor, "ab") as file:
            if os.fstat(descriptor).st_nlink == 1:
                file.write(content)
                return
        self.delete(name)
        self.append(name, content)

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError), parent(self.root, self._name(name)) as (folder, last):
            try:
                os.unlink(last, dir_fd=folder)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self.address(name)) from error

    def names(self, below: str = "") -> list[str]:
        try:
            with parent(self.root, self._name(f"{below}/." if below else ".")) as (folder, last):
                opened = os.open(last, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return os.listdir(opened)
        finally:
            os.close(opened)

    def below(self, name: str) -> LocalFolder:
        return LocalFolder(self.root, self._name(name))

    def tidy(self) -> None:
        """Not the file that another process writes just now: one that was given up for dead may still be at work."""
        for name in filter(UNFINISHED.fullmatch, self.names()):
            with suppress(FileNotFoundError):
                if (self.path / name).lstat().st_mtime < time.time() - STALE:
                    self.delete(name)


def folder_at(place: Folder | Path | str) -> Folder:
    return LocalFolder(place) if isinstance(place, Path | str) else place
