"""A folder of pictures: train/CLASS/*.jpg, test/CLASS/*.jpg and, if there is one, val/ or validation/ like them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

from anytime_core import pictures
from anytime_core.data.own.gallery import Gallery
from anytime_core.data.own.source import LEADS_OUT, REQUIRED, Faults, Format, Found, Source, leads_out

FOLDERS = {"train": "train", "test": "test", "val": "validation", "validation": "validation"}
"""The split that each folder holds."""
LITTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx")
"""What systems leave in folders, besides files whose names begin with a dot."""


def read(source: Source, faults: Faults) -> Found:
    """Classes are the folders of train/, in the order of their names, and pictures lie directly in them."""
    tree = _Tree(source.path, faults)
    folders = tree.splits()
    faults.refuse()
    classes = {split: tree.classes(folder) for split, folder in folders.items()}
    class_names = sorted({name for name, _ in classes["train"]})
    _refuse_strangers(classes, class_names, faults)
    gallery = Gallery(source, faults)
    for split, found in classes.items():
        for name, folder in found:
            for picture in tree.pictures(folder):
                if name in class_names:
                    gallery.add(split, tree.shown(picture), picture, class_names.index(name))
    splits = gallery.splits()
    return Found(class_names=tuple(class_names), splits=splits, notes=gallery.notes, ignored=tree.ignored)


def _refuse_strangers(classes: dict[str, list[tuple[str, Path]]], known: list[str], faults: Faults) -> None:
    """Classes that are not in train/, and two names that a system which ignores case takes for one."""
    spelt = {name.casefold(): name for name in reversed(known)}
    for split, found in classes.items():
        for name, folder in found:
            where = f"{folder.parent.name}/{folder.name}"
            if name not in known and name.casefold() in spelt:
                faults.add(f"{where} differs from train/{spelt[name.casefold()]} in case alone; give them one name")
            elif name not in known:
                faults.add(f"{where} is a class that train/ does not have")
            elif split == "train" and spelt[name.casefold()] != name:
                faults.add(f"{where} differs from train/{spelt[name.casefold()]} in case alone; give them one name")


class _Tree:
    """Goes through the folders; counts what is ignored, and notes what should not be there."""

    def __init__(self, root: Path, faults: Faults) -> None:
        self._root, self._faults, self.ignored = root, faults, 0

    def splits(self) -> dict[str, Path]:
        """The folder of each split; what else is beside them is none of a data set's business."""
        there = sorted(entry.name for entry in os.scandir(self._root) if entry.is_dir())
        found = {split: self._root / name for name, split in FOLDERS.items() if name in there}
        for split in REQUIRED:
            if split not in found:
                held = ", ".join(there[:8]) or "no folder"
                self._faults.add(f"there is no folder {split}; the folder holds {held}")
        if {"val", "validation"} <= set(there):
            self._faults.add("there are both val and validation; leave one of them")
        return {split: folder for split, folder in found.items() if self._is_inside(folder)}

    def classes(self, split: Path) -> list[tuple[str, Path]]:
        """Names, in one form of Unicode whatever system wrote them, and folders."""
        found = []
        for path in self._entries(split):
            if path.is_dir():
                found.append((normalize("NFC", path.name), path))
            else:
                self._faults.add(f"{self.shown(path)} lies beside the folders of classes; must lie in one")
        return found

    def pictures(self, folder: Path) -> Iterator[Path]:
        for path in self._entries(folder):
            if path.is_dir():
                self._faults.add(f"{self.shown(path)} is a folder; pictures must lie directly in that of their class")
            elif path.suffix.lower() not in pictures.SUFFIXES:
                self._faults.add(f"{self.shown(path)} is no picture; allowed: {', '.join(pictures.SUFFIXES)}")
            elif not path.is_file():
                self._faults.add(f"{self.shown(path)} is no file")
            else:
                yield path

    def _entries(self, folder: Path) -> Iterator[Path]:
        """In the order of their names, less what is ignored or leads out of the data set."""
        for name in sorted(os.listdir(folder)):
            if name.startswith(".") or name.casefold() in LITTER:
                self.ignored += 1
            elif self._is_inside(folder / name):
                yield folder / name

    def _is_inside(self, path: Path) -> bool:
        if leads_out(path, self._root):
            self._faults.add(f"{self.shown(path)} {LEADS_OUT}")
            return False
        return True

    def shown(self, path: Path) -> str:
        """A path as it is, unless it holds what nobody can see, or no terminal can write."""
        name = str(path.relative_to(self._root))
        return name if name.isprintable() else repr(name)


def files(path: Path) -> Iterator[str]:
    """All that lies in the folders of splits, but for hidden files."""
    for name in FOLDERS:
        for folder, folders, names in os.walk(path / name):
            folders[:] = [inner for inner in folders if not inner.startswith(".")]
            yield from (f"{folder}/{name}" for name in (*folders, *names) if not name.startswith("."))


def looks_alike(path: Path) -> bool:
    return (path / "train").is_dir()


FORMAT = Format(read=read, files=files, looks_alike=looks_alike, resizes=True)
