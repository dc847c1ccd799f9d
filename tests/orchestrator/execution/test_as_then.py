"""Sources of then are kept once, read with suspicion, and run in an environment of then where that can be built."""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.errors import UsageError
from orchestrator.execution import as_then, driver, snapshots
from orchestrator.ledger import snapshots as kept
from orchestrator.sweepfile import trust
from orchestrator.system import snapshot
from orchestrator.system.snapshot import CONSTRAINTS, PYTHON, REQUIREMENTS, SnapshotError, current, installed, unpack
from orchestrator.system.sources import CODE, sources, sources_in


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(trust, "policy", trust.Policy())
    return tmp_path


def test_of_two_distributions_of_a_name_the_first_counts(tmp_path, monkeypatch) -> None:
    """As where an environment sees the packages of the system, too."""
    for folder, version in (("own", "2.0"), ("system", "1.0")):
        info = tmp_path / folder / "tiny_part-0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tiny-part\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "own"), *sys.path, str(tmp_path / "system")])
    assert installed()["tiny-part"] == "2.0"


def test_what_a_package_carries_inside_of_it_is_no_distribution_of_its_own(tmp_path, monkeypatch) -> None:
    """As setuptools and Ray do, which put it on the path once they are imported."""
    before, inside = installed(), tmp_path / "site-packages" / "tool" / "_vendor"
    info = inside / "tiny_part-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-part\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(inside)])
    assert installed() == before


def test_the_sources_and_all_versions_are_kept_once(ledger, tmp_path) -> None:
    name = snapshots.kept(ledger)
    (place,) = Path(ledger.local, "code").iterdir()
    before = place.stat().st_mtime_ns
    assert snapshots.kept(ledger) == name == place.stem
    assert place.stat().st_mtime_ns == before
    unpack(kept.read(name, ledger), tmp_path / "then")
    assert sources_in({package: tmp_path / "then" / package for package in CODE}) == sources()
    versions = (tmp_path / "then" / CONSTRAINTS).read_text().splitlines()
    assert versions == [f"{name}=={version}" for name, version in installed().items()]
    needed = (tmp_path / "then" / REQUIREMENTS).read_text().splitlines()
    assert {*needed} < {*versions}
    assert {"torch", "ray", "mlflow", "numpy", "sympy"} <= {line.partition("==")[0] for line in needed}
    assert not any(line.startswith(("ruff", "pytest")) for line in needed)


def test_a_snapshot_has_what_the_packages_install_and_no_name_that_it_cannot_be_unpacked_by(
    tmp_path, monkeypatch
) -> None:
    for name in ("a.py", "a.py~", "#a.py#", "a b.txt", "own/table1.csv", "page.html.j2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(snapshot, "imported_from", lambda package: tmp_path)
    monkeypatch.setattr(snapshot, "sources", lambda: sources_in(dict.fromkeys(CODE, tmp_path)))
    made = snapshot.current.__wrapped__()
    unpack(made.content, tmp_path / "then")
    own = tmp_path / "then" / "anytime_core"
    packed = {path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file()}
    assert packed == {"a.py", "own/table1.csv", "page.html.j2"}
    (tmp_path / "a b.py").write_text("1")
    with pytest.raises(SnapshotError, match=r"the name of 'anytime_core/a b.py' is none for a module"):
        snapshot.current.__wrapped__()


def test_a_sweep_keeps_its_sources_once_nobody_takes_any_away(ledger, load_text, monkeypatch) -> None:
    done: list[str] = []

    def keep(ledger) -> str:
        done.append("kept")
        raise UsageError("that will do")

    monkeypatch.setattr(driver.needs, "wait", lambda ledger, say, until: done.append("waited"))
    monkeypatch.setattr(driver.snapshots, "kept", keep)
    sweep = load_text("name: small\nnetworks: [{n: 1, c: 2}]\ndatasets: [digits]\nmethods: {ann: {}}\n")
    settings = driver.SweepSettings(
        storage=ledger.storage, data_root=Path(ledger.local), tracking_uri="sqlite://", snapshot=True
    )
    with pytest.raises(UsageError, match="that will do"):
        driver.run(sweep, settings, Console(quiet=True))
    assert done == ["waited", "kept"]


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", current().content[:5000], *(zipped({name: b""}) for name in ("../x.txt", "/x.txt", "a/../../x.txt"))],
)
def test_what_is_no_snapshot_is_refused_and_nothing_is_written_elsewhere(content, tmp_path) -> None:
    with pytest.raises(SnapshotError):
        unpack(content, tmp_path / "then")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_trial_without_a_snapshot_says_so_and_one_of_somebody_elses_needs_trust(
    ledger, make_trial, make_record
) -> None:
    trial = make_trial()
    with pytest.raises(UsageError, match="has not finished"):
        as_then.run(trial, ledger, [], print)
    name = snapshots.kept(ledger)
    for provenance, said in [
        ({"code_version": "c1"}, "was trained without --snapshot: .* it was trained by code c1"),
        ({"snapshot": "../../x"}, "is no name of a snapshot"),
        ({"snapshot": f"{'0' * 12}-{'0' * 6}"}, "is not there; neither a bundle nor an import takes it along"),
        ({"snapshot": name, "sources": "other"}, f"holds sources {sources()}; it was trained by other"),
    ]:
        record(ledger, trial, make_record, provenance)
        with pytest.raises(UsageError, match=said):
            as_then.run(trial, ledger, [], print)
    path = Path(ledger.local, kept.place(name))
    path.write_bytes(zipped({"orchestrator/cli/__init__.py": b"def main(): print('harm')"}))
    with pytest.raises(UsageError, match=r"holds the code that would run; its content is new here. Nothing was run"):
        as_then.run(trial, ledger, [], print)


def test_no_trusted_folder_vouches_for_a_snapshot(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(trust.FOLDERS, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is new here"):
        trust.check_snapshot(kept.place("x"), b"harm")
    with trust.taken(given=True):
        trust.check_snapshot(kept.place("x"), b"mine")
    trust.check_snapshot(kept.place("x"), b"mine")


def record(ledger, trial, make_record, provenance) -> None:
    from dataclasses import asdict

    from orchestrator.ledger import checksummed

    folder = ledger.folder(trial.id)
    folder.mkdir(parents=True, exist_ok=True)
    content = asdict(make_record(trial, (3.0, 2.0, 1.0))) | {"provenance": provenance}
    (folder / "result.json").write_bytes(checksummed.pack(content))


def of_then(folder: Path, *needed: str, python: str = platform.python_version()) -> Path:
    folder.mkdir()
    (folder / PYTHON).write_text(f"{python}\n")
    (folder / REQUIREMENTS).write_text("".join(f"{line}\n" for line in needed))
    return folder


def test_this_environment_is_that_of_then_where_the_versions_are(tmp_path) -> None:
    said: list[str] = []
    code = of_then(tmp_path / "code", f"numpy=={installed()['numpy']}")
    assert as_then.interpreter(code, tmp_path / "env", said.append) == sys.executable
    assert said == ["the versions that are installed here are those of then"]


def test_another_environment_is_built_from_what_can_be_had(tmp_path, monkeypatch) -> None:
    """From a folder of wheels, in place of a registry."""
    wheels, info = tmp_path / "wheels", "tiny_part-1.0.dist-info"
    wheels.mkdir()
    files = {
        "tiny_part.py": b"",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-part\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    (wheels / "tiny_part-1.0-py3-none-any.whl").write_bytes(zipped(files))
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(as_then.shutil, "which", lambda name: None)
    said: list[str] = []
    made = as_then.interpreter(of_then(tmp_path / "code", "tiny-part==1.0"), tmp_path / "env", said.append)
    assert made == str(tmp_path / "env" / "bin" / "python")
    assert said == ["other versions are installed here (tiny-part none, then 1.0): building an environment of then"]
    asked = "import json, importlib.metadata as m; print(json.dumps(m.version('tiny-part')))"
    done = as_then.subprocess.run([made, "-c", asked], capture_output=True, check=True)
    assert json.loads(done.stdout) == "1.0"


@pytest.mark.parametrize(
    ("needed", "python", "why"),
    [
        ("numpy==0.0.1", platform.python_version(), "No matching distribution found for numpy==0.0.1"),
        ("numpy==0.0.1", "2.7.1", "there is no Python 2.7 here, and no uv that could fetch one"),
    ],
)
def test_what_cannot_be_built_is_said_and_this_environment_takes_its_place(
    tmp_path, monkeypatch, needed, python, why
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(as_then.shutil, "which", lambda name: None)
    said: list[str] = []
    code = of_then(tmp_path / "code", needed, python=python)
    assert as_then.interpreter(code, tmp_path / "env", said.append) == sys.executable
    first, second = said
    assert f"numpy {installed()['numpy']}, then 0.0.1" in first
    assert why in second
    assert second.startswith("it cannot be built: ")
    assert second.endswith("; the sources of then run with what is installed here, so bits may differ")
