"""Pictures as networks take them: PNG and JPEG, upright, opaque, of 8 bits, grey or in colour.

``orchestrate predict`` and data sets of the user's own read pictures through this one module, so that a picture is the
same to both. Pillow is imported once there is a picture to read.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
"""The formats that Pillow may open, by its names. For some of the others it starts programs."""
MODES = {1: ("L", "grey"), 3: ("RGB", "colour")}
"""By the number of channels: Pillow's name for such an image, and ours."""
GREYS = ("1", "L", "LA", "La", "I", "F")
EXIF_ORIENTATION = 0x0112


def decoded(
    source: Path | BinaryIO, channels: int | None = None, *, background: str | None = None, advice: str = ""
) -> tuple[PillowImage, list[str]]:
    """Reads a picture, with notes on what was changed. ``channels`` are 1 or 3, or as many as the picture has.

    Raises OSError, and ValueError for what is no whole picture, or is transparent in parts and has no ``background``,
    black or white; ``advice`` ends that message.
    """
    opened, notes = _upright(source)
    grey = opened.mode in GREYS or opened.mode.startswith("I;")
    mode, word = MODES[channels or (1 if grey else 3)]
    if opened.mode.startswith("I"):
        notes.append("16 bits as 8")
    elif opened.mode != mode:
        notes.append(f"{opened.mode} as {word}")
    return _opaque(_of_eight_bits(opened), background, notes, advice).convert(mode), notes


def resized(image: PillowImage, side: int) -> PillowImage:
    """Stretches a picture to a square, by the one filter there is: bilinear, over all pixels that fall into one."""
    from PIL.Image import Resampling

    return image.resize((side, side), Resampling.BILINEAR, reducing_gap=None)


def pixels_of(image: PillowImage) -> np.ndarray:
    """Bytes [C,H,W] of a picture in one of MODES."""
    pixels: np.ndarray = np.asarray(image, np.uint8)
    return pixels.reshape(image.height, image.width, -1).transpose(2, 0, 1)


def _upright(source: Path | BinaryIO) -> tuple[PillowImage, list[str]]:
    """Opens a picture as viewers show it, with notes. Raises OSError, and ValueError for what is no whole picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            opened = Image.open(source, formats=FORMATS)
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


def _opaque(image: PillowImage, background: str | None, notes: list[str], advice: str) -> PillowImage:
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
            f"with ink and background as the data set's images have them{advice}"
        )
    on = Image.alpha_composite(Image.new("RGBA", layers.size, background), layers).convert("RGB")
    if len(np.unique(np.asarray(on).reshape(-1, 3), axis=0)) == 1:
        raise ValueError(f"has only one colour on --background {background}, must show something")
    notes.append(f"its transparent parts on {background}")
    return on
