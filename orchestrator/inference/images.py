"""Image files as a network takes them: pixels [C,S,S] as its data set has them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anytime_core.data.dataset import Dataset
from anytime_core.inputs import read_array
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

PICTURES = (".png", ".jpg", ".jpeg")
SUFFIXES = (*PICTURES, ".npy")
FORMATS = ("PNG", "JPEG")
"""The formats that Pillow may open, by its names. For some of the others it starts programs."""
MODES = {1: ("L", "grey"), 3: ("RGB", "colour")}
"""By the number of channels: Pillow's name for such an image, and ours."""
EXIF_ORIENTATION = 0x0112


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
    pictures: list[Picture] = []
    faults: list[str] = []
    for path in paths:
        try:
            if path.suffix.lower() == ".npy":
                pictures += _array(path, dataset, brightest)
            else:
                pictures.append(_picture(path, dataset, resize, background))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            faults.append(f"{path}: {reason}")
    if faults:
        raise UsageError("\n".join(faults))
    return pictures


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
    mode, word = MODES[dataset.channels]
    opened, notes = _upright(path)
    if opened.mode.startswith("I"):
        notes.append("16 bits as 8")
    elif opened.mode != mode:
        notes.append(f"{opened.mode} as {word}")
    fitting = _opaque(_of_eight_bits(opened), background, notes).convert(mode)
    if fitting.size != (dataset.size, dataset.size):
        fitting = _resized(fitting, dataset, resize, notes)
    pixels: np.ndarray = (
        np.asarray(fitting, np.uint8).reshape(dataset.size, dataset.size, dataset.channels).transpose(2, 0, 1)
    )
    if dataset.brightest != 255:
        pixels = pixels.astype(np.float32) * dataset.brightest / 255  # in this order white is exactly the brightest
        notes.append(f"values of 0 to 255 as 0 to {dataset.brightest}")
    return Picture(name=str(path), pixels=pixels, notes=tuple(notes))


def _resized(image: PillowImage, dataset: Dataset, resize: bool, notes: list[str]) -> PillowImage:
    """Makes a picture of another size fit and notes that. Raises ValueError unless ``resize`` is set."""
    from PIL.Image import Resampling

    was, side = f"{image.width} x {image.height} pixels", dataset.size
    if not resize:
        raise ValueError(f"is {was}, and those of {dataset.name} are {side} x {side}; --resize makes it fit")
    notes.append(f"{was} resized to {side} x {side}")
    return image.resize((side, side), Resampling.BILINEAR, reducing_gap=None)


def _upright(path: Path) -> tuple[PillowImage, list[str]]:
    """Opens a picture as viewers show it, with notes. Raises OSError, and ValueError for what is no whole picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            opened = Image.open(path, formats=FORMATS)
        with opened:
            orientation = opened.getexif().get(EXIF_ORIENTATION, 1)
            frames = getattr(opened, "n_frames", 1)
            upright = ImageOps.exif_transpose(opened)
            upright.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        count = int((re.search(r"\d+", str(error)) or ["0"])[0])
        allowed = f"{Image.MAX_IMAGE_PIXELS or 0:,}"
        raise ValueError(f"is a picture of {count:,} pixels, must have at most {allowed}") from error
    except UnidentifiedImageError as error:  # its words name the file
        raise ValueError(f"is no {' or '.join(FORMATS)} picture") from error
    except OSError as error:
        if error.errno:  # the file system's, not Pillow's
            raise
        raise ValueError(f"is a damaged picture ({error})") from error
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise ValueError(f"is a damaged picture ({error})") from error
    notes = [f"turned by its EXIF orientation, {orientation}"] if orientation in range(2, 9) else []
    return upright, [*notes, *([f"the first of {frames} frames"] if frames > 1 else [])]


def _of_eight_bits(image: PillowImage) -> PillowImage:
    """Scales grey values of 16 bits, which Pillow would cut at 255. Pillow itself scales colours of 16 bits."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    grey = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    clear = image.info.get("transparency")
    if clear is None:
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))))


def _opaque(image: PillowImage, background: str | None, notes: list[str]) -> PillowImage:
    """Puts a picture on a background and notes that.

    Raises ValueError if a transparent picture has no background, because it shows something else on each, and if it
    shows nothing on the one it has.
    """
    from PIL import Image

    if not image.has_transparency_data:
        return image
    layers = image.convert("RGBA")
    values = np.asarray(layers)
    seen = values[values[..., 3] > 0][:, :3]
    if values[..., 3].min() == 255:
        return layers.convert("RGB")
    if not len(seen):
        raise ValueError("is transparent everywhere, must show something")
    if background is None:
        one = f" and everywhere else {tuple(map(int, seen[0]))}" if (seen == seen[0]).all() else ""
        raise ValueError(
            f"is transparent in parts{one}, so what it shows depends on what is behind it; must be opaque: save it "
            "with ink and background as the data set's images have them, or give --background black or white"
        )
    on = Image.alpha_composite(Image.new("RGBA", layers.size, background), layers).convert("RGB")
    if len(np.unique(np.asarray(on).reshape(-1, 3), axis=0)) == 1:
        raise ValueError(f"has only one colour on --background {background}, must show something")
    notes.append(f"its transparent parts on {background}")
    return on
