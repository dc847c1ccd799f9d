"""What trains is the code that the command imports, whatever lies in the folder that the command is given in."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cluster_user import User, free_port

from orchestrator.system.sources import sources

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
    done = user.run("sweep")
    assert done.code == 0, done.stderr
    (result,) = user.results().values()
    assert result["provenance"]["sources"] == sources()
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
