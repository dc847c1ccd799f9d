"""From a source to the images of a data set: read once, checked, put in one order, and cached.

The order of images is that of their contents. So neither file names nor formats nor the order of rows are part of a
trial's identity, and the last images, which ``validation: N`` holds out, are a mixture of all classes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from anytime_core.config import OwnData
from anytime_core.data import cache
from anytime_core.data.dataset import Images
from anytime_core.data.own.source import REQUIRED, SPLITS, Faults, Format, Found, Source, Split
from anytime_core.errors import DataError

VERSION = 1  # to be raised when a reader, or the order of images, or what is noted of them, changes
FIRST = 5
"""Images whose names are noted, to be shown."""
LARGEST = 4096
"""Pixels of a side that pictures may be resized to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnImages:
    """A data set of the user's own. ``class_names`` are in the order of the labels.

    ``first`` names the first images of each split, ``notes`` counts what was changed in pictures, ``ignored`` files
    that no data set means, and ``shared`` the test images that are training images, too.
    """

    images: Images
    class_names: tuple[str, ...]
    first: dict[str, list[str]]
    notes: dict[str, int]
    ignored: int
    shared: int

    @property
    def described(self) -> OwnData:
        """What a trial on these data holds of them."""
        images, validation = self.images, self.images.validation_images
        return OwnData(
            content=cache.content_hash(images),
            class_names=self.class_names,
            channels=images.train_images.shape[1],
            size=images.train_images.shape[2],
            train_images=len(images.train_images),
            test_images=len(images.test_images),
            validation_images=0 if validation is None else len(validation),
        )


def load(source: Source, form: Format) -> OwnImages:
    """The data set, mapped from the cache where it has been read before. Raises DataError with every fault in it.

    The cache is .cache beside ``source.path``, or the user's own if nothing can be written there.
    """
    if cached := opened(source, form):
        return cached
    return _own(*cache.kept(_key(source, form), _root(source), partial(_read, source, form)))


def read(source: Source, form: Format) -> OwnImages:
    """The same, read now whatever is in a cache, and put in none."""
    return _own(*_read(source, form))


def _read(source: Source, form: Format) -> tuple[Images, cache.About]:
    key, faults = _key(source, form), Faults(source)
    try:
        found = form.read(source, faults)
    except OSError as error:  # such as a folder that may not be read
        raise DataError(f"{source.name}: {error.filename or source.path}: {error.strerror or error}") from error
    _check(found, faults)
    faults.refuse()
    if _key(source, form) != key:
        raise DataError(f"{source.name}: {source.path} changed while it was read; try again")
    return _ordered(found)


def opened(source: Source, form: Format) -> OwnImages | None:
    """The data set, if it has been read since its files changed. Raises DataError if they are not there."""
    cached = cache.opened(_key(source, form), _root(source))
    return _own(*cached) if cached else None


def _own(images: Images, about: cache.About) -> OwnImages:
    return OwnImages(images=images, **{**about, "class_names": tuple(about["class_names"])})


def _root(source: Source) -> Path:
    return source.path.parent


def _key(source: Source, form: Format) -> str:
    """Changes with the names, sizes and times of the files, of which none is read."""
    if not os.path.exists(source.path):  # not the path's own method, which raises for a name that is too long
        raise DataError(f"{source.name}: {source.path} is not there")
    root = source.path.resolve()
    try:
        files = sorted(_stats(root, form))
    except OSError as error:
        raise DataError(f"{source.name}: {error.filename or source.path}: {error.strerror or error}") from error
    identity = [VERSION, cache.FORMAT, source.format, source.size, str(root), files, *filter(None, [source.reader])]
    return f"own-{hashlib.sha256(json.dumps(identity).encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def _stats(root: Path, form: Format) -> Iterator[tuple[str, int, int]]:
    """Of a folder the name alone: its time also changes with what is ignored in it."""
    for path in form.files(root):
        name = path.removeprefix(str(root))
        try:
            status = os.stat(path)
        except FileNotFoundError:  # a link that leads nowhere, which a reader refuses
            yield name, -1, -1
            continue
        folder, file = stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode)
        if not folder and not file:
            raise DataError(f"{path} is neither a file nor a folder")
        yield (name, status.st_size, status.st_mtime_ns) if file else (name, -1, 0)


# What is refused, whatever the format


def _check(found: Found, faults: Faults) -> None:
    for split in REQUIRED:
        if split not in found.splits or not len(found.splits[split].images):
            faults.add(f"there are no {split} images")
    for fault in _name_faults(found.class_names):
        faults.add(fault)
    highest = len(found.class_names) - 1
    for part in found.splits.values():
        for place in np.flatnonzero((part.labels < 0) | (part.labels > highest)).tolist():
            faults.add(f"{part.names[place]} has label {part.labels[place]}, must be 0 to {highest}")
    if "train" in found.splits:
        trained = set(found.splits["train"].labels.tolist())
        for label, name in enumerate(found.class_names):
            if label not in trained:
                faults.add(f"class {name!r} has no training images that can be used")


def _name_faults(names: Sequence[str]) -> Iterator[str]:
    if len(names) < 2:
        yield f"there {'is 1 class' if names else 'are no classes'}, must be at least 2"
    plain = [normalize("NFC", name).casefold().strip() for name in names]
    for name, count in Counter(plain).items():
        alike = [given for given, own in zip(names, plain, strict=True) if own == name]
        if count > 1:
            yield f"classes {', '.join(map(repr, alike))} differ in case or spaces at most; give each a name of its own"
        if not name or not name.isprintable():
            yield f"class {alike[0]!r} has no name that can be shown"


# The order


def _ordered(found: Found) -> tuple[Images, cache.About]:
    marks = {split: _marks(found.splits[split]) for split in SPLITS if split in found.splits}
    orders = {split: np.array(sorted(range(len(own)), key=own.__getitem__), np.int64) for split, own in marks.items()}
    arrays: dict[str, Any] = {}
    for split, order in orders.items():
        arrays[f"{split}_images"] = found.splits[split].images[order]
        arrays[f"{split}_labels"] = found.splits[split].labels[order]
    trained = {mark for mark, _ in marks["train"]}
    about = {
        "class_names": list(found.class_names),
        "first": {split: [found.splits[split].names[at] for at in order[:FIRST]] for split, order in orders.items()},
        "notes": dict(sorted(found.notes.items())),
        "ignored": found.ignored,
        "shared": sum(mark in trained for mark, _ in marks["test"]),
    }
    return Images(**arrays), about


def _marks(split: Split) -> list[tuple[bytes, int]]:
    """Of each image a hash of its pixels, and its label."""
    hashes = (hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in split.images)
    return list(zip(hashes, map(int, split.labels), strict=True))
