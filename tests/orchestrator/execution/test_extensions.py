"""An extension on a worker: what goes wrong in it is one message, which names its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anytime_core.config import KINDS, Joint, TrainingConfig
from orchestrator.execution.worker import Outcome, WorkerContext, run_trial, unfit
from orchestrator.extensions import importing
from orchestrator.extensions.finding import Extension, find
from orchestrator.sweep.retries import FailureKind
from orchestrator.sweep.trial import TrialState

HEAD = """import torch
from dataclasses import dataclass
from anytime_core.extend import Strategy, register

STEPS = []

@register("mine")
@dataclass(frozen=True, kw_only=True)
class Mine(Strategy):
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    importing.activate([])


def extension(folder: Path, body: str) -> Extension:
    path = folder / "mine.py"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in body.splitlines()))
    return find("mine.py", folder)


def outcome_of(made: Extension, ledger, folder: Path, make_trial) -> Outcome:
    importing.activate([made])
    training = TrainingConfig(steps=44, batch_size=64, learning_rate={0: 0.1})
    trial = make_trial(Joint(strategy=KINDS["strategy"]["mine"]()), training=training)
    where = WorkerContext(storage=ledger.storage, data_root=folder / "data", extensions=(made,))
    return run_trial(trial, where, lambda epochs: None)


BROKEN = {
    "at step 30": (
        """def update(self, state, step):
    STEPS.append(1)
    if len(STEPS) == 30:
        raise ValueError("enough")
    return {}""",
        "{file}, line 13: ValueError: enough",
        FailureKind.BUG,
    ),
    "signature": (
        "def weights(self, state):\n    return state",
        "TypeError: Mine.weights() takes 2 positional arguments but 5 were given",
        FailureKind.BUG,
    ),
    "shape": (
        "def weights(self, state, base, chosen, noise):\n    return base.sum()",
        "strategy mine: weights gives a tensor of shape [], must give a tensor of shape [3]",
        FailureKind.INPUT,
    ),
    "state": (
        "def update(self, state, step):\n    return {'mean': step.losses}",
        "strategy mine: update gives mean; start gives nothing, and no others change",
        FailureKind.INPUT,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_goes_wrong_is_one_message(name, ledger, tmp_path, make_trial) -> None:
    body, message, kind = BROKEN[name]
    made = extension(tmp_path, body)
    outcome = outcome_of(made, ledger, tmp_path, make_trial)
    assert outcome.state is TrialState.FAILED
    assert outcome.error == message.format(file=made.modules[made.module].file)
    assert outcome.kind is kind


def test_weights_that_are_no_numbers_end_as_diverged(ledger, tmp_path, make_trial) -> None:
    made = extension(tmp_path, "def weights(self, state, base, chosen, noise):\n    return base * float('nan')")
    assert outcome_of(made, ledger, tmp_path, make_trial).state is TrialState.DIVERGED


def test_a_trial_says_which_extension_it_used(ledger, tmp_path, make_trial) -> None:
    made = extension(tmp_path, "share: float = 0.5")
    assert outcome_of(made, ledger, tmp_path, make_trial).state is TrialState.FINISHED
    (record,) = ledger.records([path.name for path in (ledger.storage / "trials").iterdir()]).values()
    assert record.provenance["extensions"].startswith(f"mine.py {made.source} (torch ")


def test_a_node_without_an_installed_extension_is_unfit(ledger, tmp_path) -> None:
    made = replace(extension(tmp_path, "pass"), given="lab", module="no_such_lab", shipped=False)
    outcome = unfit(WorkerContext(storage=ledger.storage, data_root=tmp_path, extensions=(made,)))
    assert outcome is not None
    assert outcome.kind is FailureKind.INPUT
    assert outcome.error is not None
    assert outcome.error.endswith(": extension lab is not installed here; every node needs it")
