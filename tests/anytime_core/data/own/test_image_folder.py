"""A folder of pictures becomes a data set, and whatever is wrong in it is told at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from own_data import as_folder, picture, pixels
from PIL import Image

from anytime_core.data.own import image_folder, reading
from anytime_core.data.own.reading import OwnImages
from anytime_core.data.own.source import MOST_NAMED, Source
from anytime_core.errors import DataError


def load(path: Path, size: int | None = None) -> OwnImages:
    return reading.load(Source(name="pets", path=path, format="image_folder", size=size), image_folder.FORMAT)


def faults(path: Path, size: int | None = None) -> list[str]:
    with pytest.raises(DataError) as error:
        load(path, size)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return as_folder(tmp_path / "pets", pixels())


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_read_to_the_last_bit(tmp_path: Path, channels: int) -> None:
    arrays = pixels(channels=channels, counts={"train": 6, "test": 2, "validation": 1})
    found = load(as_folder(tmp_path / "pets", arrays))
    assert found.class_names == ("cat", "dog")
    assert (found.described.channels, found.described.size, found.described.validation_images) == (channels, 8, 2)
    for split in ("train", "test", "validation"):
        images, labels = getattr(found.images, f"{split}_images"), getattr(found.images, f"{split}_labels")
        given = {
            image.tobytes(): label
            for image, label in zip(arrays[f"{split}_images"], arrays[f"{split}_labels"], strict=True)
        }
        assert {image.tobytes(): label for image, label in zip(images, labels, strict=True)} == given


def test_names_of_files_and_folders_are_none_of_a_data_sets_content(pets: Path, tmp_path: Path) -> None:
    before = load(pets).described
    (pets / "train" / "cat" / "000.png").rename(pets / "train" / "cat" / "zzz.png")
    moved = Path(shutil.move(pets, tmp_path / "elsewhere"))
    (moved / "test").rename(moved / "t")
    os.symlink("t", moved / "test")  # inside the folder
    assert load(moved).described == before


def test_val_is_short_for_validation(pets: Path) -> None:
    shutil.copytree(pets / "test", pets / "val")
    assert load(pets).described.validation_images == 4
    shutil.copytree(pets / "test", pets / "validation")
    assert faults(pets) == ["there are both val and validation; leave one of them"]


def test_one_pixel_changes_the_content(pets: Path) -> None:
    before = load(pets).described
    path = pets / "test" / "dog" / "001.png"
    changed = np.array(Image.open(path))
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(path)
    after = load(pets).described
    assert after.content != before.content
    assert after.class_names == before.class_names


def test_a_grey_picture_among_coloured_ones_fills_all_channels(pets: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    picture(grey).save(pets / "train" / "cat" / "grey.png")
    images = load(pets).images.train_images
    assert any((image == np.broadcast_to(grey, (3, 8, 8))).all() for image in images)


def test_pictures_are_resized_and_turned_as_predict_does_it(pets: Path) -> None:
    upright = picture(pixels(size=12)["train_images"][0])
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for folder in ("train", "test"):
        upright.transpose(Image.Transpose.ROTATE_180).save(pets / folder / "cat" / "turned.png", exif=exif)
    found = load(pets, size=4)
    assert found.described.size == 4
    assert found.notes == {"turned by its EXIF orientation, 3": 2}
    assert found.shared == 1
    expected = np.asarray(upright.resize((4, 4), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert any((image == expected).all() for image in found.images.train_images)


def test_litter_is_ignored_and_counted(pets: Path) -> None:
    for name in (".DS_Store", "train/.hidden.png", "train/cat/Thumbs.db", "test/dog/.DS_Store", "train/__MACOSX"):
        (pets / name).write_bytes(b"no picture")
    (pets / "README.txt").write_text("beside the splits")
    assert load(pets).ignored == 4  # what lies beside the splits is not looked at


def _write(path: str, content: bytes = b"no picture") -> Callable[[Path], object]:
    def write(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    return write


def _save(path: str, image: Image.Image) -> Callable[[Path], object]:
    return lambda root: image.save(root / path)


def _transparent() -> Image.Image:
    values = np.full((8, 8, 4), 255, np.uint8)
    values[0, 0] = (9, 8, 7, 0)
    return Image.fromarray(values)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_write("train/cat/a.png"), "train/cat/a.png is no PNG or JPEG picture"),
        (_write("train/cat/a.png", b""), "train/cat/a.png is no PNG or JPEG picture"),
        (_write("train/cat/a.gif"), "train/cat/a.gif is no picture; allowed: .png, .jpg, .jpeg"),
        (_write("train/a.png"), "train/a.png lies beside the folders of classes; must lie in one"),
        (
            _write("train/cat/more/a.png"),
            "train/cat/more is a folder; pictures must lie directly in that of their class",
        ),
        (lambda root: (root / "train" / "cow").mkdir(), "class 'cow' has no training images that can be used"),
        (lambda root: (root / "test" / "cow").mkdir(), "test/cow is a class that train/ does not have"),
        (lambda root: (root / "test/Dog").mkdir(), "test/Dog differs from train/dog in case alone; give them one name"),
        (
            _save("test/cat/wide.png", Image.new("RGB", (12, 8))),
            "test/cat/wide.png is 12 x 8 pixels, and most are 8 x 8; `size: 8` resizes all",
        ),
        (_save("test/cat/clear.png", _transparent()), "test/cat/clear.png is transparent in parts and everywhere else"),
        (
            lambda root: os.symlink("/etc/hostname", root / "train" / "cat" / "link.png"),
            "train/cat/link.png is a symbolic link out of the folder; must be the file itself",
        ),
        (
            lambda root: os.symlink("missing.png", root / "train" / "cat" / "link.png"),
            "train/cat/link.png is no file",
        ),
        (lambda root: shutil.rmtree(root / "test"), "there is no folder test; the folder holds train"),
    ],
)
def test_a_fault_is_named(pets: Path, change: Callable[[Path], object], fault: str) -> None:
    change(pets)
    (said,) = faults(pets)
    assert said.startswith(fault)


def test_a_damaged_picture_is_named(pets: Path) -> None:
    path = pets / "train" / "dog" / "001.png"
    path.write_bytes(path.read_bytes()[:60])
    (said,) = faults(pets)
    assert said.startswith("train/dog/001.png is a damaged picture")


def test_a_decompression_bomb_is_refused_unread(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 63)
    said = faults(pets)
    assert len(said) == 16 + 2  # each picture, and that there are then no images to train and to test with
    assert "train/cat/000.png is a picture of 64 pixels, must have at most 63" in said


def test_two_spellings_of_one_class_are_refused(pets: Path) -> None:
    shutil.copytree(pets / "train" / "cat", pets / "train" / "Cat")
    assert "train/cat differs from train/Cat in case alone; give them one name" in faults(pets)


@pytest.mark.parametrize("name", [b"\xff.png", b"a\nb.png"])
def test_a_name_that_cannot_be_shown_is_escaped(pets: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(pets), b"train", b"cat", name)
    shutil.copy(os.fsencode(pets / "train" / "cat" / "000.png"), path)
    assert load(pets).described.train_images == 13
    with open(path, "wb") as file:
        file.write(b"x")
    (said,) = faults(pets)
    said.encode()
    assert "train/cat/" in said


def test_a_special_file_never_hangs(pets: Path) -> None:
    os.mkfifo(pets / "train" / "cat" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png is neither a file nor a folder"):
        load(pets)


def test_all_faults_are_told_at_once_some_by_name(pets: Path) -> None:
    for index in range(60):
        (pets / "train" / "cat" / f"x{index}.png").write_bytes(b"x")
    (pets / "test" / "cow").mkdir()
    with pytest.raises(DataError) as error:
        load(pets)
    head, *named, more = str(error.value).splitlines()
    assert head == f"pets: {pets} has 61 faults:"
    assert len(named) == MOST_NAMED
    assert more.strip() == f"and {61 - MOST_NAMED} more"
