"""What goes wrong with trials, and what a sweep does about it: kinds of failure, a policy, and a count of both.

Pure: clocks and random numbers are the caller's.
"""

from __future__ import annotations

import errno
import math
import random
import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from anytime_core.errors import TrainerError
from orchestrator.errors import StorageError
from orchestrator.redaction import redacted

FIRST_PAUSE = 4.0
"""Seconds, at most, before the first retry after an error of the storage; twice that before the second, and so on."""
LONGEST_PAUSE = 120.0
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED", re.IGNORECASE)
"""What torch says where a GPU or the machine has no more; the libraries of CUDA have words of their own."""
OWN_CODE = re.compile(r"[/\\](anytime_core|orchestrator)[/\\]")
STORAGE_ERRORS = {
    *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.ETIMEDOUT, errno.EROFS, errno.ENOTCONN, errno.EAGAIN),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNRESET, errno.ECONNREFUSED),
    *(errno.ECONNABORTED, errno.EPIPE, errno.ENODEV, errno.ENXIO, errno.EMFILE, errno.ENFILE),
}
VARIES = re.compile(r"\b[0-9a-f]{8,}\b|[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)
"""What differs between two messages of one cause: numbers, and the ids of trials and temporary files."""
LONGEST_MESSAGE = 200


class FailureKind(StrEnum):
    """Whose fault it was: the code's, the user's, or that of memory, storage or a machine."""

    BUG = "bug"
    INPUT = "input"
    MEMORY = "memory"
    STORAGE = "storage"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How often one command tries a trial again, by what went wrong. No part of a trial's identity.

    A bug, and data or settings that cannot be trained on, are never tried again before the next command.

    ``memory``: so often, each time with twice the share of a GPU and of a node's CPUs; its threads stay as they are.
    ``storage``: so often, after pauses that double and are drawn at random (full jitter).
    ``lost``: restarts in a row that bring no new checkpoint, where the process or its node died. Those that bring one
    cost nothing; one more than this counts as a bug of the trial's own.
    ``same_failure``: once so many trials of a method have failed in the same way, no more of that method are begun.
    ``stalled_after``: seconds. A trial that takes no training step for so long is ended, and is then lost; it must be
    more than an evaluation and a checkpoint take.
    ``checkpoint_share``: checkpoints, and what goes with them, take at most this part of a trial's time; at 1 there is
    one after every epoch. What was trained since the last one is trained again where a process dies.
    """

    memory: int = 2
    storage: int = 5
    lost: int = 10
    same_failure: int = 3
    stalled_after: float = 900.0
    checkpoint_share: float = 0.02

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("memory", "storage", "lost")}
        faults = [f"{name} is {count}, must be at least 0" for name, count in counts.items() if count < 0]
        if self.same_failure < 1:
            faults.append(f"same_failure is {self.same_failure}, must be at least 1")
        if not (self.stalled_after >= 1 and math.isfinite(self.stalled_after)):
            faults.append(f"stalled_after is {self.stalled_after:g}, must be at least 1 second")
        if not 0 < self.checkpoint_share <= 1:
            faults.append(f"checkpoint_share is {self.checkpoint_share:g}, must be above 0 and at most 1")
        if faults:
            raise ValueError("; ".join(faults))


def classify(error: BaseException) -> FailureKind:
    """What kind of failure an exception of a trial's is."""
    match error:
        case TrainerError() if error.__cause__ and classify(error.__cause__) is FailureKind.STORAGE:
            return FailureKind.STORAGE
        case TrainerError():
            return FailureKind.INPUT
        case StorageError():
            return FailureKind.STORAGE
        case OSError() if error.errno == errno.ENOMEM:
            return FailureKind.MEMORY
        case OSError() if error.errno in STORAGE_ERRORS or error.errno is None:  # object stores give no number
            return FailureKind.STORAGE
        case MemoryError():
            return FailureKind.MEMORY
        case RuntimeError() if OUT_OF_MEMORY.search(str(error)):
            return FailureKind.MEMORY
        case _:
            return FailureKind.BUG


def signature(error: BaseException) -> str:
    """The same for failures of the same cause: the exception's type, the innermost place in our own code that it went
    through, and its message without numbers."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if OWN_CODE.search(frame.filename)] or frames
    place = f" in {own[-1].name}, line {own[-1].lineno}" if own else ""
    return f"{type(error).__name__}{place}: {without_numbers(str(error))}"


def without_numbers(message: str) -> str:
    return VARIES.sub("#", redacted(message.strip()).partition("\n")[0])[:LONGEST_MESSAGE]


def backoff(failures: int, rng: random.Random) -> float:
    """Seconds to wait after so many failures: anything up to a bound that doubles, so that not all come at once."""
    return rng.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A trial's last failure. ``signature`` is the same for the same cause."""

    kind: FailureKind
    error: str
    signature: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Holds:
    """What workers must not begin: all trials, those of some methods, some trials. Under ``everything`` those at work
    save their state and end."""

    everything: bool = False
    methods: frozenset[str] = frozenset()
    trials: frozenset[str] = frozenset()

    def cover(self, trial_id: str, method: str) -> bool:
        return self.everything or method in self.methods or trial_id in self.trials


class FailureTally:
    """What failed in one command, and what its policy makes of it."""

    def __init__(self, policy: Retries) -> None:
        self.policy = policy
        self.failures: dict[str, Failed] = {}
        """The last one of each trial that is not mended."""
        self.stopped: dict[str, Failed] = {}
        """By method: the failure that too many of its trials had."""
        self._counts: Counter[tuple[str, FailureKind]] = Counter()
        self._alike: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._restarts: dict[str, tuple[int, int]] = {}

    def failed(self, trial_id: str, method: str, failure: Failed) -> None:
        self.failures[trial_id] = failure
        self._counts[trial_id, failure.kind] += 1
        if failure.kind in (FailureKind.BUG, FailureKind.INPUT):
            alike = self._alike[method, failure.signature]
            alike.add(trial_id)
            if len(alike) >= self.policy.same_failure:
                self.stopped.setdefault(method, failure)

    def mended(self, trial_id: str) -> None:
        self.failures.pop(trial_id, None)

    def lost(self, trial_id: str, step: int) -> bool:
        """Whether a trial whose process died is restarted; ``step`` is that of its newest checkpoint."""
        last, count = self._restarts.get(trial_id, (-1, 0))
        count = count + 1 if step <= last else 1
        self._restarts[trial_id] = max(step, last), count
        return count <= self.policy.lost

    def restarts(self, trial_id: str) -> int:
        """In a row, without a new checkpoint."""
        return self._restarts.get(trial_id, (0, 0))[1]

    def again(self, trial_id: str) -> bool:
        """Whether a trial that failed is tried again in this command."""
        failure = self.failures.get(trial_id)
        if failure is None or failure.kind in (FailureKind.BUG, FailureKind.INPUT):
            return False
        allowed = {
            FailureKind.MEMORY: self.policy.memory,
            FailureKind.STORAGE: self.policy.storage,
            FailureKind.LOST: self.policy.lost,
        }
        return self._counts[trial_id, failure.kind] <= allowed[failure.kind]

    def share(self, trial_id: str) -> int:
        """How many times its resources a trial is given."""
        return int(2 ** self._counts[trial_id, FailureKind.MEMORY])

    def pause(self, trial_ids: Collection[str], rng: random.Random) -> float:
        """Seconds before these trials are tried again: none unless the storage failed some of them."""
        counts = [
            self._counts[trial_id, FailureKind.STORAGE]
            for trial_id in trial_ids
            if trial_id in self.failures and self.failures[trial_id].kind is FailureKind.STORAGE
        ]
        return backoff(max(counts), rng) if counts else 0.0
