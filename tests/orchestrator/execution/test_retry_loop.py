"""A driver whose storage does not answer for a while waits for it, as trials do."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.errors import StorageError
from orchestrator.execution.rationing import Ration
from orchestrator.execution.retry_loop import RetryLoop
from orchestrator.execution.round_listener import RoundListener
from orchestrator.execution.sweep_run import SweepRun, SweepSettings
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan as planning
from orchestrator.sweep.limits import Limits, Spending
from orchestrator.sweep.retries import Failed, FailureKind, FailureTally, Retries
from orchestrator.sweep.trial import Trial, TrialState

UNLIMITED = Ration(Spending(Limits(), 0.0), [], {})
DOWN = "s3://bucket/runs/trials: cannot be read: no answer"


class Outage:
    """Of a ledger's storage: so many readings fail."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        for name in ("standings", "step"):
            monkeypatch.setattr(ledger, name, self._failing(getattr(ledger, name)))

    def _failing(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*arguments: Any) -> Any:
            if self.left:
                self.left -= 1
                raise StorageError(DOWN)
            return read(*arguments)

        return reading


class Waits:
    """A stop that nobody asks for; it does not sleep."""

    def __init__(self) -> None:
        self.requested = False
        self.pauses: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return self.requested


def under_way(ledger: Ledger, policy: Retries, said: list[str], **parts: Any) -> SweepRun:
    """A run of which the parts that are not given are nobody."""
    settings = SweepSettings(storage=ledger.storage, data_root=Path("data"), tracking_uri="sqlite:///none")
    console = SimpleNamespace(print=lambda text, **style: said.append(text))
    made = {"console": console, "settings": settings, "ledger": ledger, "tally": FailureTally(policy), "driver": "mine"}
    nobody: Any = SimpleNamespace(name="small", tuning=())
    return SweepRun(**dict.fromkeys(("sweep", "tracker", "notifier"), nobody) | made | parts)


def rounds(ledger: Ledger, policy: Retries, said: list[str]) -> Any:
    nobody: Any = None
    made = RetryLoop(under_way(ledger, policy, said), nobody)
    made._rng = random.Random(0)
    return made


def test_storage_that_answers_again_is_waited_for(
    ledger: Ledger, make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, said, waits = make_trial(), list[str](), Waits()
    plan = planning.make([trial], ledger)
    outage = Outage(ledger, monkeypatch)
    outage.left = 3
    heard = SimpleNamespace(elsewhere={trial.id}, rationed=frozenset())
    assert rounds(ledger, Retries(), said)._next(plan, heard, waits).to_run == plan.to_run
    assert len(waits.pauses) == 3
    assert all(re.fullmatch(rf"{re.escape(DOWN)}; tried again in \d+ s", words) for words in said)


def test_storage_that_does_not_is_told_with_the_way_on(
    ledger: Ledger, make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Waits()
    outage = Outage(ledger, monkeypatch)
    outage.left = 100
    with pytest.raises(StorageError, match="no answer; once it can be, the same command goes on"):
        rounds(ledger, Retries(storage=2), [])._planned([make_trial()], waits)
    assert len(waits.pauses) == 2


def test_what_a_limit_holds_back_is_not_tried_again(ledger: Ledger, make_trial: Callable[..., Trial]) -> None:
    """It would be in round after round in which it may not begin."""
    trial = make_trial()
    loop = rounds(ledger, Retries(), [])
    loop._run.tally.failed(trial.id, "ann", Failed(kind=FailureKind.MEMORY, error="none left", signature="none"))
    plan = planning.make([trial], ledger)
    for rationed, runs in ((frozenset(), (trial,)), (frozenset({trial.id}), ())):
        heard: Any = SimpleNamespace(elsewhere=set(), rationed=rationed)
        assert tuple(entry.trial for entry in loop._next(plan, heard, Waits()).to_run) == runs


@pytest.mark.parametrize(("limits", "asked"), [(Limits(), 0), (Limits(until=9e9), 1)])
def test_a_clusters_nodes_are_asked_for_the_sake_of_limits_alone(
    ledger: Ledger, make_trial: Callable[..., Trial], limits: Limits, asked: int
) -> None:
    calls: list[Any] = []
    session: Any = SimpleNamespace(machines=lambda plan: calls.append(plan) or [])
    run = under_way(ledger, Retries(), [])
    settings = replace(run.settings, address="head:6379", limits=limits)
    plan = planning.make([make_trial()], ledger)
    assert RetryLoop(replace(run, settings=settings), session)._step_seconds(plan) == {}
    assert len(calls) == asked


def test_a_trial_that_is_lost_while_the_storage_is_down_starts_again(
    ledger: Ledger, make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, told = make_trial(), list[str]()
    plan = planning.make([trial], ledger)
    outage = Outage(ledger, monkeypatch)
    progress: Any = SimpleNamespace(lost=lambda trial_id, reason: told.append(reason))
    tracker: Any = SimpleNamespace(ended=lambda *words: None)
    nobody: Any = SimpleNamespace(requested=False)
    heard = RoundListener(under_way(ledger, Retries(), [], tracker=tracker), plan.to_run, progress, nobody, UNLIMITED)
    outage.left = 1
    heard.lost(trial.id, "its process died", FailureKind.LOST)
    assert told == ["its process died"]
    assert not heard.holds.trials


@pytest.mark.parametrize("before", [False, True])
def test_a_process_that_dies_before_it_begins_an_attempt_leaves_a_failure(
    ledger: Ledger, make_trial: Callable[..., Trial], before: bool
) -> None:
    """As one that the kernel kills while it imports torch, in the first command or in a later one."""
    trial = make_trial()
    if before:
        ledger.begin(trial, "small", driver="an earlier one")
    plan = planning.make([trial], ledger)
    nobody: Any = SimpleNamespace(requested=False, lost=print, ended=lambda *words: None)
    heard = RoundListener(
        under_way(ledger, Retries(lost=0), [], tracker=nobody), plan.to_run, nobody, nobody, UNLIMITED
    )
    heard.lost(trial.id, "its process died", FailureKind.LOST)
    standing = ledger.standing(trial.id)
    assert standing.state is TrialState.FAILED
    assert standing.attempts == 1 + before
    assert "its process died" in (standing.failure or "")
    assert planning.only_failed(planning.make([trial], ledger)).to_run
