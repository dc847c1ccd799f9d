"""Who waits for a sweep sees how far it is and how long it still takes."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from types import SimpleNamespace

import pytest
from rich.console import Console

from anytime_core.config import Joint, NetworkConfig
from anytime_core.result import EpochMetrics
from orchestrator.execution.progress import Progress
from orchestrator.execution.worker import Outcome
from orchestrator.planning import plan
from orchestrator.planning.plan import PlannedTrial
from orchestrator.sweep.retries import FailureKind
from orchestrator.sweep.trial import Pause, TrialState
from orchestrator.table import duration

FINISHED = Outcome(TrialState.FINISHED)


@dataclass
class Clock:
    now: float = 1000.0


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(
        "orchestrator.execution.progress.time", SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now)
    )
    return clock


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def plain(output) -> Console:
    return Console(file=output, force_terminal=False, width=40)


@pytest.fixture
def some(make_trial, ledger) -> tuple[PlannedTrial, ...]:
    """Four equal trials of 44 steps in two epochs."""
    return plan.make([make_trial(seed=seed) for seed in range(4)], ledger).entries


def at_step(step: int, error: float, make_epochs: Callable[..., list[EpochMetrics]]) -> list[EpochMetrics]:
    return make_epochs(1, 3, step=step, test_error=(90.0, 50.0, error))


# What is shown


def test_a_trial_that_pauses_has_done_its_part_of_the_round(make_trial, ledger, plain, clock, make_epochs) -> None:
    """At the end of its first epoch of 22 steps, which reaches step 11."""
    trial = replace(make_trial(), pause=Pause(step=11, likely=11))
    progress = Progress(plan.make([trial], ledger).entries, 0, plain)
    progress.started(trial.id)
    clock.now += 10
    progress.progressed(trial.id, at_step(22, 9.5, make_epochs))
    progress.ended(trial.id, Outcome(TrialState.PAUSED))
    assert progress.summary == "0/1 done, 0 running, 0 failed, 1 paused, 0 s left"


def test_it_counts_what_is_done_running_and_failed(some, plain, clock, make_epochs) -> None:
    progress = Progress(some, 3, plain)
    first, second, third, fourth = (entry.trial.id for entry in some)
    assert progress.summary == "3/7 done, 0 running, 0 failed"
    progress.started(first)
    progress.started(second)
    assert progress.summary == "3/7 done, 2 running, 0 failed"
    clock.now += 10
    progress.progressed(first, at_step(22, 9.5, make_epochs))
    progress.ended(first, FINISHED)
    progress.ended(second, Outcome(TrialState.FAILED, "no memory"))
    progress.started(third)
    progress.ended(third, Outcome(TrialState.DIVERGED))
    assert progress.summary.startswith("5/7 done, 0 running, 1 failed")
    progress.started(fourth)
    progress.lost(fourth, "its process died")
    assert progress.summary.startswith("5/7 done, 0 running, 1 failed")
    progress.started(fourth)
    assert progress.summary.startswith("5/7 done, 1 running, 1 failed")
    progress.ended(fourth, Outcome(TrialState.FAILED, "its process died", FailureKind.BUG))
    assert progress.summary.startswith("5/7 done, 0 running, 2 failed")
    assert progress.seconds_left() == 0


def test_of_another_round_it_counts_what_failed_before_and_what_is_left_to_others(some, plain) -> None:
    progress = Progress(some, 3, plain, failed=2, left=4)
    first, second, *_ = (entry.trial.id for entry in some)
    assert progress.summary == "3/13 done, 0 running, 2 failed"
    progress.started(first)
    progress.left(first)  # trained by another sweep
    progress.left(second)  # not begun at all
    assert progress.summary == "3/13 done, 0 running, 2 failed"


def test_off_a_terminal_every_event_is_one_plain_line(some, plain, output, clock, make_epochs) -> None:
    first, second, third, _ = (entry.trial.id for entry in some)
    with Progress(some, 0, plain) as progress:
        progress.started(first)
        progress.started(second)
        progress.started(third)
        clock.now += 30
        progress.progressed(first, at_step(22, 19.5, make_epochs))
        clock.now += 30
        progress.progressed(first, at_step(44, 9.5, make_epochs))
        progress.ended(first, FINISHED)
        progress.ended(second, Outcome(TrialState.FAILED, "no [memory]"))
        progress.lost(third, "its process died")
    assert output.getvalue().splitlines() == [
        "[0/4 done, 3 running, 0 failed, 1 min 00 s left]",  # two run as long as the first did; then comes the fourth
        "[1/4 done, 2 running, 0 failed, 1 min 00 s left] "
        "finished ann (1,2) digits seed 0: last prediction errs in 9.50 %",
        "[1/4 done, 1 running, 1 failed, 1 min 00 s left] failed ann (1,2) digits seed 1: no [memory]",
        "[1/4 done, 0 running, 1 failed, 1 min 00 s left] lost ann (1,2) digits seed 2: its process died; "
        "starts again from its last checkpoint",
    ]


def test_off_a_terminal_it_speaks_now_and_then_though_nothing_ends(some, plain, output, clock, make_epochs) -> None:
    with Progress(some, 0, plain) as progress:
        progress.started(some[0].trial.id)
        for step in range(1, 41):
            clock.now += 10
            progress.progressed(some[0].trial.id, at_step(step, 9.5, make_epochs))
    assert len(output.getvalue().splitlines()) == 10  # in 400 seconds, more than 30 after another
    assert "\x1b" not in output.getvalue()


def test_steps_within_an_epoch_are_shown_and_told_but_not_counted_until_they_are_saved(
    some, plain, output, clock, make_epochs
) -> None:
    trial_id = some[0].trial.id
    with Progress(some, 0, plain) as progress:
        progress.started(trial_id)
        for step in (1, 9, 17):
            clock.now += 20
            progress.reached(trial_id, step)
        assert [running.step for running in progress.snapshot().running] == [17]
        progress.progressed(trial_id, at_step(11, 9.5, make_epochs))  # a word that comes late takes nothing back
        assert [running.step for running in progress.snapshot().running] == [17]
        progress.lost(trial_id, "its process died")
        progress.reached(trial_id, 20)  # of the process that died
        progress.started(trial_id)
        assert [running.step for running in progress.snapshot().running] == [11]
    said = output.getvalue().splitlines()
    assert said[0] == "[0/4 done, 1 running, 0 failed] ann (1,2) digits seed 0: step 9/44"
    assert len(said) == 2  # and that it was lost


def test_on_a_terminal_the_view_names_each_running_trial(some, output, clock, make_epochs) -> None:
    terminal = Console(file=output, force_terminal=True, width=120, color_system=None)
    with Progress(some, 0, terminal) as progress:
        progress.started(some[0].trial.id)
        progress.started(some[1].trial.id)
        progress.placed(some[1].trial.id, "node7 GPU 0")
        progress.started(some[2].trial.id)
        progress.ended(some[2].trial.id, Outcome(TrialState.FAILED, "no memory"))
        clock.now += 10
        progress.progressed(some[1].trial.id, at_step(22, 9.5, make_epochs))
        terminal.print(progress._view())
        progress.ended(some[1].trial.id, FINISHED)
    shown = output.getvalue()
    assert "starting     ann (1,2) digits seed 0  step 0/44" in shown
    assert "node7 GPU 0  ann (1,2) digits seed 1  step 22/44  last prediction errs in 9.50 %" in shown
    assert "\nann (1,2) digits seed 2: no memory" in shown  # stays, beside the line that scrolls away
    assert "0/4 done, 2 running, 1 failed" in shown
    assert "finished ann (1,2) digits seed 1: last prediction errs in 9.50 %" in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_worker_says_does_the_terminal_no_harm(some, output, make_epochs, terminal) -> None:
    console = Console(file=output, force_terminal=terminal, width=200, height=40, color_system=None)
    said = "\x1b]0;owned\x07 [red]:x: postgresql://me:hun/ter@db \u202e"
    first, second, *_ = (entry.trial.id for entry in some)
    with Progress(some, 0, console) as progress:
        for trial_id in (first, second):
            progress.started(trial_id)
        progress.placed(second, said)
        progress.ended(first, Outcome(TrialState.FAILED, said, FailureKind.BUG, notes=(said,)))
        told = progress.snapshot()
        progress._live.refresh()
    shown = output.getvalue()
    assert [text for text in ("\x1b]", "\x07", "\u202e", "hun/ter") if text in shown] == []
    assert r"\x1b]0;owned\x07 [red]:x: postgresql://me:***@db \u202e" in shown
    assert "hun/ter" not in str(told.errors)


@pytest.mark.parametrize(("width", "height"), [(20, 24), (12, 24), (40, 5), (20, 6), (12, 4), (200, 2)])
def test_a_small_terminal_shows_the_counts_and_the_time_left_before_all_else(
    some, output, clock, make_epochs, width, height
) -> None:
    terminal = Console(file=output, force_terminal=True, width=width, height=height, color_system=None)
    with Progress(some, 7, terminal) as progress:
        for index, entry in enumerate(some):
            progress.started(entry.trial.id)
            progress.placed(entry.trial.id, f"a-node-of-a-long-name GPU {index}")
        progress.ended(some[3].trial.id, Outcome(TrialState.FAILED, "no memory, and more words than a line has"))
        clock.now += 10
        progress.progressed(some[0].trial.id, at_step(22, 9.5, make_epochs))
        output.seek(0)
        output.truncate()
        progress._live.refresh()
        lines = [
            line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue()).strip("\r").split("\n")
        ]
    assert len(lines) <= height
    assert "..." not in "".join(lines)
    assert re.search("7/11 done, 3 running, 1 failed, [0-9minsh ]+ left", " ".join(lines))


@pytest.mark.filterwarnings("error")
def test_a_view_that_breaks_leaves_plain_lines(some, output, clock, caplog, monkeypatch) -> None:
    terminal = Console(file=output, force_terminal=True, width=80, color_system=None)
    with Progress(some, 0, terminal) as progress:
        monkeypatch.setattr(progress, "_running_row", lambda *_: 1 / 0)
        progress.started(some[0].trial.id)
        progress._live.refresh()
        progress.ended(some[0].trial.id, FINISHED)
    assert "[1/4 done, 0 running, 0 failed] finished ann (1,2) digits seed 0" in output.getvalue()
    assert caplog.messages == ["no live view from here on: ZeroDivisionError: division by zero"]


def test_restored_epochs_are_no_work_done(make_trial, ledger, plain, clock, make_epochs) -> None:
    trial = make_trial()
    path = ledger.folder(trial.id) / "checkpoints" / "step-000000022.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    progress = Progress(plan.make([trial], ledger).entries, 0, plain)
    progress.started(trial.id)
    clock.now += 10
    progress.progressed(trial.id, at_step(22, 9.5, make_epochs))
    assert progress.seconds_left() is None
    clock.now += 10
    progress.progressed(trial.id, at_step(33, 9.5, make_epochs))
    assert progress.seconds_left() == pytest.approx(20)  # 11 steps took 20 seconds, and 11 are left


# How long


def test_too_early_and_before_any_time_has_passed_nothing_is_said(some, plain, clock, make_epochs) -> None:
    progress = Progress(some, 0, plain)
    assert progress.seconds_left() is None
    progress.started(some[0].trial.id)
    progress.progressed(some[0].trial.id, at_step(22, 9.5, make_epochs))
    assert progress.seconds_left() is None
    clock.now += 5
    progress.progressed(some[0].trial.id, at_step(23, 9.5, make_epochs))
    assert progress.seconds_left() is not None


def test_the_time_left_falls_while_no_epoch_ends(some, plain, clock, make_epochs) -> None:
    progress = Progress(some[:1], 0, plain)
    progress.started(some[0].trial.id)
    clock.now += 60
    progress.progressed(some[0].trial.id, at_step(22, 9.5, make_epochs))
    told = []
    for _ in range(4):
        told.append(progress.seconds_left())
        clock.now += 25
    assert told == pytest.approx([60, 35, 10, 0])


def test_trials_that_fail_at_once_do_not_make_the_rest_look_short(some, plain, clock, make_epochs) -> None:
    progress = Progress(some, 0, plain)
    for entry in some[:3]:
        progress.started(entry.trial.id)
        clock.now += 1
        progress.ended(entry.trial.id, Outcome(TrialState.FAILED, "no memory"))
    progress.started(some[3].trial.id)
    clock.now += 60
    progress.progressed(some[3].trial.id, at_step(22, 9.5, make_epochs))
    assert progress.seconds_left() == pytest.approx(60, rel=0.1)


def simulated(
    progress: Progress,
    clock: Clock,
    entries: Sequence[PlannedTrial],
    slots: int,
    rng: random.Random,
    make_epochs: Callable[..., list[EpochMetrics]],
) -> Iterator[tuple[float, float, float | None]]:
    """Trials run in order in so many slots, each about as long as its work, in 20 epochs.

    At each event: the share of the time that has passed, the seconds that are left, and those that were told.
    """
    waiting, due, told = list(entries), [(clock.now, slot) for slot in range(slots)], []
    at_work: dict[int, Iterator[float]] = {}
    began = clock.now

    def worked(entry: PlannedTrial) -> Iterator[float]:
        """The seconds to each next event."""
        trial, seconds = entry.trial, entry.work / 1e7 * rng.uniform(0.95, 1.05)
        progress.started(trial.id)
        for epoch in range(1, 21):
            yield seconds / 20
            progress.progressed(trial.id, at_step(trial.config.training.steps * epoch // 20, 9.5, make_epochs))
        progress.ended(trial.id, FINISHED)

    while due:
        clock.now, slot = heappop(due)
        seconds = next(at_work.get(slot, iter(())), None)
        if seconds is None and waiting:
            at_work[slot] = worked(waiting.pop(0))
            seconds = next(at_work[slot])
        if seconds is not None:
            heappush(due, (clock.now + seconds, slot))
        told.append((clock.now, progress.seconds_left()))
    for now, left in told:
        yield (now - began) / (clock.now - began), clock.now - now, left


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("count", "slots"), [(40, 1), (40, 2), (60, 8), (9, 8), (3, 2), (1, 4), (3, 4)])
def test_the_time_left_is_told_within_a_fifth(
    make_trial, ledger, plain, clock, make_epochs, seed, count, slots
) -> None:
    """From a tenth of the way to nine tenths of it; the networks differ in work by a factor of 13."""
    rng = random.Random(seed)
    networks = [NetworkConfig(n=rng.randint(1, 4), c=rng.choice([4, 6, 8])) for _ in range(count)]
    trials = [make_trial(Joint(), network=network, seed=number) for number, network in enumerate(networks)]
    entries = plan.make(trials, ledger).entries
    progress = Progress(entries, 0, plain)
    events = simulated(progress, clock, entries, slots, rng, make_epochs)
    checked = [(left, told) for share, left, told in events if 0.1 <= share <= 0.9]
    assert len(checked) > 5
    for left, told in checked:
        assert told == pytest.approx(left, rel=0.2)
    assert progress.seconds_left() == 0
    assert progress.summary == f"{count}/{count} done, 0 running, 0 failed, 0 s left"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (65, "1 min 05 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7387, "2 h 03 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 00 h"),
        (3 * 86_400 + 4 * 3600 + 3599, "3 d 04 h"),
    ],
)
def test_a_duration_says_its_units(seconds, shown) -> None:
    assert duration(seconds) == shown


def test_on_a_terminal_the_view_shows_how_comparisons_stand(some, output) -> None:
    line = "aann > ann at AE   e 14.2 of 20, after 7 of at most 20 seeds"
    terminal = Console(file=output, force_terminal=True, width=70, height=10, color_system=None)
    with Progress(some, 0, terminal, standing=[line, "another"]) as progress:
        progress.started(some[0].trial.id)
        terminal.print(progress._view())
    assert f"\n{line}" in output.getvalue()
    low = Console(file=io.StringIO(), force_terminal=True, width=70, height=2, color_system=None)
    with Progress(some, 0, low, standing=[line]) as progress:
        low.print(progress._view())
    assert line not in low.file.getvalue()  # type: ignore[attr-defined]
