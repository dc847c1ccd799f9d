"""Where the ledger keeps its files: a folder on this machine, a shared one, or a bucket of an S3-compatible store. A
bundle, which is a file, is only read.

A store is given as ``s3://bucket/prefix?endpoint_override=...&region=...``, as pyarrow.fs reads it; the credentials are
those of the environment, or of the AWS configuration files, and are neither shown nor stored.

Puts to a store are atomic, but none is conditional on what is there: pyarrow has no such call. So there are leases in
place of locks (``orchestrator.ledger.lock``).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from anytime_core.files import MOST, Folder, Guard, LocalFolder, UnfitFileError, parent, too_large
from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger.bundle import BundleStorage, is_bundle
from orchestrator.ledger.silence import Silence

if TYPE_CHECKING:
    from pyarrow import fs

Location = Path | str
"""A folder by its path, or a store by its address."""
Stamp = tuple[int, int, int]
"""Of a file: its time of change in nanoseconds, its size in bytes and, on a disk, its inode."""

SCHEME = "s3://"
OPTIONS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
AT_ONCE = 16
"""So many requests to a store are under way at once."""
FEW = 64
"""So many files are asked for one by one sooner than all are listed."""

SILENCE = Silence()

Item = TypeVar("Item")
Result = TypeVar("Result")


class Storage(Folder, Protocol):
    """A Folder that the ledger can live in. ``location`` is as the user gave it; ``local`` is a folder of this machine
    for what must be files here, and is the storage itself where that is a folder."""

    @property
    def location(self) -> Location: ...

    @property
    def local(self) -> Path: ...

    def make(self, *folders: str) -> None:
        """Raises OSError unless it can be written."""

    def exists(self, name: str = "") -> bool: ...

    def rename(self, old: str, new: str) -> None: ...

    def stamps(self, names: Iterable[str]) -> dict[str, Stamp]:
        """Tells one content of a file from another; of those that exist."""

    def walk(self, below: str) -> dict[str, Stamp]:
        """All files below a name, however deep, by their names; nothing behind a link."""

    def clear(self, below: str) -> None:
        """Deletes all that is below a name. No fault where there is nothing."""

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Like ``map``, but with what waits for a store at the same time."""


def storage_at(location: Location) -> Storage:
    """Raises UsageError for an address that names no store, and for a file that is no bundle; StorageError for a store
    that cannot be reached."""
    place = checked(location)
    if is_bundle(place):
        return BundleStorage(Path(place))
    return LocalStorage(place) if isinstance(place, Path) else BucketStorage(place)


def checked(location: Location) -> Location:
    """An address as it is, a path as a Path. Raises UsageError for what is neither. Imports nothing, asks nobody."""
    text = str(location)
    if not _is_store(location):
        if not text or re.match(r"[a-z0-9+.-]+:/", text, re.IGNORECASE):
            raise UsageError(f"storage {_shown(text)!r}: allowed: a folder, or {SCHEME}BUCKET/PREFIX")
        return Path(location)
    parts = urlsplit(text)
    options = parse_qs(parts.query, keep_blank_values=True)
    faults = []
    if "@" in parts.netloc or any("@" in value for values in options.values() for value in values):
        faults.append("credentials do not belong there; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    elif not parts.netloc:
        faults.append(f"must name a bucket: {SCHEME}BUCKET/PREFIX")
    if unknown := [name for name in options if name not in OPTIONS]:
        faults.append(f"unknown option {', '.join(unknown)}; allowed: {', '.join(OPTIONS)}")
    if parts.fragment or re.search(r"\s", text):
        faults.append("must not contain # or blanks")
    if faults:
        raise UsageError(f"storage {_shown(text)!r}: {'; '.join(faults)}")
    return text


def beneath(location: Location, name: str) -> Location:
    """A storage below another: a folder of its folder, or a longer prefix of its bucket."""
    if isinstance(location, Path):
        return location / name
    parts = urlsplit(location)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}").geturl()


def local_folder(location: Location) -> Path:
    """The folder of this machine for what must be files here: the storage itself, or for a store one in the user's
    cache, which can be deleted when nothing runs."""
    if not _is_store(location):
        return Path(location)
    parts = urlsplit(str(location))
    endpoint = parse_qs(parts.query).get("endpoint_override", [""])[0]
    known = hashlib.sha256(f"{endpoint} {parts.netloc}/{parts.path.strip('/')}".encode()).hexdigest()[:8]
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    # Not absolute: there is no home, as in some containers.
    parent = user if user.is_absolute() else Path(tempfile.gettempdir())
    return parent / "anytime_orchestrator" / f"{parts.netloc}-{known}"


def _is_store(location: Location) -> bool:
    return isinstance(location, str) and location.startswith(SCHEME)


def _shown(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", text)


def reason(error: OSError) -> str:
    """Why, in a line."""
    if isinstance(error, UnfitFileError):
        return f"{error.filename} {error.strerror}"
    return error.strerror or next(iter(str(error).splitlines()), type(error).__name__)


def described(error: Exception) -> str:
    """What is wrong with a file that is named before it, in a line."""
    return str(error.strerror if isinstance(error, UnfitFileError) else error)


@contextmanager
def reading(storage: Storage, name: str = "") -> Iterator[None]:
    """Raises StorageError where that cannot be read now."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{storage.address(name)}: cannot be read: {reason(error)}") from error


@contextmanager
def writing(storage: Storage, name: str = "") -> Iterator[None]:
    """Raises StorageError where that cannot be written now."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{storage.address(name)}: cannot be written: {reason(error)}") from error


class LocalStorage(LocalFolder):
    """A folder on this machine, or on one that it shares, such as one of NFS."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.absolute())

    @property
    def location(self) -> Location:
        return self.path

    @property
    def local(self) -> Path:
        return self.path

    def make(self, *folders: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in folders:
            with parent(self.path, f"{folder}/.", make=True):
                pass
        _probe(self)

    def exists(self, name: str = "") -> bool:
        return os.path.lexists(self.path / name) if name else self.path.exists()

    def rename(self, old: str, new: str) -> None:
        with parent(self.path, old) as (left, before), parent(self.path, new) as (entered, after):
            os.replace(before, after, src_dir_fd=left, dst_dir_fd=entered)

    def stamps(self, names: Iterable[str]) -> dict[str, Stamp]:
        return {name: stamp for name in names if (stamp := _stamp(f"{self.path}/{name}"))}

    def walk(self, below: str) -> dict[str, Stamp]:
        found = {}
        with suppress(FileNotFoundError), parent(self.path, below) as (folder, last):
            for inside, _, names, opened in os.fwalk(last, dir_fd=folder):
                way = below + inside.removeprefix(last)
                for name in names:
                    if stamp := _stamp(name, opened):
                        found[f"{way}/{name}"] = stamp
        return found

    def clear(self, below: str) -> None:
        with suppress(FileNotFoundError), parent(self.path, below) as (folder, last):
            shutil.rmtree(last, dir_fd=folder)

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return map(function, items)


def _stamp(path: str, folder: int | None = None) -> Stamp | None:
    try:
        status = os.lstat(path, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _probe(storage: Storage) -> None:
    """Not empty: a full disk takes empty files."""
    name = f".probe.{os.getpid()}.{os.urandom(4).hex()}"
    storage.write(name, b"can this be written?")
    storage.delete(name)


class BucketStorage:
    """A prefix in a bucket of an S3-compatible store."""

    def __init__(self, address: str, prefix: str = "") -> None:
        self._address, self._below = address, prefix
        parts = urlsplit(address)
        self._root = "/".join(filter(None, (parts.netloc, unquote(parts.path).strip("/"), prefix)))
        with _told(address):
            self._files = _connected(address)

    @property
    def location(self) -> Location:
        return self._address

    @property
    def local(self) -> Path:
        return local_folder(self._address)

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def address(self, name: str) -> str:
        return SCHEME + self._key(name)

    def read(self, name: str, most: int = MOST) -> bytes:
        """pyarrow asks for a file's size, and then for so many bytes: perhaps of a later file, which is longer."""
        with _told(self.address(name)):
            while True:
                with self._files.open_input_file(self._key(name)) as file:
                    if (size := file.size()) > most:
                        raise too_large(size, most, self.address(name))
                    content: bytes = file.read()
                if self._files.get_file_info(self._key(name)).size in (len(content), None):
                    return content

    def write(self, name: str, content: bytes, guard: Guard = nullcontext) -> None:
        """In another thread, where no ctrl-C can come between: a stream that is let go of keeps what it has so far."""
        with _told(self.address(name)), guard():
            _writers().submit(self._put, self._key(name), content).result()

    def _put(self, key: str, content: bytes) -> None:
        stream = self._files.open_output_stream(key)
        stream.write(content)
        stream.close()

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError), _told(self.address(name)):
            self._files.delete_file(self._key(name))

    def names(self, below: str = "") -> list[str]:
        return [info.base_name for info in self._listed(below)]

    def _listed(self, below: str, *, deep: bool = False) -> list[fs.FileInfo]:
        from pyarrow import fs

        selector = fs.FileSelector(self._key(below), recursive=deep, allow_not_found=True)
        with _told(self.address(below)):
            return list(self._files.get_file_info(selector))

    def below(self, name: str) -> BucketStorage:
        return BucketStorage(self._address, f"{self._below}/{name}".strip("/"))

    def __str__(self) -> str:
        return self.address("")

    def tidy(self) -> None:
        """There is nothing: what was not whole never appeared."""

    def make(self, *folders: str) -> None:
        """Folders are made by what is in them."""
        _probe(self)

    def exists(self, name: str = "") -> bool:
        return bool(self._infos([name]))

    def _infos(self, names: list[str]) -> dict[str, fs.FileInfo]:
        from pyarrow import fs

        with _told(self.address("")):
            infos = self._files.get_file_info([self._key(name) for name in names])
        return {n: info for n, info in zip(names, infos, strict=True) if info.type != fs.FileType.NotFound}

    def rename(self, old: str, new: str) -> None:
        with _told(self.address(old)):
            self._files.move(self._key(old), self._key(new))

    def stamps(self, names: Iterable[str]) -> dict[str, Stamp]:
        """Of many, by listing all that is in the folder that they share."""
        wanted = list(names)
        if len(wanted) <= FEW:
            infos = self._infos(wanted)
        else:
            shared = os.path.commonpath(wanted)
            listed = {info.path: info for info in self._listed(shared, deep=True)}
            infos = {name: info for name in wanted if (info := listed.get(self._key(name)))}
        return {name: (info.mtime_ns, info.size, 0) for name, info in infos.items() if info.is_file}

    def walk(self, below: str) -> dict[str, Stamp]:
        infos = (info for info in self._listed(below, deep=True) if info.is_file)
        return {info.path.removeprefix(f"{self._root}/"): (info.mtime_ns, info.size, 0) for info in infos}

    def clear(self, below: str) -> None:
        with suppress(FileNotFoundError), _told(self.address(below)):
            self._files.delete_dir(self._key(below))

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        with ThreadPoolExecutor(AT_ONCE, "store") as pool:  # not the one that writes, for which these may wait
            yield from pool.map(function, items)


@cache
def _writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "store-writer")


@cache
def _connected(address: str) -> fs.FileSystem:
    """With ``allow_delayed_open`` a small file is one request in place of three. The prefix, which may hold any letter,
    is no part of a URI there; it begins the keys."""
    from pyarrow import fs

    parts = urlsplit(address)
    options = "&".join(filter(None, (parts.query, "allow_delayed_open=true")))
    return fs.FileSystem.from_uri(f"{SCHEME}{parts.netloc}/?{options}")[0]


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Makes what pyarrow raises an OSError with a number and a line for the user, and warns where it only waits."""
    try:
        with SILENCE.waiting_for(address):
            yield
    except FileNotFoundError:
        raise
    except StorageError:
        raise
    except OSError as error:
        if error.errno:
            raise
        raise OSError(errno.ECONNABORTED, _said(error), address) from error
    except ValueError as error:  # ArrowInvalid is one
        raise StorageError(f"{address}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """``AWS Error ACCESS_DENIED during PutObject operation: ...``, without what led there and the request's number."""
    line = str(error).splitlines()[0]
    line = re.sub(r"^.*?(?=AWS Error)", "", line)
    return re.sub(r" \(Request ID: .*?\)|; Details: .*$", "", line).rstrip(". ")
