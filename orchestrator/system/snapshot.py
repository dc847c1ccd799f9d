"""The exact sources that a sweep is trained with, and the versions of all that is installed there, as one file."""

from __future__ import annotations

import hashlib
import io
import platform
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

from orchestrator.system.sources import CODE, imported_from, sources, sources_in

OWN = "anytime-orchestrator"
SITES = ("site-packages", "dist-packages")
"""Folders of installed packages."""
CONSTRAINTS, REQUIREMENTS, PYTHON = "constraints.txt", "requirements.txt", "python.txt"
"""All that is installed, in pip's form; of that what our packages need; and the version of Python."""
MOST = 1 << 27
"""Bytes of a snapshot, and of all that is in it."""
TIME = (1980, 1, 1, 0, 0, 0)
PACKED = {".py", ".csv", ".css", ".js", ".j2"}
"""The sources, and what else the packages install; no backups of an editor."""
NAME = re.compile(r"(\w+/)+[\w.-]+|[\w-]+\.txt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """``name`` stands for the sources and for the versions."""

    name: str
    content: bytes


class SnapshotError(ValueError):
    """A snapshot that cannot be made, or that is damaged."""


@cache
def current() -> Snapshot:
    """Of the code that this process imports. Raises SnapshotError where that was changed since."""
    about = {
        CONSTRAINTS: _lines(installed()),
        REQUIREMENTS: _lines(needed()),
        PYTHON: f"{platform.python_version()}\n",
    }
    folders = {package: imported_from(package) for package in CODE}
    files = {f"{package}/{name}": content for package, folder in folders.items() for name, content in _files(folder)}
    if odd := [name for name in files if not NAME.fullmatch(name)]:
        raise SnapshotError(f"the name of {odd[0]!r} is none for a module: rename the file, or take it away")
    if sources_in(folders) != sources():
        raise SnapshotError("the code was changed after this command began: give it again")
    versions = hashlib.sha256(repr(about).encode()).hexdigest()[:6]
    everything = files | {name: text.encode() for name, text in about.items()}
    return Snapshot(name=f"{sources()}-{versions}", content=_packed(everything))


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in PACKED and path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _packed(files: dict[str, bytes]) -> bytes:
    """The same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, TIME), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    """Raises SnapshotError for what is none; writes nothing outside of the ``folder``."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if sum(info.file_size for info in infos) > MOST:
                raise SnapshotError(f"holds more than {MOST} bytes")
            for info in infos:
                if not NAME.fullmatch(info.filename):
                    raise SnapshotError(f"holds a file named {info.filename!r:.80}")
                path = folder / info.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(info))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise SnapshotError(f"is damaged: {error}") from error


def installed() -> dict[str, str]:
    """The versions of all distributions but our own, by their names: of two of a name the first, as Python imports."""
    found: dict[str, str] = {}
    for it in distributions(path=_places()):
        if it.name:
            found.setdefault(_plain(it.name), it.version)
    return {name: version for name, version in sorted(found.items()) if name != OWN}


def _places() -> list[str]:
    """Where Python looks for packages, without what a package carries inside of it, as setuptools and Ray do: they put
    that there once they are imported."""
    return [place for place in sys.path if not any(parent.name in SITES for parent in Path(place).parents)]


def needed() -> dict[str, str]:
    """Of these what our packages need, and what that needs, and so on."""
    versions, found, left = installed(), dict[str, str](), [*_requires(OWN)]
    while left:
        name = left.pop()
        if name in versions and name not in found:
            found[name] = versions[name]
            left += _requires(name)
    return dict(sorted(found.items()))


def _requires(name: str) -> Iterator[str]:
    try:
        given = distribution(name).requires or []
    except PackageNotFoundError:  # as where the package is a folder
        return
    for requirement in map(Requirement, given):
        if not requirement.marker or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", "client", "tune")
        ):
            yield _plain(requirement.name)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(versions: dict[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in versions.items())


def versions_in(text: str) -> dict[str, str]:
    """What lines such as ``torch==2.11.0`` say."""
    pairs = (line.partition("==") for line in text.splitlines())
    return {name: version for name, _, version in pairs if name and version}
