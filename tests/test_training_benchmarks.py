"""The benchmarks of training run on a CPU at a tiny size, and compare the same network; their floor is the design's."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

REPOSITORY = Path(__file__).parents[1]
sys.path.append(str(REPOSITORY / "benchmarks"))
import baselines  # noqa: E402
import gpu_all  # noqa: E402
import grid  # noqa: E402
import harness  # noqa: E402
import kernels  # noqa: E402
import learning  # noqa: E402
import limits  # noqa: E402
import packing  # noqa: E402
import parity  # noqa: E402
import trainer  # noqa: E402
from anytime_core import methods  # noqa: E402
from anytime_core.config import PARTS, Opt  # noqa: E402
from anytime_core.model.network import build_network  # noqa: E402
from orchestrator.sweepfile.load import load  # noqa: E402

SCRIPTS = {f"{script.__name__}.py": script for script in (grid, kernels, learning, limits, packing, parity, trainer)}
TINY = ["--device", "cpu", "--batch", "4", "--images", "8"]


def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "benchmarks" / name), *options]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the scripts have it: two wait for each other where other work has the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def measured(script: Any, *options: str) -> dict[str, Any]:
    """In this process, which has torch already."""
    found: dict[str, Any] = json.loads(json.dumps(script.benchmark(script.options().parse_args(options))))
    assert found["faults"] == []
    assert found["on"]["torch"] == torch.__version__
    return found


# What is compared is the same


@pytest.mark.parametrize(("n", "c", "period"), [(1, 2, 1), (2, 3, 2), (3, 2, 3)])
def test_the_usual_network_computes_what_ours_does(n: int, c: int, period: int) -> None:
    network = build_network(harness.trial(n, c, period=period)).double()
    images = torch.randn(6, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 9])
    ours = parity.of_ours(network, images, labels)
    theirs = parity.of_twin(baselines.twin_of(network), network, images, labels)
    assert len(ours) == 1 + len(list(network.parameters()))
    assert parity.difference(ours, theirs) < 1e-11


def test_the_usual_loop_updates_as_ours_does() -> None:
    config = harness.trial(1, 2, batch=4)
    images = harness.random_images("cifar10", 8, 4)
    run = parity.OurLoop(config, images, torch.device("cpu"), "eager").run
    twin = baselines.twin_of(run.network)
    run.begin_epoch()
    batch: Any = [tuple(part.clone() for part in run.train_data.batch(torch.tensor([0])))]
    loop = baselines.UsualLoop(twin, run.phase.weights, config.training, batch, torch.device("cpu"))
    run.step()
    loop.steps(1)
    pairs = list(baselines.pairs_of(twin, run.network))
    updated = [own.t() if own.ndim == 2 else own for own, _ in pairs]
    assert parity.difference(updated, [ours for _, ours in pairs]) < 1e-4


def test_the_plain_transform_crops_mirrors_and_normalises() -> None:
    images = harness.random_images("cifar10", 1, 1).train_images
    image = images[0].transpose(1, 2, 0)
    mean, std = images.mean((0, 2, 3)) / 255, images.std((0, 2, 3)) / 255
    plain = baselines.PlainTransform(32, 0, False, mean, std)
    expected = (torch.from_numpy(images[0]).double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )
    for form in (image, baselines.as_pil(image)):
        torch.testing.assert_close(plain(form).double(), expected, rtol=1e-5, atol=1e-5)
    moved = baselines.PlainTransform(32, 4, True, mean * 0, std * 0 + 1)
    for _ in range(8):
        torch.manual_seed(_)
        one = moved(image)
        torch.manual_seed(_)
        assert torch.equal(one, moved(baselines.as_pil(image)))


# Arithmetic


def test_the_grid_is_that_of_the_sweep() -> None:
    sweep = load(REPOSITORY / "sweeps" / "table6.yaml")
    ours = list(grid.table6())
    assert len(ours) == 390
    assert all(trial in ours for trial in (trial.config for trial in sweep.trials))


def test_shapes_count_every_trial() -> None:
    examples, counts = grid.shapes()
    assert counts.total() == 390
    assert len(examples) == 130
    assert counts[grid.Shape(7, 16, tuple(range(1, 22)), 10)] == 12  # six strategies on CIFAR-10 and SVHN


def test_each_trial_evaluates_its_test_images_after_every_epoch() -> None:
    steps, cifar10, svhn = 64_000, 50_000 // 128, 604_388 // 128
    images = -(-steps // cifar10) * 10_000 + -(-steps // svhn) * 26_032
    assert grid.evaluations()[grid.Shape(7, 16, tuple(range(1, 22)), 10)] == 6 * images


def test_shapes_of_each_width_are_measured_in_turn() -> None:
    examples, counts = grid.shapes()
    costs = {shape: grid.trial_costs(trial)[-1] for shape, trial in examples.items()}
    order = grid.in_order(costs, counts)
    assert {(shape.c, len(shape.units) > 1) for shape in order[:8]} == set(product((16, 32, 64, 128), (False, True)))
    assert sorted(map(str, order)) == sorted(map(str, examples))
    narrow = [counts[shape] * costs[shape] for shape in order if shape.c == 16 and len(shape.units) > 1]
    assert narrow == sorted(narrow, reverse=True)


def test_a_shape_not_measured_costs_as_its_multiply_adds() -> None:
    deep, shallow, wide = (grid.Shape(n, c, tuple(range(1, 3 * n + 1)), 10) for n, c in ((4, 2), (2, 2), (2, 4)))
    costs = {deep: 40, shallow: 20, wide: 80}
    assert grid.estimated(shallow, {deep: 1.0, wide: 9.0}, costs) == 0.5
    assert grid.estimated(deep, {deep: 1.5}, costs) == 1.5


def test_the_floor_is_that_of_the_design() -> None:
    """Design: one H200, measured 790 TFLOP/s and 4.3 TB/s; ms a step, and hours of Table 6."""
    h200 = limits.Ceilings(flops=790e12, bandwidth=4.3e12)
    for n, c, ms in ((7, 16, 0.25), (9, 32, 0.65), (17, 32, 1.22), (9, 64, 2.0), (9, 128, 8.1)):
        assert 1e3 * limits.floor(harness.trial(n, c), h200) == pytest.approx(ms, rel=0.02)
    assert limits.table6_hours(h200) == pytest.approx(9.6, rel=0.01)


@pytest.mark.parametrize("config", [harness.trial(2, 3), harness.trial(3, 2, regime=Opt(unit=4))])
def test_parameters_are_those_of_the_network(config: Any) -> None:
    assert limits.parameters(config) == sum(p.numel() for p in build_network(config).parameters())


def test_targets_are_judged_by_what_was_found() -> None:
    usual = {"variant": "(a) the usual loop", "over_ours": 4.0}
    compiled = [{"variant": "ours", "over_ours": 1.0}, usual | {"over_ours_compiled": 6.0}]
    parts = {"trainer-7,16": [usual], "trainer-7,16-compiled": compiled, "trainer-9,32": [usual | {"over_ours": 3.0}]}
    hours = {
        "grid": [{"c": "all", "hours": 30.0}],
        "grid-compiled": [{"c": 16, "hours": 5.0}, {"c": "all", "hours": 19}],
    }
    results = {name: {"found": {"rows": rows}} for name, rows in (parts | hours).items()}
    told = gpu_all.target_rows(results | {"limits": {"found": None}})
    found = {row["target"]: row["met"] for row in told}
    assert found.pop("(a) over ours, (7,16)") is True
    assert found.pop("(a) over ours, (9,32)") is False
    assert found.pop("hours of Table 6") is True
    assert set(found.values()) == {"not measured"}
    assert len(found) == 6 - 2 + 1 + 2 + 1 + 5


# The scripts


@pytest.mark.parametrize("parts", [gpu_all.on_cuda, gpu_all.on_cpu])
def test_each_part_is_a_command_that_its_script_takes(parts, tmp_path: Path) -> None:
    options = argparse.Namespace(minutes=24, output=tmp_path, data_root=tmp_path)
    found = parts(options)
    for part in found:
        script: Any = SCRIPTS[part.command[0]]
        assert script.options().parse_args([*part.command[1:], "--device", "cpu", "--format", "json"])
    assert {part.command[0] for part in found} == set(SCRIPTS)
    everything = {part.name for part in gpu_all.on_cuda(options)}
    assert all(any(name.startswith(target.part) for name in everything) for target in gpu_all.targets())


def test_a_script_prints_a_table_and_where_it_ran() -> None:
    done = run("limits.py", *TINY, "--no-steps", "--flops", "790e12", "--bandwidth", "4.3e12", "--network", "7,16")
    assert done.returncode == 0, done.stderr
    assert "(7,16)" in done.stdout
    assert "9.6 hours" in done.stdout
    assert f"torch {torch.__version__}" in done.stdout


def test_ours_and_the_usual_loop_take_turns() -> None:
    found = measured(trainer, *TINY, "--network", "1,2", "--repeats", "2", "--steps", "1")
    ours, usual = found["rows"]
    assert ours["over_ours"] == 1
    assert usual["variant"].startswith("(a)")
    assert 0 < usual["over_ours_least"] <= usual["over_ours"] <= usual["over_ours_most"]


def test_each_part_of_a_step_is_counted_and_timed() -> None:
    found = measured(kernels, *TINY, "--network", "1,2", "--repeats", "1", "--steps", "1")
    rows = {row["part"]: row for row in found["rows"]}
    field = [kind for name in methods.__all__ if (kind := getattr(methods, name)).kind in PARTS]
    assert rows.keys() >= {f"a step, ann or {kind.kind} {kind.name}" for kind in field}
    assert len(rows) == 11 + len(field)
    assert rows["losses, a loop or at once"]["kernels_after"] < rows["losses, a loop or at once"]["kernels_before"]
    whole = rows["a step, the usual loop's or ours with its data"]
    assert whole["kernels_after"] < whole["kernels_before"]


@pytest.mark.slow
def test_packed_trials_have_the_bits_of_solo_ones() -> None:
    found = measured(packing, *TINY, "--network", "1,2", "--repeats", "1", "--steps", "1", "-k", "2")
    (row,) = found["rows"]
    assert row["bits_as_alone"] is True
    assert "MPS: does not run" in found["notes"]


def test_a_step_is_measured_beside_its_floor() -> None:
    (row,) = measured(limits, *TINY, "--network", "1,2", "--repeats", "1", "--steps", "1")["rows"]
    assert row["step_over_floor"] == pytest.approx(row["step_ms"] / row["floor_ms"])


def test_the_hours_of_table_6_are_added_up() -> None:
    rows = measured(grid, "--device", "cpu", "--batch", "2", "--images", "2", "--repeats", "1", "--most", "1")["rows"]
    *widths, every = rows
    assert (every["trials"], every["measured"]) == (390, 1)
    assert every["hours"] == pytest.approx(sum(row["hours"] for row in widths))


@pytest.mark.slow
def test_learning_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    options = [*TINY, "--network", "1,2", "--steps", "4", "--folder", str(tmp_path)]
    options += ["--methods", "ann"]
    halfway = measured(learning, *options, "--minutes", "0")
    assert [row["step"] for row in halfway["rows"]] == [2]
    assert [row["step"] for row in measured(learning, *options)["rows"]] == [4]


def test_all_in_one_goes_on_past_a_part_that_fails(tmp_path: Path) -> None:
    """With no time left nothing is measured; what lies there from before stays, and the exit code tells."""
    good = {"found": {"rows": [{"network": "(1,8)"}], "notes": [], "faults": [], "on": {"device": _device()}}}
    half = {"found": good["found"] | {"rows": [{"network": "(1,4)"}], "faults": ["one is not the other"]}}
    earlier = {"limits": good | {"fault": None, "seconds": 1}, "kernels": half | {"fault": "one of two", "seconds": 1}}
    (tmp_path / "results.json").write_text(json.dumps(earlier))
    options = ["--output", str(tmp_path), "--device", "cpu", "--minutes", "0"]
    done = run("gpu_all.py", *options, "--only", "limits", "kernels", "packing")
    assert done.returncode == 1
    assert done.stdout.rstrip().endswith("FAILED\nkernels: one of two\npacking: not measured")
    told = (tmp_path / "measurements.md").read_text()
    assert all(words in told for words in ("(1,8)", "(1,4)", "one is not the other"))


def _device() -> str:
    return harness.device_name(torch.device("cpu"))
