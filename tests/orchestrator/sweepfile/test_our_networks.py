"""Our networks beside the ResNet in a sweep file: named without an extension, planned without torch, in all tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anytime_core.networks import Feedback, MSDNet
from orchestrator.analysis import tables
from orchestrator.errors import SweepError
from orchestrator.extensions import importing
from orchestrator.report import layouts
from orchestrator.report.views import render
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState
from orchestrator.sweepfile import schema, trust
from orchestrator.sweepfile.load import activate, load

SWEEP = """name: ours
networks:
  - msdnet
  - {name: msdnet, blocks: 5, step: 1, base: 1, spacing: linear}
  - {name: feedback, iterations: 1, c: 8}
  - {n: 2, c: 8}
datasets: [digits, cifar10]
methods:
  ann: {}
  opt: {regime: opt, at: [1/2, 1]}
"""


@pytest.fixture(autouse=True)
def nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(trust.FOLDERS, str(tmp_path))
    yield
    activate([])


def faults(load_text: Callable[[str], Sweep], networks: str) -> str:
    with pytest.raises(SweepError) as error:
        load_text(f"name: a\nnetworks: {networks}\ndatasets: [digits]\nmethods: {{ann: {{}}}}\n")
    return str(error.value)


def test_they_are_named_as_the_networks_of_an_extension_are(load_text: Callable[[str], Sweep]) -> None:
    sweep = load_text(SWEEP)
    networks = [trial.config.network for trial in sweep.trials if trial.cell.dataset == "digits"]
    ours = list(dict.fromkeys(network for network in networks if isinstance(network, MSDNet | Feedback)))
    assert ours == [MSDNet(), MSDNet(blocks=5, step=1, base=1, spacing="linear"), Feedback(iterations=1, c=8)]
    labels = {cell.network for cell in sweep.cells}
    assert labels == {"msdnet 7", "msdnet 5 linear", "feedback 1x2 c=8", "(2,8)"}
    assert len(sweep.trials) == 2 * (4 + 4 * 2)


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ("[{name: msdnet, width: 3}]", "networks.0.width: unknown key; allowed: blocks, base, step, spacing"),
        ("[{name: msdnet, blocks: many}]", "networks.0.blocks: given 'many'; must be a valid integer"),
        ("[{name: msdnet, spacing: wide}]", "networks.0.spacing: given 'wide'; must be 'even' or 'linear'"),
        ("[{name: feedback, c: 0}]", "networks.0: c is 0, must be between 1 and 4096"),
        ("[msdnet, {name: msdnet}]", "networks.1: is the same as networks.0"),
    ],
)
def test_a_fault_is_told_with_its_line(load_text: Callable[[str], Sweep], networks: str, expected: str) -> None:
    assert f"line 2: {expected}" in faults(load_text, networks)


def test_an_extension_takes_no_name_of_theirs_and_leaves_them_known(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(SWEEP.replace("networks:", "extensions: [nets.py]\nnetworks:", 1))
    text = (
        "from dataclasses import dataclass\n"
        "from anytime_core.extend import Network, register\n\n"
        "@register('NAME')\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Net(Network):\n"
        "    predictions: int = 1\n\n"
        "    def build(self, classes, channels, size):\n"
        "        raise NotImplementedError\n"
    )
    (tmp_path / "nets.py").write_text(text.replace("NAME", "msdnet"))
    with pytest.raises(SweepError, match="network msdnet is one of ours; give it another name"):
        load(path)
    (tmp_path / "nets.py").write_text(text.replace("NAME", "other"))
    assert len(load(path).trials) == 24
    importing.activate([])
    schema.rebuild()
    path.write_text(SWEEP)
    assert len(load(path).trials) == 24


def test_all_layouts_show_them_and_say_what_they_leave_out(load_text: Callable[[str], Sweep], make_record) -> None:
    sweep = load_text(SWEEP)
    records = {
        trial.id: make_record(trial, tuple(40.0 - index for index, _ in enumerate(trial.config.predicting_units)))
        for trial in sweep.trials
    }
    built = tables.build(sweep, records, dict.fromkeys(records, TrialState.FINISHED))
    for name, layout in layouts.LAYOUTS.items():
        text = render.show([layout.arrange(built)], "json")
        if name in ("errors", "methods"):
            assert all(label in text for label in ("msdnet 7", "msdnet 5 linear", "feedback 1x2 c=8"))


def test_a_plan_imports_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(SWEEP)
    code = (
        "import sys\n"
        "from orchestrator.cli import main\n"
        f"sys.argv = ['orchestrate', 'plan', {str(path)!r}, '--format', 'json']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert not done.returncode, done.stderr
    assert len(json.loads(done.stdout)) == 24
