"""Pictures, one after the other, become the arrays of a data set."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np

from anytime_core import pictures
from anytime_core.data.dataset import Bytes
from anytime_core.data.own.source import MOST_BYTES, Faults, Source, Split
from anytime_core.errors import DataError

MOST_BYTES_OF_A_PICTURE = 64 << 20
"""As a file."""


class Gallery:
    """Collects the pictures of all splits. They are grey if all of them are, else in colour.

    A picture that cannot be used is a fault; so is one whose size is not that of most, where none is to be resized.
    """

    def __init__(self, source: Source, faults: Faults) -> None:
        self._source, self._faults = source, faults
        self._names: dict[str, list[str]] = {}
        self._images: dict[str, list[Bytes]] = {}
        self._labels: dict[str, list[int]] = {}
        self._bytes = 0
        self.notes: Counter[str] = Counter()

    def add(self, split: str, name: str, picture: Path | bytes, label: int) -> None:
        """Adds a picture, a file or its bytes. Raises DataError once there are more than memory should hold."""
        for kept in (self._names, self._images, self._labels):
            kept.setdefault(split, [])
        try:
            image = self._read(picture)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            self._faults.add(f"{name} {_as_clause(reason)}")
            return
        self._names[split].append(name)
        self._images[split].append(image)
        self._labels[split].append(label)
        self._bytes += image.size
        if self._bytes > MOST_BYTES:
            raise DataError(f"{self._source.name}: holds more than {MOST_BYTES >> 30} GiB of pixels, which is allowed")

    def _read(self, picture: Path | bytes) -> Bytes:
        count = len(picture) if isinstance(picture, bytes) else picture.stat().st_size
        if count > MOST_BYTES_OF_A_PICTURE:
            raise ValueError(f"is {count:,} bytes, must be at most {MOST_BYTES_OF_A_PICTURE:,}")
        image, notes = pictures.decoded(BytesIO(picture) if isinstance(picture, bytes) else picture)
        self.notes.update(notes)
        return np.ascontiguousarray(
            pictures.pixels_of(pictures.resized(image, self._source.size) if self._source.size else image)
        )

    def splits(self) -> dict[str, Split]:
        """The pictures that agree in size; the others are faults."""
        every = [image for images in self._images.values() for image in images]
        sizes = Counter(image.shape[1:] for image in every)
        if not sizes:
            return {}
        usual = height, width = max(sizes, key=lambda size: sizes[size])
        if height != width:
            given = f"{width} x {height} pixels"
            self._faults.add(f"most pictures are {given}, must be square; `size: {min(usual)}` makes them so")
        channels = max(image.shape[0] for image in every)
        return {split: self._split(split, (channels, *usual)) for split in self._images}

    def _split(self, split: str, shape: tuple[int, ...]) -> Split:
        """Those of this shape; a grey picture among coloured ones fills all channels."""
        fitting = []
        for place, (name, image) in enumerate(zip(self._names[split], self._images[split], strict=True)):
            if image.shape[1:] == shape[1:]:
                fitting.append(place)
            else:
                given, usual = (f"{size[1]} x {size[0]}" for size in (image.shape[1:], shape[1:]))
                self._faults.add(
                    f"{name} is {given} pixels, and most are {usual}; `size: {min(shape[1:])}` resizes all"
                )
        joined = np.empty((len(fitting), *shape), np.uint8)
        for row, place in zip(joined, fitting, strict=True):
            row[:] = self._images[split][place]
        labels = np.array([self._labels[split][place] for place in fitting], np.int64)
        return Split(images=joined, labels=labels, names=[self._names[split][place] for place in fitting])


def _as_clause(reason: object) -> str:
    """Our own words begin with a verb, the system's with a noun."""
    text = str(reason)
    return text if text.startswith(("is ", "has ")) else f"cannot be read: {text}"
