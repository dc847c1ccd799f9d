"""What the check finds in an extension, and what it says to change; the files that it begins with pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import UsageError
from orchestrator.extensions import conformance, templates
from orchestrator.extensions.conformance import HOST, SECRET, WAITS, Verdict, check_file

HEAD = """from dataclasses import dataclass, field
import math, random
import torch
from anytime_core.extend import *
from anytime_core.extend import Answers, GradientFlow, Objective, Strategy, Weighting, register

"""


@pytest.fixture(autouse=True)
def here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes seconds: another process, and a comparison of times. Commands are tested with both."""
    monkeypatch.setattr(conformance, "_travels", lambda extension, part: "")
    monkeypatch.setattr(conformance, "_costs", lambda part: "")
    monkeypatch.setattr(conformance, "_exports", lambda part: "")


def verdict_of(tmp_path: Path, base: str, body: str, **given: str) -> Verdict:
    path = tmp_path / "mine.py"
    path.write_text(f'{HEAD}@register("mine")\n@dataclass(frozen=True, kw_only=True)\nclass Mine({base}):\n{body}\n')
    (verdict,) = check_file(path, given)
    return verdict


def found(tmp_path: Path, base: str, *lines: str) -> tuple[str, str]:
    """The one finding: the fault and what to change."""
    verdict = verdict_of(tmp_path, base, "\n".join(f"    {line}" for line in lines))
    assert len(verdict.findings) == 1, [finding.fault for finding in verdict.findings]
    return verdict.findings[0].fault, verdict.findings[0].mend


@pytest.mark.parametrize("kind", templates.TEMPLATES)
def test_what_a_new_extension_begins_with_passes(kind, tmp_path) -> None:
    path, _ = templates.write("my_method", kind, tmp_path)
    (verdict,) = check_file(path)
    assert verdict.findings == ()
    assert (verdict.name, verdict.kind) == ("my_method", kind)
    assert verdict.passed[0] == "config round trip"
    assert ("finite" in verdict.passed) == (kind != "reader")
    assert ("same bits twice, resume gives the same bits" in verdict.passed) == (kind != "reader")
    assert ("no wait for the device" in verdict.passed) == (kind != "reader")
    assert any("causal" in words for words in verdict.passed) == (kind == "answers")


WEIGHTS = "def weights(self, state, base, chosen, noise):"
UPDATE = "def update(self, state, step):"
START = ("def start(self, base, milestones):", "    return {'v': torch.ones_like(base)}")
FINDINGS = {
    "number": ("Strategy", (WEIGHTS, "    return base * float(base[0].item())"), "waits for the device", WAITS),
    "branch": ("Strategy", (WEIGHTS, "    return base if base[0] > 0 else base"), "waits for the device", WAITS),
    "list": ("Strategy", (WEIGHTS, "    return base.new_zeros(6) + sum(base.tolist())"), "waits for the device", WAITS),
    "mask": (
        "Answers",
        ("def answers(self, logits):", "    return logits + logits[logits > 0].sum() * 0"),
        "waits",
        WAITS,
    ),
    "host": ("Strategy", (WEIGHTS, "    return base * torch.tensor([1.0] * 6)"), "uses a tensor of the host", HOST),
    "random": ("Strategy", (WEIGHTS, "    return base * torch.rand_like(base)"), "other bits each time", SECRET),
    "remembered": (
        "Strategy",
        ("seen = []", WEIGHTS, "    self.seen.append(1)", "    return base * (1 + len(self.seen) % 5)"),
        "other bits",
        SECRET,
    ),
    "NaN": ("Strategy", (WEIGHTS, "    return base * math.nan"), "gradients are not finite", "clamp_min"),
    "log of 0": (
        "Objective",
        ("def losses(self, state, logits, labels):", "    return (logits - logits).sum((1, 2)).log()"),
        "gradients are not finite",
        "clamp_min",
    ),
    "grows": (
        "Weighting",
        ("normalize: str = 'none'", "def weights(self, costs, progress):", "    return [1e12] * len(costs)"),
        "not finite",
        "plain ones",
    ),
    "shape": (
        "Objective",
        ("def losses(self, state, logits, labels):", "    return logits.mean()"),
        "shape []",
        "Objective",
    ),
    "signature": (
        "Weighting",
        ("def weights(self, costs):", "    return costs"),
        "TypeError: Mine.weights()",
        "Weighting",
    ),
    "raises": ("Strategy", (UPDATE, "    raise KeyError('gone')"), "mine.py, line 11: KeyError: 'gone'", "Strategy"),
    "later": (
        "Answers",
        ("def answers(self, logits):", "    return logits + logits.mean(0)"),
        "answer 1 depends on later",
        "first i",
    ),
    "only six": (
        "Answers",
        ("def answers(self, logits):", "    first, *rest, last = logits", "    return logits + 0 * first"),
        "mine.py, line 11: ValueError: not enough values to unpack",
        "anytime_core.extend.Answers",
    ),
    "dictionary": (
        "Weighting",
        ("bends: dict = field(default_factory=dict)", "def weights(self, costs, progress):", "    return costs"),
        "its config cannot be kept: ",
        "tuples",
    ),
    "no default": (
        "Weighting",
        ("power: float", "def weights(self, costs, progress):", "    return costs"),
        "needs values for power",
        "--field power=VALUE",
    ),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_each_fault_is_found_with_what_to_change(name, tmp_path) -> None:
    base, lines, fault, mend = FINDINGS[name]
    said = found(tmp_path, base, *lines)
    assert fault in said[0]
    assert mend in said[1]


def test_a_field_without_a_default_may_be_given(tmp_path) -> None:
    body = "    power: float\n    def weights(self, costs, progress):\n        return [c ** self.power for c in costs]"
    assert verdict_of(tmp_path, "Weighting", body, power="2").findings == ()
    (finding,) = verdict_of(tmp_path, "Weighting", body, power="much").findings
    assert finding.fault.startswith("power: Input should be a valid number")


def test_a_file_that_registers_nothing_is_refused(tmp_path) -> None:
    (tmp_path / "empty.py").write_text("x = 1")
    with pytest.raises(UsageError, match=r"empty\.py: registers nothing; it needs @register over a class below one of"):
        check_file(tmp_path / "empty.py")


def test_all_that_a_file_registers_is_checked(tmp_path) -> None:
    path = tmp_path / "several.py"
    path.write_text(
        "from orchestrator.extend import figure, table, win_test\n"
        "@win_test('coin')\ndef coin(differences):\n    return 0.5\n"
        "@win_test('large')\ndef large(differences):\n    return 2.0\n"
        "@table('counts')\ndef counts(tables):\n    pass\n"
        "@figure('flat', 'Flat')\ndef flat(results):\n    pass\n"
    )
    verdicts = {verdict.name: verdict for verdict in check_file(path)}
    assert list(verdicts) == ["coin", "large", "counts", "flat"]
    assert verdicts["coin"].passed == ("p-values from 0 to 1",)
    assert [finding.fault for finding in verdicts["large"].findings] == ["gives 2.0 for [-1.0]"]
    assert verdicts["flat"].findings == ()


@pytest.mark.slow
def test_the_tests_that_come_with_new_extensions_pass(tmp_path) -> None:
    tests = [templates.write(f"my_{kind}", kind, tmp_path)[1].name for kind in templates.TEMPLATES]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"{2 * len(tests)} passed" in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["", "my-method", "class", "a/b", "../x"])
def test_a_new_extension_needs_a_name(name, tmp_path) -> None:
    with pytest.raises(UsageError, match="must be a name such as my_method"):
        templates.write(name, "weights", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["mine.py", "mine_test.py"])
def test_nothing_is_overwritten(there, tmp_path) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError, match=f"{there}: there already; nothing was written"):
        templates.write("mine", "weights", tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


READER = """
import numpy as np
from anytime_core.extend import Reader

@register("mine")
@dataclass(frozen=True, kw_only=True)
class Mine(Reader):
    add: int = 0

    def read(self, path):
        pixels = np.load(path) + np.uint8(self.add)
        labels = np.arange(len(pixels)) % 2
        return {"train_images": pixels, "train_labels": labels, "test_images": RANDOM, "test_labels": labels}
"""


@pytest.mark.parametrize(
    ("images", "passed", "fault"),
    [
        ("pixels", "reads 6 training and 6 test images of 2 classes", ""),
        ("np.random.randint(256, size=(6, 4, 4)).astype(np.uint8)", "", "reads other images each time"),
        ("pixels[:, 0]", "", "test_images is uint8 [6, 4], must be uint8 [N,S,S], [N,S,S,C] or [N,C,S,S]"),
        ("pixels / 2", "", "test_images is float64 [6, 4, 4], must be uint8"),
        ("missing", "", "NameError: name 'missing' is not defined"),
    ],
)
def test_a_reader_reads_what_it_is_given_twice(images, passed, fault, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(HEAD + READER.replace("RANDOM", images))
    np.save(tmp_path / "pixels.npy", np.random.default_rng(0).integers(0, 256, (6, 4, 4), np.uint8))
    (verdict,) = check_file(tmp_path / "mine.py", {"add": "1"}, tmp_path / "pixels.npy")
    assert [fault in found.fault for found in verdict.findings] == ([True] if fault else [])
    assert not passed or passed in verdict.passed


def test_a_reader_with_nothing_to_read_says_how(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(HEAD + READER)
    (verdict,) = check_file(tmp_path / "mine.py")
    assert verdict.findings == ()
    assert "to have it read something, give --data PATH" in verdict.passed


NETWORK = """
from torch import nn
from anytime_core.extend import StagedNetwork

class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 4)

    def forward(self, x):
        y = self.linear(x.flatten(1))
        EXTRA
        return y

@register("mine")
@dataclass(frozen=True, kw_only=True)
class Mine(StagedNetwork):
    predicting_stages = (1,)

    def stages(self, classes, channels, size):
        return [(Body(), nn.Linear(4, classes))]

    def stage_costs(self, classes, channels, size):
        return COSTS
"""


@pytest.mark.parametrize(
    ("extra", "costs", "fault"),
    [
        ("pass", "[(64 * 4, 4 * classes)]", ""),
        ("y = y * 2 if y.mean().item() > 0 else y", "None", "waits for the device"),
        ("y = y + torch.zeros(4)", "None", "uses a tensor of the host"),
        ("pass", "[(1, 1)]", "costs are 2 multiply-adds, and torch counts 296 on the digits"),
    ],
)
def test_a_network_is_checked_for_waits_and_costs(extra, costs, fault, tmp_path, monkeypatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(conformance, "_travels", lambda extension, part: "")
    monkeypatch.setattr(conformance, "_exports", lambda part: "")
    (tmp_path / "mine.py").write_text(HEAD + NETWORK.replace("EXTRA", extra).replace("COSTS", costs))
    (verdict,) = check_file(tmp_path / "mine.py")
    assert [fault in found.fault for found in verdict.findings] == ([True] if fault else [])
    assert fault or "multiply-adds 296 on the digits" in verdict.passed
