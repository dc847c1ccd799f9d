"""Failures are told apart by what can be done about them, and tried again as the sweep's policy says."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from anytime_core.errors import ConfigError, DataError
from orchestrator.errors import StorageError, SweepError
from orchestrator.sweep.retries import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Failed,
    FailureKind,
    FailureTally,
    Holds,
    Retries,
    backoff,
    classify,
    signature,
)

BUG, INPUT, MEMORY, STORAGE, LOST = FailureKind


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bad"), BUG),
        (ZeroDivisionError(), BUG),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), BUG),
        (PermissionError(errno.EACCES, "no"), BUG),
        (FileExistsError(errno.EEXIST, "there"), BUG),
        (DataError("damaged"), INPUT),
        (ConfigError("cannot be"), INPUT),
        (caused(DataError("cannot be read"), OSError(errno.EIO, "i/o")), STORAGE),
        (caused(DataError("not found"), FileNotFoundError(errno.ENOENT, "none")), INPUT),
        (MemoryError(), MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MEMORY),
        (RuntimeError("CUDA error: out of memory"), MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), MEMORY),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), MEMORY),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), BUG),
        (OSError(errno.EIO, "i/o"), STORAGE),
        (OSError(errno.ENOSPC, "full"), STORAGE),
        (OSError(errno.ESTALE, "stale"), STORAGE),
        (TimeoutError(errno.ETIMEDOUT, "late"), STORAGE),
        (OSError("AWS Error SLOW_DOWN during PutObject"), STORAGE),
        (StorageError("result.json: cannot be read"), STORAGE),
    ],
    ids=repr,
)
def test_an_error_is_of_the_kind_that_says_what_can_be_done(error: Exception, kind: FailureKind) -> None:
    assert classify(error) is kind


def test_torchs_own_refusal_of_memory_is_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert classify(caught.value) is MEMORY


# The same cause


def raised(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return signature(error)
    pytest.fail("nothing was raised")


def test_one_cause_has_one_signature_whatever_the_numbers(ledger, make_trial) -> None:
    def missing(identity: str, number: float) -> None:
        raise KeyError(f"{identity} has no step {number} in process 123")

    assert raised(lambda: missing("0123456789abcdef", 7)) == raised(lambda: missing("fedcba9876543210", -1.5e-7))
    assert "KeyError in missing" in raised(lambda: missing("0123456789abcdef", 7))


def test_different_causes_have_different_signatures() -> None:
    def divide() -> float:
        return 1 / 0

    def other() -> float:
        return 1 / 0

    def message() -> None:
        raise ZeroDivisionError("of another kind")

    def kind() -> None:
        raise ValueError("of another kind")

    found = {raised(call) for call in (divide, other, message, kind)}
    assert len(found) == 4


def test_the_place_is_in_our_own_code_though_a_library_raised() -> None:
    from anytime_core.training.checkpoint import unpack

    assert "ValueError in unpack" in raised(lambda: unpack(b"nothing at all, and for longer than a digest is"))
    from orchestrator.sweep.retries import without_numbers

    assert "AttributeError in without_numbers" in raised(lambda: without_numbers(None))  # type: ignore[arg-type]


# Pauses


@pytest.mark.parametrize("failures", [1, 2, 3, 6, 50])
def test_a_pause_is_drawn_evenly_below_a_bound_that_doubles(failures: int) -> None:
    bound = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
    rng = random.Random(failures)
    drawn = [backoff(failures, rng) for _ in range(2000)]
    assert min(drawn) >= 0
    assert max(drawn) <= bound
    assert sum(drawn) / len(drawn) == pytest.approx(bound / 2, rel=0.05)
    again = random.Random(failures)
    assert drawn[:5] == [backoff(failures, again) for _ in range(5)]


# The policy


def failed(kind: FailureKind, alike: str = "the same") -> Failed:
    return Failed(kind=kind, error="it failed", signature=alike)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(BUG, 0), (INPUT, 0), (MEMORY, 2), (STORAGE, 5), (LOST, 10)],
)
def test_each_kind_is_tried_again_so_often(kind: FailureKind, expected: int) -> None:
    tally, retries = FailureTally(Retries()), 0
    tally.failed("a", "ann", failed(kind))
    while tally.again("a"):
        retries += 1
        tally.failed("a", "ann", failed(kind))
    assert retries == expected
    assert not tally.again("b")  # which did not fail


def test_kinds_are_counted_each_for_itself() -> None:
    tally = FailureTally(Retries(memory=1, storage=1))
    for kind, again in ((MEMORY, True), (STORAGE, True), (MEMORY, False)):
        tally.failed("a", "ann", failed(kind))
        assert tally.again("a") is again
    tally.mended("a")
    assert not tally.again("a")
    assert tally.failures == {}


def test_want_of_memory_doubles_the_share_each_time() -> None:
    tally = FailureTally(Retries())
    assert tally.share("a") == 1
    for expected in (2, 4):
        tally.failed("a", "ann", failed(MEMORY))
        assert tally.share("a") == expected
    tally.failed("a", "ann", failed(STORAGE))
    assert tally.share("a") == 4
    assert tally.share("b") == 1


def test_only_storage_is_waited_for() -> None:
    tally, rng = FailureTally(Retries()), random.Random(0)
    tally.failed("a", "ann", failed(MEMORY))
    assert tally.pause(["a"], rng) == 0
    for _ in range(3):
        tally.failed("b", "ann", failed(STORAGE))
    assert tally.pause(["a", "b"], rng) == backoff(3, random.Random(0))
    assert tally.pause([], rng) == 0


def test_the_same_failure_in_so_many_trials_stops_their_method() -> None:
    tally = FailureTally(Retries(same_failure=3))
    tally.failed("a", "ann", failed(BUG))
    tally.failed("a", "ann", failed(BUG))  # the same trial
    tally.failed("b", "ann", failed(BUG))
    tally.failed("c", "aann", failed(BUG))  # another method
    tally.failed("d", "ann", failed(BUG, "another"))
    for kind in (MEMORY, STORAGE, LOST):
        for trial in "efg":
            tally.failed(trial, "exp3", failed(kind))  # which may go well next time
    assert tally.stopped == {}
    tally.failed("h", "ann", failed(BUG))
    assert tally.stopped == {"ann": failed(BUG)}


def test_losses_cost_nothing_as_long_as_there_is_a_new_checkpoint_between_them() -> None:
    tally = FailureTally(Retries(lost=2))
    assert all(tally.lost("a", step) for step in range(0, 2000, 22))
    assert [tally.lost("a", 1978) for _ in range(3)] == [True, False, False]
    assert tally.restarts("a") == 4


def test_a_trial_that_ends_its_process_each_time_is_given_up() -> None:
    tally = FailureTally(Retries(lost=2))
    assert [tally.lost("a", 0) for _ in range(4)] == [True, True, False, False]
    assert tally.lost("b", 0)


def test_what_is_held_is_not_begun() -> None:
    holds = Holds(methods=frozenset({"ann"}), trials=frozenset({"a"}))
    assert holds.cover("a", "aann")
    assert holds.cover("b", "ann")
    assert not holds.cover("b", "aann")
    assert Holds(everything=True).cover("b", "aann")


# In the sweep file

SWEEP = "name: s\nnetworks: [{n: 1, c: 2}]\ndatasets: [digits]\nmethods: {ann: {}}\n"


def test_a_sweep_may_say_how_often_and_its_trials_stay_the_same(load_text) -> None:
    usual = load_text(SWEEP)
    other = load_text(
        f"{SWEEP}retries: {{memory: 0, storage: 1, lost: 3, same_failure: 1, stalled_after: 60, checkpoint_share: 1}}\n"
    )
    assert usual.retries == Retries()
    assert other.retries == Retries(memory=0, storage=1, lost=3, same_failure=1, stalled_after=60, checkpoint_share=1)
    assert [trial.id for trial in usual.trials] == [trial.id for trial in other.trials]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{memory: -1, same_failure: 0}", "memory is -1, must be at least 0; same_failure is 0, must be at least 1"),
        ("{stalled_after: 0.5}", "stalled_after is 0.5, must be at least 1 second"),
        ("{checkpoint_share: 0}", "checkpoint_share is 0, must be above 0 and at most 1"),
        ("{checkpoint_share: 5}", "checkpoint_share is 5, must be above 0 and at most 1"),
        ("{stalled_after: .inf}", "stalled_after is inf, must be at least 1 second"),
        (
            "{losst: 3}",
            "allowed: memory, storage, lost, same_failure, stalled_after, checkpoint_share (did you mean lost?)",
        ),
        ("3", "retries: given 3; must be a mapping"),
    ],
)
def test_what_cannot_be_is_refused(load_text, given: str, said: str) -> None:
    with pytest.raises(SweepError) as refused:
        load_text(f"{SWEEP}retries: {given}\n")
    assert said in str(refused.value)
