"""Finds the files of a data set below a folder, compares them with what was published, and reads them.

Whatever is wrong with a file is a DataError that names it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anytime_core.data.catalog import dataset_of
from anytime_core.data.dataset import Dataset, Images
from anytime_core.errors import DataError

State = Literal["ok", "missing", "wrong md5", "unreadable", "unpacked, no published md5: keep the .gz"]
USABLE: tuple[State, ...] = ("ok",)
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
MOST_HINTS = 3
MOST_FOLDERS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file as it lies, or should. ``md5`` is the published sum; None if there is none for this form of the file."""

    path: Path
    md5: str | None

    def state(self) -> State:
        """Reads the whole file for its md5."""
        if not self.path.is_file():
            return "missing"
        if self.md5 is None:
            return "unpacked, no published md5: keep the .gz"
        try:
            with self.path.open("rb") as stream:
                return "ok" if hashlib.file_digest(stream, "md5").hexdigest() == self.md5 else "wrong md5"
        except OSError:
            return "unreadable"


def source_files(name: str, root: Path) -> list[SourceFile]:
    """The files of a data set in the folder that holds most of them; they need not exist."""
    dataset = dataset_of(name)
    layouts = [[_lying(root / folder / file, md5) for file, md5 in dataset.files.items()] for folder in dataset.folders]
    return min(layouts, key=lambda files: sum(not file.path.is_file() for file in files))


def _lying(path: Path, md5: str) -> SourceFile:
    """The file itself, or else what unpacking it leaves."""
    unpacked = path.with_suffix("")
    if path.suffix == ".gz" and not path.is_file() and unpacked.is_file():
        return SourceFile(path=unpacked, md5=None)
    return SourceFile(path=path, md5=md5)


def located(name: str, root: Path | None) -> list[SourceFile]:
    """The files of a data set, all of which exist; DataError otherwise."""
    dataset = dataset_of(name)
    if not dataset.files:
        return []
    if root is None:
        raise DataError(f"{name} lies in files: give the folder that holds {', '.join(dataset.files)}")
    files = source_files(name, root)
    if missing := [str(file.path) for file in files if not file.path.is_file()]:
        searched = ", ".join(str(root / folder) for folder in dataset.folders)
        note = f" (searched {searched}, packed or unpacked)" if len(dataset.folders) > 1 else ""
        near = "".join(f"; {hint}" for hint in _hints(dataset, root))
        raise DataError(f"{name}: not found: {', '.join(missing)}{note}{near}; {_advice(name, root)}")
    return files


def _advice(name: str, root: Path) -> str:
    return f"to download: orchestrate data fetch {name} --root {root}"


def _hints(dataset: Dataset, root: Path) -> list[str]:
    """What lies near the root and looks like the files, or like an archive of them, and what to do with it."""
    near = list(_files_near(root))
    wanted = {Path(file).name: file for file in dataset.files}
    for path in near:
        if file := wanted.get(path.name):
            depth = len(Path(file).parts)
            base = path.parents[depth - 1] if path.as_posix().endswith(f"/{file}") else path.parent
            if base != root:
                return [f"{path} is one: give {base} as the folder of the data sets"]
    alike = {_plain(name): name for name in wanted}
    renamed = [path for path in near if path.name not in wanted and _plain(path.name) in alike]
    archives = [path for path in near if path.name.endswith(ARCHIVES) and path.name not in wanted]
    return [
        *(f"{path} looks like one: rename it to {_as_packed(alike[_plain(path.name)], path)}" for path in renamed),
        *(f"{path} is an archive: unpack it in {root}" for path in archives),
    ][:MOST_HINTS]


def _as_packed(name: str, path: Path) -> str:
    """The name for a file that may be unpacked."""
    return name if path.suffix == ".gz" else name.removesuffix(".gz")


def _plain(name: str) -> str:
    """A name as far as programs agree on it: 7-zip makes ``train-images.idx3-ubyte`` of ``train-images-idx3-ubyte``."""
    return re.sub(r"[^a-z0-9]", "", name.lower().removesuffix(".gz"))


def _files_near(root: Path) -> Iterator[Path]:
    """Files up to two folders below the root, and beside it; as many as can be looked through in no time."""
    folders = [root, *_folders(root), *(inner for folder in _folders(root) for inner in _folders(folder)), root.parent]
    for folder in folders[:MOST_FOLDERS]:
        with suppress(OSError):
            yield from sorted(path for path in folder.iterdir() if path.is_file())


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return []


def read(name: str, root: Path | None, *, check_md5: bool = True) -> Images:
    """The data set from its own files below ``root``, which are compared with their published md5 sums unless told
    otherwise."""
    files = located(name, root)
    if check_md5 and root is not None:
        states = [(file, file.state()) for file in files]
        if faults := [f"{file.path}: {state}{_published(file)}" for file, state in states if state not in USABLE]:
            raise DataError(
                f"{name}: not as published: {', '.join(faults)}; {_advice(name, root)}; --no-md5 takes them as they are"
            )
    dataset = dataset_of(name)
    return dataset.read(dataset, [file.path for file in files])


def _published(file: SourceFile) -> str:
    return f" (published: {file.md5})" if file.md5 else ""
