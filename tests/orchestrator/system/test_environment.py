"""What libraries read from the environment when they are imported is set, taken away or written down before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.system import environment
from orchestrator.system.provenance import machine

HELPERS = Path(__file__).parents[2] / "helpers"
TRAINS = """
import sys
from orchestrator.system.environment import prepare_torch
prepare_torch()
from trials import digits_trial
from anytime_core.training.trainer import train
train(digits_trial(c=2, steps=2), threads=2)
"""


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a test prepares is not left to the others."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_tune_runs_although_older_versions_of_ray_left_variables() -> None:
    """Tune looks at its variables first, and then for what it is to run."""
    os.environ |= {"RAY_AIR_LOCAL_CACHE_DIR": "/somewhere", "TUNE_RESULT_DIR": "/somewhere"}
    environment.prepare_ray(own_cluster=True)
    ended = subprocess.run(
        [sys.executable, "-c", "from ray import tune; tune.run('nothing', verbose=0)"],
        env={**os.environ, "TUNE_DISABLE_AUTO_INIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr.rstrip().endswith("Unknown trainable: nothing")


def test_under_uv_ray_makes_no_environment_for_its_workers() -> None:
    os.environ.pop("RAY_ENABLE_UV_RUN_RUNTIME_ENV", None)
    environment.prepare_ray(own_cluster=True)
    assert os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "1"
    environment.prepare_ray(own_cluster=True)
    assert os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "1"


@pytest.mark.parametrize("name", ["OMP_DYNAMIC", "OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS", "OMP_THREAD_LIMIT_ALL"])
def test_what_makes_torch_hang_is_taken_away(name: str) -> None:
    os.environ[name] = "1"
    environment.prepare_torch()
    assert name not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("given", ["OMP_DYNAMIC=true", "OMP_THREAD_LIMIT=1", "OMP_MAX_ACTIVE_LEVELS=0"])
def test_torch_trains_whatever_limits_openmp(given: str) -> None:
    name, _, value = given.partition("=")
    path = os.pathsep.join(filter(None, [str(HELPERS), os.environ.get("PYTHONPATH")]))
    repository = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-c", TRAINS],
        env={**os.environ, name: value, "PYTHONPATH": path},
        cwd=repository,
        check=True,
        timeout=120,
    )


def test_what_changes_bits_is_written_down() -> None:
    for name in environment.CHANGING_BITS:
        os.environ.pop(name, None)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # the trainer's own
    assert "environment" not in machine(gpu=False)
    os.environ |= {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "default"}
    assert machine(gpu=False)["environment"] == "ATEN_CPU_CAPABILITY=default MKL_CBWR=AVX2"
