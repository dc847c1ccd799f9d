"""A driver that is killed twenty times, and the same command each time: as if nothing had happened."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from cluster_user import (
    CHAOS,
    CHAOS_EPOCHS,
    CHAOS_TRIALS,
    Epoch,
    Finished,
    User,
    assert_browsable,
    assert_same,
    wait_until,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
MOMENTS = ["time"] * 14 + ["result"] * 3 + ["checkpoint"] * 3
"""What a kill comes after: some time, the end of a trial, or a new checkpoint. By time alone many have not
begun a trial yet."""
LATEST = 5.0
"""Seconds after the start of a command."""
AT_ONCE = 2
"""Trials."""
SPARED = 4
"""With so few trials left a kill comes before one of them can end, however fast the machine is: else the sweep would be
over before all kills."""
SOON = 2.0
"""Seconds after the start of a command."""


@pytest.mark.parametrize("seed", [0])
def test_a_driver_killed_twenty_times_loses_nothing(undisturbed: tuple[User, Finished], user: User, seed: int) -> None:
    user.sweep_file.write_text(CHAOS)
    user.faults()  # epochs are noted
    rng = random.Random(seed)
    ended: dict[str, int] = {}
    for moment in rng.sample(MOMENTS, len(MOMENTS)):
        _kill(user, _when(moment, user, rng))
        attempts = user.attempts()
        assert ended.items() <= {trial_id: attempts[trial_id] for trial_id in user.results()}.items()
        ended = {trial_id: attempts[trial_id] for trial_id in user.results()}

    done = user.run("sweep")
    assert_same(user, done, *undisturbed)
    assert ended.items() <= user.attempts().items(), "a finished trial ran again"
    assert_browsable(user, CHAOS_TRIALS, CHAOS_EPOCHS)
    lost = sum(_lost(epochs) for epochs in user.epochs().values())
    assert lost <= AT_ONCE * len(MOMENTS)
    wait_until(lambda: not user.processes(), "nothing is left", 10)


def _when(moment: str, user: User, rng: random.Random) -> Callable[[], bool]:
    few = CHAOS_TRIALS - len(user.results()) <= SPARED
    if few or moment == "time":
        at = time.monotonic() + rng.uniform(0.2, SOON if few else LATEST)
        return lambda: time.monotonic() >= at
    if moment == "result":
        ended = len(user.results())
        return lambda: len(user.results()) > ended
    saved = set(user.storage.glob("trials/*/checkpoints/step-*.ckpt"))
    return lambda: not saved >= set(user.storage.glob("trials/*/checkpoints/step-*.ckpt"))


def _kill(user: User, condition: Callable[[], bool]) -> None:
    process = user.start("sweep")
    wait_until(lambda: condition() or process.poll() is not None, "it is time to kill the driver")
    assert process.poll() is None, "the sweep ended before all kills"
    process.kill()
    process.communicate()
    wait_until(lambda: not user.processes(), "nothing is left of a killed driver", 20)


def _lost(epochs: list[Epoch]) -> int:
    """How many of a trial's epochs were trained again: never any but the last, whose checkpoint was not there yet."""
    assert all(later.first in (epoch.first, epoch.last) for epoch, later in pairwise(epochs))
    return len(epochs) - len({epoch.first for epoch in epochs})
