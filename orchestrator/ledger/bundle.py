"""A bundle: a storage in one file, a .zip, to be given away and read. Nothing is ever unpacked.

Its files lie in it (``archive``) as in a storage::

    sweep/...                  the sweep file, and the files of its extensions, for people
    environment.json           what its trials ran on
    sweeps/NAME/sweep.json     what the sweep is made of
    trials/ID/...              those of its trials that ended, and what halving decides by
    notes/...                  what people noted of it and of its trials
    index.bin                  a copy of their results
    SHA256SUMS                 the checksum of each of these, as sha256sum writes it

Standard library only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from anytime_core.files import MOST, Guard
from orchestrator.ledger.archive import Archive

if TYPE_CHECKING:
    from orchestrator.ledger.storage import Location, Stamp

SUFFIX = ".zip"
"""Of a bundle that is given in place of a sweep file; one that is given as a storage may have any name."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_bundle(location: Location) -> bool:
    """Whether it is a file that is named as one."""
    return isinstance(location, Path) and location.suffix == SUFFIX and os.path.isfile(location)


class BundleStorage:
    """A Storage that is only read. Raises UsageError for a file that is no bundle, or is not as it was written."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.local = path.absolute()
        self._prefix = prefix
        self._archive = _archive(self.local, _stamp(path))

    @property
    def location(self) -> Location:
        return self.local

    def __str__(self) -> str:
        return self.address("").rstrip("/")

    def address(self, name: str) -> str:
        return f"{self.local}/{self._name(name)}"

    def _name(self, name: str) -> str:
        return "/".join(filter(None, (self._prefix, name)))

    def read(self, name: str, most: int = MOST) -> bytes:
        return self._archive.read(self._name(name), most)

    def names(self, below: str = "") -> list[str]:
        return list(self._archive.folders.get(self._name(below), ()))

    def below(self, name: str) -> BundleStorage:
        return BundleStorage(self.local, self._name(name))

    def exists(self, name: str = "") -> bool:
        return self._name(name) in self._archive.members or self._name(name) in self._archive.folders

    def stamps(self, names: Iterable[str]) -> dict[str, Stamp]:
        found = {name: self._archive.members.get(self._name(name)) for name in names}
        return {name: stamp(it.size, it.sha256) for name, it in found.items() if it}

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return map(function, items)

    def make(self, *folders: str) -> None:
        self._refuse()

    def write(self, name: str, content: bytes, guard: Guard = nullcontext) -> None:
        self._refuse()

    def delete(self, name: str) -> None:
        self._refuse()

    def rename(self, old: str, new: str) -> None:
        self._refuse()

    def walk(self, below: str) -> dict[str, Stamp]:
        own = len(self._name(" ")) - 1
        start = f"{self._name(below)}/"
        return self.stamps(name[own:] for name in self._archive.members if name.startswith(start))

    def clear(self, below: str) -> None:
        self._refuse()

    def tidy(self) -> None:
        """There is nothing: a bundle is written once."""

    def _refuse(self) -> NoReturn:
        raise OSError(errno.EROFS, "is a bundle, which is only read", str(self.local))


def stamp(size: int, sha256: str) -> Stamp:
    """Of a file in a bundle: what it holds tells it from another."""
    return 0, size, int(sha256[:16], 16)


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


@cache
def _archive(path: Path, stamp: tuple[int, int, int]) -> Archive:
    """Opened once, until the file is another."""
    return Archive(path)
