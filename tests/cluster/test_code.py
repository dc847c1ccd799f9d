"""What trains is the code that the command imports, whatever lies in the folder that the command is given in."""

from __future__ import annotations

import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cluster_user import User, free_port

from orchestrator.system.sources import CODE, imported_from, sources

pytestmark = pytest.mark.cluster

SWEEP = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}}
training: {steps: 4, batch_size: 64, learning_rate: {0: 0.1}}
resources: {cpus: 1, gpus: 0}
report: {figures: [cost]}
"""
MODULES = ("anytime_core", "orchestrator", "torch", "numpy", "mlflow", "ray", "sitecustomize_of_mine", "yaml", "flask")


@pytest.fixture
def user(tmp_path: Path) -> User:
    """In a folder with another checkout, and with modules of the names of what we import; each leaves a trace."""
    user = User(tmp_path / "here", SWEEP)
    harm = f"open({str(tmp_path / 'harm.txt')!r}, 'a').write(__name__ + chr(10))\n"
    for name in MODULES:
        package = name in ("anytime_core", "orchestrator")
        path = user.folder / name / "__init__.py" if package else user.folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(harm)
    return user


def test_a_sweep_a_doctor_and_a_ui_import_nothing_of_the_folder_that_they_are_started_in(
    user: User, tmp_path: Path
) -> None:
    done = user.run("sweep", "--snapshot")
    assert done.code == 0, done.stderr
    (result,) = user.results().values()
    assert result["provenance"]["sources"] == sources()
    _goes_on_after_the_code_has_changed(user, tmp_path)
    doctor = user.run("doctor")
    assert doctor.code == 0, doctor.stdout
    port = free_port()
    server = user.start("ui", "--port", str(port))
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert not (tmp_path / "harm.txt").exists()


def _goes_on_after_the_code_has_changed(user: User, tmp_path: Path) -> None:
    """By a copy of the packages with another constant: the old result is known to be of other code, today's gives other
    bits, and that of then the same ones."""
    (trial_id,) = user.results()
    assert "other code" not in user.run("plan").stdout
    for package in CODE:
        shutil.copytree(imported_from(package), tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    optimiser = tmp_path / "anytime_core" / "training" / "optim.py"
    optimiser.write_text(optimiser.read_text().replace("dampening=0.0", "dampening=0.1"))
    of_now, user.environment = user.environment, user.environment | {"PYTHONPATH": str(tmp_path)}
    planned = user.run("plan")
    assert "finished, other code: may matter" in planned.stdout
    assert "1 trial ended by other code that could matter; sweep --rerun other-code trains it again" in planned.stdout
    assert user.run("reproduce", trial_id).code == 1
    as_then = user.run("reproduce", trial_id, "--as-then")
    assert as_then.code == 0, as_then.stderr
    assert as_then.stdout.startswith(f"same bits: ann (1,2) digits seed 0 ({trial_id})")
    assert "the versions that are installed here are those of then" in as_then.stderr
    user.environment = of_now


def _wait_for(url: str) -> None:
    """Until it answers, if only that it wants a token."""
    for _ in range(120):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as answer:
            if answer.code != 403:
                raise
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{url} does not answer")
