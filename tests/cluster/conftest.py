from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from cluster_user import CHAOS, SWEEP, Finished, User


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    user = User(tmp_path)
    yield user
    for process in user.processes():  # of a test that failed
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, Finished]:
    """A sweep that nothing disturbed, with all its figures. To be read, not changed."""
    user = User(tmp_path_factory.mktemp("undisturbed"), SWEEP)
    return user, user.run("sweep")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, Finished]:
    """The same of more and smaller trials."""
    user = User(tmp_path_factory.mktemp("undisturbed"), CHAOS)
    return user, user.run("sweep")
