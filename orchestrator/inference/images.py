"""Image files as a network takes them: pixels [C,S,S] as its data set has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anytime_core import pictures
from anytime_core.data.dataset import Dataset
from anytime_core.inputs import read_array
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SUFFIXES = (*pictures.SUFFIXES, ".npy")
ADVICE = ", or give --background black or white"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """``pixels`` are uint8 or floats [C,S,S]; ``notes`` say what was changed."""

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def is_image(word: str) -> bool:
    return Path(word).suffix.lower() in SUFFIXES


def paths_of(words: Sequence[str]) -> list[Path]:
    """Picks the images among words. Raises UsageError for files of another kind, and if there is no image."""
    allowed = f"allowed: files that end in {', '.join(SUFFIXES)}"
    # The first word may be a sweep file.
    if others := [word for word in words[1:] if not is_image(word) and Path(word).suffix and Path(word).is_file()]:
        raise UsageError("\n".join(f"{word}: is no image; {allowed}" for word in others))
    paths = [Path(word) for word in words if is_image(word)]
    if not paths:
        raise UsageError(f"no image is given; {allowed}")
    return paths


def read(
    paths: Sequence[Path],
    dataset: Dataset,
    *,
    resize: bool = False,
    background: str | None = None,
    brightest: float | None = None,
) -> list[Picture]:
    """Reads the images of all files. Raises UsageError with what is wrong with each.

    An .npy file holds pixels as the data set has them, [S,S], [C,S,S] or [N,C,S,S], or from 0 to ``brightest``; the
    latter are scaled. A picture is turned by its EXIF orientation and made grey or coloured as the data set is. Its
    values, of 8 or 16 bits, become those from 0 to the data set's brightest. It must have the data set's size, unless
    ``resize`` is set, and be opaque, unless there is a ``background``: black or white.
    """
    images: list[Picture] = []
    faults: list[str] = []
    for path in paths:
        try:
            if path.suffix.lower() == ".npy":
                images += _array(path, dataset, brightest)
            else:
                images.append(_picture(path, dataset, resize, background))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            faults.append(f"{path}: {reason}")
    if faults:
        raise UsageError("\n".join(faults))
    return images


def _array(path: Path, dataset: Dataset, brightest: float | None) -> list[Picture]:
    given = read_array(path)
    pixels = dataset.spec.batch(given, brightest=brightest)
    notes = []
    if brightest not in (None, dataset.brightest):
        notes.append(f"values of 0 to {brightest:g} as 0 to {dataset.brightest}")
    if 0 < pixels.max() <= 1 < dataset.brightest:
        notes.append(f"nearly black: no value is above 1 of {dataset.brightest}")
    if given.ndim < 4:
        return [Picture(name=str(path), pixels=pixels[0], notes=tuple(notes))]
    return [Picture(name=f"{path}[{index}]", pixels=it, notes=tuple(notes)) for index, it in enumerate(pixels)]


def _picture(path: Path, dataset: Dataset, resize: bool, background: str | None) -> Picture:
    if dataset.channels not in pictures.MODES:
        raise ValueError(f"is a picture, and images of {dataset.name} have {dataset.channels} channels; give an .npy")
    fitting, notes = pictures.decoded(path, dataset.channels, background=background, advice=ADVICE)
    if fitting.size != (dataset.size, dataset.size):
        fitting = _resized(fitting, dataset, resize, notes)
    pixels = pictures.pixels_of(fitting)
    if dataset.brightest != 255:
        pixels = pixels.astype(np.float32) * dataset.brightest / 255  # in this order white is exactly the brightest
        notes.append(f"values of 0 to 255 as 0 to {dataset.brightest}")
    return Picture(name=str(path), pixels=pixels, notes=tuple(notes))


def _resized(image: PillowImage, dataset: Dataset, resize: bool, notes: list[str]) -> PillowImage:
    """Makes a picture of another size fit and notes that. Raises ValueError unless ``resize`` is set."""
    was, side = f"{image.width} x {image.height} pixels", dataset.size
    if not resize:
        raise ValueError(f"is {was}, and those of {dataset.name} are {side} x {side}; --resize makes it fit")
    notes.append(f"{was} resized to {side} x {side}")
    return pictures.resized(image, side)
