"""The commands on extensions, as a user runs them."""

from __future__ import annotations

import json
import os
import re

from written import RAMP

SWEEP = """
name: mine
extensions: [ramp.py]
networks: [{n: 1, c: 2}]
datasets: [digits]
methods:
  ann: {}
  ramp: {weights: ramp, grid: {power: [0.5, 1, 2]}}
seeds: [0, 1, 2, 3, 4]
training: {steps: 22, batch_size: 64, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""


def test_an_extension_is_begun_and_checked(orchestrate, tmp_path) -> None:
    done = orchestrate("extension", "new", "ramp")
    assert (done.code, done.out) == (0, "written: ramp.py\nwritten: ramp_test.py\n")
    checked = orchestrate("extension", "check", "ramp.py")
    assert checked.code == 0, checked.err
    expected = "ramp    weights    ok: config round trip, finite, no wait for the device, same bits twice, "
    assert checked.out.startswith(expected)
    assert re.search(r"resume gives the same bits, pickles to a worker, \d+\.\d\d of a plain step\n$", checked.out)
    again = orchestrate("extension", "new", "ramp", "--kind", "answers")
    assert (again.code, again.err) == (2, "error: ramp.py, ramp_test.py: there already; nothing was written\n")


def test_a_finding_is_an_exit_code_and_a_row(orchestrate, tmp_path) -> None:
    (tmp_path / "ramp.py").write_text(RAMP.replace("(self, costs, progress: Progress)", "(self, costs)"))
    done = orchestrate("extension", "check", "ramp.py")
    assert done.code == 1
    assert "ramp    weights    weights ramp: TypeError: Ramp.weights() takes 2 positional arguments" in done.out
    assert "→ write its functions as those of anytime_core.extend.Weighting" in done.out
    (row,) = json.loads(orchestrate("extension", "check", "ramp.py", "--format", "json").out)
    assert row["findings"][0]["fault"].startswith("weights ramp: TypeError")


def test_what_cannot_be_checked_is_an_input_error(orchestrate, tmp_path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\nx = = 2")
    done = orchestrate("extension", "check", "broken.py")
    assert done.code == 2
    assert "broken.py, line 2: invalid syntax" in done.err
    assert orchestrate("extension", "check", "broken.py", "--field", "power").err.startswith("error: ")


def test_what_is_announced_is_listed(orchestrate, tmp_path) -> None:
    site = tmp_path / "site" / "lab-2.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 2.0\n")
    (site / "entry_points.txt").write_text("[anytime_orchestrator]\nmy-ramp = lab.anytime\n")
    path = os.pathsep.join(filter(None, [str(site.parent), os.environ.get("PYTHONPATH")]))
    listed = orchestrate("extension", "list", "--format", "json", PYTHONPATH=path)
    wanted = {"name": "my-ramp", "module": "lab.anytime", "package": "lab", "version": "2.0"}
    assert wanted in json.loads(listed.out)
    assert orchestrate("extension", "list").code == 0


def test_a_sweep_with_an_extension_is_planned_once_it_is_trusted(orchestrate, tmp_path) -> None:
    (tmp_path / "ramp.py").write_text(f"{RAMP}\nprint('imported')\n")
    (tmp_path / "mine.yaml").write_text(SWEEP)
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    refused = orchestrate("plan", "mine.yaml", **home)
    assert refused.code == 2
    assert "mine.yaml would import" in refused.err
    assert orchestrate("plan", "mine.yaml", "--trust", **home).code == 0
    planned = orchestrate("plan", "mine.yaml", "--format", "json", **home)
    assert len(json.loads(planned.out)) == 20
    assert planned.err == "imported\n"  # what the extension prints does not get into what the command does
