"""What somebody who can write to a folder may lay in the place of a file, to harm whoever opens it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

SECRET = b"not to be read, and not to be written"


def link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def endless(path: Path, secret: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path, secret: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, secret: Path) -> None:
    path.mkdir()


def listening(path: Path, secret: Path) -> None:
    """A socket's own address can be no longer than 100 bytes."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(secret.parent / "s"))
    os.rename(secret.parent / "s", path)


def huge(path: Path, secret: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


Trap = Callable[[Path, Path], None]
TRAPS: tuple[Trap, ...] = (link, endless, pipe, folder, listening, huge)


def secret_in(place: Path) -> Path:
    """A file of the user's own, outside of what is shared."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "secret").write_bytes(SECRET)
    return place / "secret"
