"""What a reader is given, what it gives, and how it says what is wrong.

A reader goes through all there is and notes each fault, so that a user hears of all of them at once.

Shapes: N images, C channels, S x S pixels.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anytime_core.data.dataset import Bytes, Labels
from anytime_core.errors import DataError

SPLITS = ("train", "test", "validation")
REQUIRED = SPLITS[:2]
MOST_NAMED = 24
"""Faults that one message names."""
MOST_BYTES = 32 << 30
"""Of pixels in a data set, all of which are in memory while it is read."""
LEADS_OUT = "is a symbolic link out of the folder; must be the file itself"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a data set of the user's own lies and how it is read: no part of a trial's identity.

    ``size`` is the side that pictures are resized to; without it they must agree in size. ``reader`` is the part of an
    extension that reads the format, as JSON: so a source can be sent to where the extension is not imported yet.
    """

    name: str
    path: Path
    format: str
    size: int | None = None
    reader: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Images uint8 [N,C,S,S], labels [N], and what each image is called where it came from."""

    images: Bytes
    labels: Labels
    names: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a reader gives. ``class_names`` are in the order of the labels. ``notes`` count what was changed in
    pictures, and ``ignored`` the files that no data set means, such as .DS_Store."""

    class_names: tuple[str, ...]
    splits: Mapping[str, Split]
    notes: Mapping[str, int] = field(default_factory=Counter)
    ignored: int = 0


class Faults:
    """What is wrong with a data set: as many faults as a message names, and the count of all."""

    def __init__(self, source: Source) -> None:
        self._source, self._named, self._count = source, list[str](), 0

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, fault: str) -> None:
        self._count += 1
        if self._count <= MOST_NAMED:
            self._named.append(fault)

    def refuse(self) -> None:
        """Raises DataError if there are any."""
        if not self._count:
            return
        by = f", read by {self._source.format}," if self._source.reader else ""
        head = f"{self._source.name}: {self._source.path}{by} has {self._count} fault{'s' * (self._count > 1)}"
        more = [f"and {left} more"] if (left := self._count - len(self._named)) else []
        raise DataError("\n    ".join([f"{head}:", *self._named, *more]))


def leads_out(path: Path, root: Path) -> bool:
    """Whether it is a symbolic link to what is not below ``root``."""
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A format of files. ``files`` gives those that decide what ``read`` finds, of which neither reads one; ``read``
    notes what is wrong in ``Faults``, and raises DataError where it cannot go on.

    ``looks_alike`` tells whether a path seems to be of this format, and ``resizes`` whether it holds pictures, which
    have a size to choose.
    """

    read: Callable[[Source, Faults], Found]
    files: Callable[[Path], Iterator[str]]
    looks_alike: Callable[[Path], bool]
    resizes: bool
