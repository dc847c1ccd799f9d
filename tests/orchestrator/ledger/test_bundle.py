"""A bundle: it reads as the storage that it was made of, or is refused."""

from __future__ import annotations

import hashlib
import io
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest
from halves import contents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytime_core.trained import load_network
from orchestrator.errors import StorageError, UsageError
from orchestrator.extensions import importing
from orchestrator.ledger import bundling
from orchestrator.ledger.archive import COMMENT, SUMS, digest_of
from orchestrator.ledger.archiving import ArchiveWriter
from orchestrator.ledger.bringing import bring, source_at
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import storage_at
from orchestrator.report.status import read_tables
from orchestrator.report.views import render
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load


@pytest.fixture
def path(both: Sweep, whole_run: Ledger, tmp_path: Path) -> Path:
    """A bundle of all, with one network."""
    bundling.write(both, whole_run, tmp_path / "all.zip", both.ids[:1])
    return tmp_path / "all.zip"


def shown(sweep: Sweep, storage: Path) -> str:
    return render.report_json(read_tables(sweep, Ledger(storage)))


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], **options: int) -> Path:
    """A bundle with other files, made by hand, as a forger would make it: its checksums are right."""
    with ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != SUMS}
    change(files)
    with ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(ZipInfo(name), content, options.get("compression"))
        sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
        archive.writestr(ZipInfo(SUMS), sums)
    return path


def test_it_reads_as_the_storage(both: Sweep, whole_run: Ledger, path: Path) -> None:
    ledger = Ledger(path)
    assert shown(both, path) == shown(both, whole_run.local)
    assert ledger.all_records() == whole_run.all_records()
    assert ledger.begun() == whole_run.begun()
    for trial in both.trials:
        assert ledger.epochs(trial.id) == whole_run.epochs(trial.id)
        assert ledger.config(trial.id) == whole_run.config(trial.id)
    load_network(ledger.checkpoints(both.ids[0]))
    assert ledger.step(both.ids[1]) == 0
    assert ledger.driver("halves") is None


def test_many_results_are_read_by_the_index_in_it(both: Sweep, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.ledger import trials as module

    monkeypatch.setattr(module, "FEW", 0)
    records = Ledger(path).all_records()
    monkeypatch.setattr(Ledger, "record", None)
    assert Ledger(path).all_records() == records
    assert records.keys() == {*both.ids}


def test_the_same_results_are_the_same_bytes(both: Sweep, whole_run: Ledger, path: Path, tmp_path: Path) -> None:
    bundling.write(both, whole_run, tmp_path / "again.zip", both.ids[:1])
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()


def test_other_programs_unpack_and_check_it(path: Path, both: Sweep, tmp_path: Path) -> None:
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unpacked")
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", SUMS], cwd=tmp_path / "unpacked", check=True)
    assert load(tmp_path / "unpacked" / "sweep" / both.path.name).ids == both.ids
    assert shown(both, tmp_path / "unpacked") == shown(both, path)


def test_extensions_lie_from_the_sweep_file_where_they_did(
    first: Ledger, both: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATE_TRUST", str(tmp_path))
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "mine.py").write_text("VALUE = 1\n")
    file = tmp_path / "sweeps" / "own.yaml"
    file.write_text(both.path.read_text() + "extensions: [../parts/mine.py]\n")
    try:
        bundling.write(load(file), first, tmp_path / "own.zip")
    finally:
        importing.activate([])
    files = storage_at(tmp_path / "own.zip")
    assert files.read("sweep/sweeps/own.yaml") == file.read_bytes()
    assert files.read("sweep/parts/mine.py") == b"VALUE = 1\n"


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_refused_or_shows_in_nothing(
    both: Sweep, path: Path, tmp_path: Path, place: float, bit: int
) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (damaged := tmp_path / "damaged.zip").write_bytes(content)
    ledger = Ledger(tmp_path / "untouched")
    with pytest.raises(UsageError, match=r"damaged\.zip: is no whole bundle: [^\n]*$"):
        source_at(damaged, ledger)
    assert not ledger.exists()
    assert refusal(damaged, both, tmp_path / "whole") in ("", "is no whole bundle")


def refusal(damaged: Path, sweep: Sweep, whole: Path) -> str:
    """What is said of a bundle that is read in full; empty where it shows and holds what the storage does."""
    try:
        assert shown(sweep, damaged) == shown(sweep, whole)
        for name, said in contents(whole / "trials").items():
            if name.endswith(("result.json", "config.json", ".parquet")):
                assert storage_at(damaged).read(f"trials/{name}") == said
    except UsageError as error:
        return str(error).removeprefix(f"{damaged}: ").partition(":")[0]
    return ""


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_what_is_cut_short_is_refused(path: Path, ledger: Ledger, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UsageError, match="is no whole bundle"):
        source_at(path, ledger)
    with pytest.raises(UsageError, match="is no whole bundle"):
        storage_at(path)


HOSTILE: dict[str, Callable[[dict[str, bytes]], None]] = {
    "up": lambda files: files.update({"trials/../../outside": b"."}),
    "root": lambda files: files.update({"/outside": b"."}),
    "backslash": lambda files: files.update({"trials\\outside": b"."}),
    "folder": lambda files: files.update({"trials/": b""}),
    "newline": lambda files: files.update({"trials/a\nb": b"."}),
    "long": lambda files: files.update({"a" * 600: b"."}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_lead_elsewhere_are_refused(path: Path, name: str) -> None:
    rewritten(path, HOSTILE[name])
    with pytest.raises(UsageError, match="is no whole bundle: it holds a file"):
        storage_at(path)


@pytest.mark.parametrize("name", ["b\\x.yaml", "b\u00a0x.yaml", "b\nx.yaml"])
def test_a_name_that_no_bundle_can_give_is_refused_when_it_is_written(name: str) -> None:
    with ArchiveWriter(io.BytesIO()) as archive, pytest.raises(UsageError, match="a bundle cannot hold a file named"):
        archive.add(f"sweep/{name}", b"")


def test_what_is_compressed_is_refused_unread(path: Path) -> None:
    rewritten(path, lambda files: files.update({"trials/zeros": bytes(1 << 26)}), compression=ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UsageError, match="it holds a file as no bundle does"):
        storage_at(path)


def test_a_name_twice_is_refused(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), ZipFile(path, "a") as archive:
        archive.writestr(ZipInfo(archive.namelist()[0]), "other")
    with pytest.raises(UsageError, match=r"it holds sweep/whole\.yaml twice"):
        storage_at(path)


def test_a_link_in_it_is_a_file_of_a_few_bytes(path: Path) -> None:
    """Whoever unpacks it by other means is told by his own tools."""
    link = ZipInfo("trials/0000000000000000/result.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UsageError, match="names other files than there are"):
        storage_at(path)


def test_a_forged_bundle_is_checked_as_a_storage_is(both: Sweep, path: Path, ledger: Ledger) -> None:
    """Its checksums are right; what they stand for is not."""
    victim = sorted(both.ids)[0]

    def forge(files: dict[str, bytes]) -> None:
        name = f"trials/{victim}/result.json"
        files[name] = files[name].replace(b'"steps": 44', b'"steps": 45')

    rewritten(path, forge)
    with pytest.raises(UsageError, match="the checksum of all its bytes does not match"):
        source_at(path, ledger)
    (damaged,) = bring(storage_at(path), ledger, [victim])
    assert (damaged.trial_id, damaged.what) == (victim, "result.json: checksum does not match")


@pytest.mark.parametrize("content", [b"", b"PK", b"name: halves\n", b"PK\5\6" + bytes(18)])
def test_another_file_is_no_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.zip").write_bytes(content)
    with pytest.raises(UsageError, match=r"file\.zip: is no whole bundle"):
        Ledger(tmp_path / "file.zip")


def test_it_is_only_read(both: Sweep, path: Path, make_record: Callable) -> None:
    before, ledger = path.read_bytes(), Ledger(path)
    for write in (ledger.make, lambda: ledger.write_sweep("halves", {})):
        with pytest.raises((OSError, StorageError), match="is a bundle, which is only read"):
            write()
    assert path.read_bytes() == before


def test_a_bundle_appears_whole_or_not_at_all(both: Sweep, first: Ledger, ledger: Ledger, tmp_path: Path) -> None:
    output = tmp_path / "there.zip"
    output.write_text("what was there before")
    with pytest.raises(UsageError, match="none of its trials has ended"):
        bundling.write(both, ledger, output)
    result = next((first.local / "trials").glob("*/outcomes.parquet"))
    result.write_bytes(result.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"cannot be bundled, as it is damaged: outcomes\.parquet"):
        bundling.write(both, first, output)
    assert output.read_text() == "what was there before"
    assert not list(tmp_path.glob(".there*"))


def test_what_has_not_ended_is_counted(both: Sweep, first: Ledger, tmp_path: Path) -> None:
    written = bundling.write(both, first, tmp_path / "half.zip", both.ids)
    assert written == bundling.Bundled(trials=2, of=4, points=0, networks=2, notes=0)


def test_a_file_that_becomes_another_is_read_anew(both: Sweep, first: Ledger, path: Path) -> None:
    assert len(Ledger(path).all_records()) == 4
    bundling.write(both, first, path)
    assert len(Ledger(path).all_records()) == 2


def test_the_comment_is_the_checksum_of_the_rest(path: Path) -> None:
    with ZipFile(path) as archive:
        said = archive.comment.removeprefix(COMMENT)
    assert digest_of(io.BytesIO(path.read_bytes())) == said
    assert path.read_bytes().endswith(said)
