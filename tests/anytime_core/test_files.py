"""Files are whole or as they were, and whoever else can write to a folder leads nobody out of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from traps import SECRET, TRAPS, Trap, secret_in

from anytime_core.files import LocalFolder, UnfitFileError, plain_files, write_atomically


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return secret_in(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    (tmp_path / "shared" / "a").mkdir(parents=True)
    return LocalFolder(tmp_path / "shared")


@pytest.mark.parametrize("trap", TRAPS)
def test_what_is_no_plain_file_is_refused_at_once_and_named(trap: Trap, folder: LocalFolder, secret: Path) -> None:
    path, began = folder.path / "a" / "file", time.monotonic()
    trap(path, secret)
    with pytest.raises(UnfitFileError) as raised:
        folder.read("a/file")
    assert raised.value.filename == str(path)
    assert raised.value.strerror.startswith("is ")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("name", ["link/secret", "link/new", "link/deep/new"])
def test_no_link_on_the_way_is_followed(name: str, folder: LocalFolder, secret: Path) -> None:
    (folder.path / "link").symlink_to(secret.parent)
    flags = os.O_RDWR | os.O_CREAT
    for do in (folder.read, folder.delete, lambda name: folder.write(name, b""), lambda name: folder.open(name, flags)):
        with pytest.raises(UnfitFileError, match="link, which is not followed"):
            do(name)
    with pytest.raises(UnfitFileError):
        folder.names("link")
    assert folder.below("link").path == folder.path / "link"
    with pytest.raises(UnfitFileError):
        folder.below("link").write("new", b"")
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]
    assert secret.read_bytes() == SECRET


def test_a_link_is_replaced_or_deleted_itself(folder: LocalFolder, secret: Path) -> None:
    for name in ("a/one", "a/two", "a/three"):
        (folder.path / name).symlink_to(secret)
    folder.write("a/one", b"new")
    write_atomically(folder.path / "a" / "two", b"new")
    folder.delete("a/three")
    assert folder.read("a/one") == folder.read("a/two") == b"new"
    assert sorted(folder.names("a")) == ["one", "two"]
    assert secret.read_bytes() == SECRET


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_what_is_added_goes_to_no_other_file_of_the_users(make, folder: LocalFolder, secret: Path) -> None:
    make(folder.path / "a" / "log", secret)
    folder.append("a/log", b"one ")
    folder.append("a/log", b"two")
    assert folder.read("a/log") == b"one two"
    assert secret.read_bytes() == SECRET


def test_the_folder_itself_may_be_reached_through_links(tmp_path: Path, folder: LocalFolder) -> None:
    (tmp_path / "shortcut").symlink_to(folder.path)
    other = LocalFolder(tmp_path / "shortcut")
    other.write("a/b/file", b"content")
    assert folder.read("a/b/file") == other.read("a/b/file") == b"content"
    assert other.below("a").names() == ["b"]


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", ".."])
def test_no_name_leads_out_of_the_folder(name: str, folder: LocalFolder) -> None:
    for do in (folder.read, folder.delete, lambda name: folder.write(name, b"")):
        with pytest.raises((UnfitFileError, ValueError)):
            do(name)


def test_a_file_larger_than_its_kind_can_be_is_not_read(folder: LocalFolder) -> None:
    folder.write("file", b"12345")
    assert folder.read("file", 5) == b"12345"
    with pytest.raises(UnfitFileError, match="is 5 bytes long, of at most 4"):
        folder.read("file", 4)


def test_what_is_missing_is_told_by_its_path(folder: LocalFolder) -> None:
    for name in ("none", "none/deep", "a/none"):
        with pytest.raises(FileNotFoundError, match=str(folder.path / name)):
            folder.read(name)
        folder.delete(name)
        assert folder.names(name) == []


def test_of_a_folder_only_plain_files_are_copied(folder: LocalFolder, secret: Path) -> None:
    folder.write("a/b/file", b"")
    (folder.path / "a" / "link").symlink_to(secret)
    (folder.path / "home").symlink_to(secret.parent)
    os.mkfifo(folder.path / "pipe")
    assert plain_files(folder.path) == [folder.path / "a" / "b" / "file"]
