"""Image files as a network takes them: pixels [C,S,S] as its data set has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anytime_core.data.dataset import Dataset
from orchestrator.errors import UsageError

PICTURES = (".png", ".jpg", ".jpeg")
SUFFIXES = (*PICTURES, ".npy")
MODES = {1: ("L", "grey"), 3: ("RGB", "colour")}
"""By the number of channels: Pillow's name for such an image, and ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """``pixels`` are uint8 or float32 [C,S,S]; ``notes`` say what was changed."""

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def is_image(word: str) -> bool:
    return Path(word).suffix.lower() in SUFFIXES


def read(paths: Sequence[Path], dataset: Dataset, *, resize: bool = False) -> list[Picture]:
    """The images of all files. Raises UsageError with what is wrong with each.

    An .npy file holds pixels as the data set has them, [S,S], [C,S,S] or [N,C,S,S]. A picture is made grey or coloured
    as the data set is, and its values from 0 to 255 become those up to the data set's brightest; its size must fit,
    unless it is to be resized.
    """
    found: list[Picture] = []
    faults: list[str] = []
    for path in paths:
        try:
            found += _array(path, dataset) if path.suffix.lower() == ".npy" else [_picture(path, dataset, resize)]
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            faults.append(f"{path}: {reason}")
    if faults:
        raise UsageError("\n".join(faults))
    return found


def _array(path: Path, dataset: Dataset) -> list[Picture]:
    with path.open("rb") as file:
        try:
            pixels = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"is no whole .npy file of numbers ({error})") from error
    shape = dataset.image
    alone = pixels.shape == shape or (dataset.channels == 1 and pixels.shape == shape[1:])
    if pixels.dtype.kind not in "uif" or not (alone or (pixels.ndim == 4 and pixels.shape[1:] == shape)):
        allowed = f"{', '.join(map(str, shape))}]"
        raise ValueError(f"holds {pixels.dtype} {list(pixels.shape)}, must hold numbers [{allowed} or [N, {allowed}")
    if not np.isfinite(pixels).all():
        raise ValueError("holds what is no number")
    if alone:
        return [Picture(name=str(path), pixels=pixels.reshape(shape))]
    return [Picture(name=f"{path}[{index}]", pixels=image) for index, image in enumerate(pixels)]


def _picture(path: Path, dataset: Dataset, resize: bool) -> Picture:
    from PIL import Image, UnidentifiedImageError

    mode, word = MODES[dataset.channels]
    notes = []
    try:
        with Image.open(path) as image:
            if image.mode != mode:
                notes.append(f"{image.mode} as {word}")
            fitting, size = image.convert(mode), (dataset.size, dataset.size)
    except UnidentifiedImageError as error:  # whose words name the file
        raise ValueError("is no picture of a kind that is known") from error
    if fitting.size != size:
        was = f"{fitting.width} x {fitting.height} pixels"
        if not resize:
            raise ValueError(
                f"is {was}, and those of {dataset.name} are {dataset.size} x {dataset.size}; --resize makes it fit"
            )
        fitting = fitting.resize(size, Image.Resampling.BILINEAR, reducing_gap=None)
        notes.append(f"{was} resized to {dataset.size} x {dataset.size}")
    pixels: np.ndarray = (
        np.asarray(fitting, np.uint8).reshape(dataset.size, dataset.size, dataset.channels).transpose(2, 0, 1)
    )
    if dataset.brightest != 255:
        pixels = pixels.astype(np.float32) * (dataset.brightest / 255)
        notes.append(f"values of 0 to 255 as 0 to {dataset.brightest}")
    return Picture(name=str(path), pixels=pixels, notes=tuple(notes))
