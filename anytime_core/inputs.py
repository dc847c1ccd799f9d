"""Checks the images and the limits that a trained network is given, and says when it is sure enough to stop.

The predictor, ``orchestrate predict``, the model in MLflow and the exported file share this one copy. It imports the
standard library and numpy alone, because ``orchestrate export`` packs it beside the runner of an exported file.

Shapes: N images, C channels, S x S pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
"""Seconds in each unit that a deadline may have."""
RULES: dict[str, tuple[Callable[[float], bool], str]] = {
    "deadline": (lambda number: 0 < number < math.inf, "a positive number of seconds"),
    "confidence": (lambda number: 0 < number <= 1, "above 0 and at most 1"),
    "threshold": (lambda number: 0 <= number < math.inf, "a number of 0 or more"),
}
"""What a value must be, and how that is said."""
POSITIVE: tuple[Callable[[float], bool], str] = (lambda number: 0 < number < math.inf, "a positive number")
"""The rule of all other values."""
NUMBERS = "uif"
"""The kinds of numpy's types that pixels may have."""

PIXELS, FEATURES, NEXT, PROBABILITIES = "pixels", "features", "next", "probabilities"
"""What goes into a stage of an exported network, and comes out of it."""


# Images


@dataclass(frozen=True)
class ImageSpec:
    """The images that a network takes: C ``channels`` of S = ``size`` by S pixels, from 0 to ``brightest``.

    A ``size`` or ``brightest`` of None is unknown, and nothing checks it.
    """

    channels: int
    size: int | None = None
    brightest: float | None = None

    def batch(self, images: Any, *, brightest: float | None = None) -> np.ndarray:
        """Checks images and gives a copy that torch and ONNX Runtime can read.

        Takes [N,C,S,S], [C,S,S] or, with one channel, [S,S] of numbers; gives [N,C,S,S] of bytes or floats. With
        ``brightest``, it takes pixels from 0 to that and scales them to those of the data set. Raises ValueError.
        """
        try:
            given = np.asarray(images)
        except ValueError as error:
            raise ValueError(f"images are of several shapes, must be {self._allowed(brightest)}") from error
        extremes = np.array([given.min(), given.max()]) if given.size and given.dtype.kind in NUMBERS else None
        self.check(str(given.dtype), given.shape, extremes, brightest=brightest)
        return np.asarray(self.scaled(_plain(given.reshape(self.batch_shape(given.shape))), brightest))

    def batch_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Gives the shape [N,C,S,S] that the same images have as a batch."""
        return (*(1,) * (4 - len(shape)), *shape)

    def scaled(self, pixels: Any, brightest: float | None) -> Any:
        """Scales pixels of an array or a tensor, from 0 to ``brightest``, to those of the data set."""
        if brightest is None or self.brightest is None or brightest == self.brightest:
            return pixels
        # Rounding may lead past the brightest.
        return (pixels * (1.0 * self.brightest) / float(brightest)).clip(0, self.brightest)

    def check(
        self, kind: str, shape: Sequence[int], extremes: np.ndarray | None, *, brightest: float | None = None
    ) -> None:
        """Raises ValueError unless the network takes images of this type, this shape and these values.

        ``kind`` is the name of the type. ``extremes`` [2] are the least and the greatest value: None without numbers,
        NaN if one of the values is.
        """
        if brightest is not None:
            self._check_brightest(brightest)
        end = self.brightest if brightest is None else brightest
        unfit = _no_numbers(extremes) or not self._fits(shape)
        if extremes is not None and not unfit:
            unfit = bool(extremes[0] < 0 or (end is not None and extremes[1] > end))
        advice = self._advice(extremes) if brightest is None and extremes is not None else ""
        if unfit or advice:
            given = f"{kind} {list(shape)}{_range(shape, extremes)}"
            raise ValueError(f"images are {given}, must be {self._allowed(brightest)}{advice}")

    def _check_brightest(self, brightest: float) -> None:
        if fault := _fault("brightest", brightest):
            raise ValueError(fault)
        if self.brightest is None:
            raise ValueError(f"brightest is {brightest!r}, must be left out: the network does not know its data set's")

    def _fits(self, shape: Sequence[int]) -> bool:
        batch = self.batch_shape(shape)
        side = batch[-1] if self.size is None else self.size
        return len(shape) >= 2 and batch[1:] == (self.channels, side, side)

    def _advice(self, extremes: np.ndarray) -> str:
        """Says how to give images that seem to have another white than the data set; else is empty."""
        low, high = extremes
        if self.brightest is None or low < 0 or not np.isfinite(high):
            return ""
        if high > self.brightest:
            return f"; brightest, such as {_shown(high)}, says what their white is, and scales them"
        if extremes.dtype.kind == "f" and 0 < high <= 1 < self.brightest:
            return f"; if their white is 1, give brightest 1; if they are that dark, brightest {_shown(self.brightest)}"
        return ""

    def _allowed(self, brightest: float | None) -> str:
        side, end = self.size or "S", self.brightest if brightest is None else brightest
        image = f"{self.channels},{side},{side}]"
        shapes = f"[N,{image}, [{image} or [{side},{side}]" if self.channels == 1 else f"[N,{image} or [{image}"
        return f"numbers {shapes} " + ("of 0 or more" if end is None else f"from 0 to {_shown(end)}")


def _no_numbers(extremes: np.ndarray | None) -> bool:
    return extremes is None or not bool(np.isfinite(extremes).all())


def _range(shape: Sequence[int], extremes: np.ndarray | None) -> str:
    """Describes the values that the images have."""
    if extremes is None:
        return " without any value" if 0 in shape else ""
    if not np.isfinite(extremes).all():
        return " with NaN or infinity among them"
    return " from {} to {}".format(*map(_shown, extremes))


def _plain(given: np.ndarray) -> np.ndarray:
    """Copies numbers into bytes or floats of this machine's byte order. Raises ValueError if that changes a number."""
    if given.dtype.kind == "f" and given.dtype.itemsize > 8:
        plain = given.astype(np.float64)
        if not (plain == given).all():
            raise ValueError(f"images are {given.dtype} with values that float64 cannot hold exactly, must be float64")
        return plain
    if given.dtype.kind == "f":
        return given.astype(given.dtype.newbyteorder("="))
    return given.astype(np.uint8 if given.dtype == np.uint8 else np.float32)


def _shown(value: Any) -> str:
    """Writes a number without loss, and without the ``.0`` of a whole one."""
    return str(value).removesuffix(".0")


def read_array(path: Path) -> np.ndarray:
    """Reads the array in an .npy file. Raises OSError, and ValueError for a damaged file or another kind of file."""
    with path.open("rb") as file:
        start = file.read(len(np.lib.format.MAGIC_PREFIX))
        file.seek(0)
        if start != np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"is {_kind_of(start)}, must be an .npy file with one array of numbers")
        try:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        except OSError:
            raise
        except Exception as error:  # numpy parses the header as Python, which raises errors of many types
            if "Object arrays" in str(error):
                raise ValueError("holds objects, must be an .npy file with one array of numbers") from error
            raise ValueError(f"is a damaged .npy file ({_first_line(error)}), must be a whole one") from error
    return array


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _kind_of(start: bytes) -> str:
    if not start:
        return "an empty file"
    return "an archive, such as an .npz" if start.startswith(b"PK") else "no .npy file"


# Limits


def seconds(text: str) -> float:
    """Reads a deadline such as ``5ms``, ``0.1s`` or ``250us``. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s)", text.strip())
    if not match or not float(match[1]):
        raise ValueError(f"deadline is {text!r}, must be a time such as 5ms, 0.1s or 250us")
    return float(match[1]) * UNITS[match[2]]


def limits_of(deadline: str | None, budget: float | None, confidence: float | None) -> dict[str, float | None]:
    """Turns what a user typed into the limits of ``refine``, by name. Raises ValueError with every fault."""
    faults, end = [], None
    try:
        end = None if deadline is None else seconds(deadline)
    except ValueError as error:
        faults.append(str(error))
    faults += _faults(end, budget, confidence)
    if faults:
        raise ValueError("; ".join(faults))
    return {"deadline": end, "budget": budget, "confidence": confidence}


def check_limits(
    deadline: float | None, budget: float | None, confidence: float | None, threshold: float | None = None
) -> None:
    """Raises ValueError with every fault of the limits. ``deadline`` is in seconds."""
    if faults := _faults(deadline, budget, confidence, threshold):
        raise ValueError("; ".join(faults))


def _faults(
    deadline: float | None, budget: float | None, confidence: float | None, threshold: float | None = None
) -> list[str]:
    given = {"deadline": deadline, "budget": budget, "confidence": confidence, "threshold": threshold}
    faults = [_fault(name, value) for name, value in given.items() if value is not None]
    return [fault for fault in faults if fault]


def _fault(name: str, value: Any) -> str:
    """Describes the fault of a value; is empty if it has none."""
    fits, allowed = RULES.get(name, POSITIVE)
    if isinstance(value, Real) and not isinstance(value, bool) and fits(float(value)):
        return ""
    return f"{name} is {value!r}, must be {allowed}"


def affordable(costs: Sequence[int], budget: float) -> int:
    """Gives the index of the last answer within a budget, or -1. Up to 1, a budget is a part of the last cost."""
    # Half a multiply-add makes up for parts such as 0.1, which are not exact.
    limit = budget * costs[-1] + 0.5 if budget <= 1 else budget
    return sum(cost <= limit for cost in costs) - 1


def seconds_late(taken: float, deadline: float | None) -> float:
    """Gives the seconds by which an answer that took ``taken`` seconds missed its deadline; 0 if it was in time."""
    return 0.0 if deadline is None else max(0.0, taken - deadline)


def late(taken: float, deadline: float | None) -> str:
    """Says the same in words; is empty if the answer was in time."""
    missed = seconds_late(taken, deadline)
    return f"{1000 * missed:.1f} ms after the deadline" if missed else ""


# Sure enough


def rounded(probabilities: Any) -> np.ndarray:
    """Rounds numbers as outcomes keep them: to float32, then to float16. torch casts a float64 so, too."""
    return np.asarray(probabilities, np.float32).astype(np.float16)


def sure_enough(probability: float, confidence: float | None, threshold: float | None) -> bool:
    """Whether an image leaves with an answer of this probability: as it is, it reaches ``confidence``, or rounded as
    outcomes are, it reaches the ``threshold`` that was found on outcomes."""
    if confidence is not None and probability >= confidence:
        return True
    return threshold is not None and float(rounded(probability)) >= threshold


# Guarantees


LOST = "lost"
"""The loss that is meant where none is named: a wrong answer where the last prediction is right."""


def share(name: str, text: str) -> float:
    """Reads a part of all such as ``2%`` or ``0.02``. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)", text.strip())
    # In decimals 0.3% is 0.003; in floating point it would be another number.
    part = float(Decimal(match[1]) / (100 if match[2] else 1)) if match else 0.0
    if not 0 < part < 1:
        raise ValueError(f"{name} is {text!r}, must be above 0% and below 100%, such as 2% or 0.02")
    return part


def percent(part: float) -> str:
    """Writes a part of all, such as ``2%``."""
    return f"{100 * part:g}%"


def as_options(guarantee: Mapping[str, Any]) -> str:
    """Writes the options that ask for a guarantee, such as ``--risk 2% --delta 10%``."""
    words = [f"--risk {percent(guarantee['risk'])}"]
    if guarantee["delta"] is not None:
        words.append(f"--delta {percent(guarantee['delta'])}")
    if guarantee["loss"] != LOST:
        words.append(f"--loss {guarantee['loss']}")
    return " ".join(words)


def check_asked(risk: Any, delta: Any, loss: Any, confidence: Any = None) -> None:
    """Raises ValueError where words that say which guarantee is meant do not go together; None is not given."""
    given = [name for name, value in {"--delta": delta, "--loss": loss}.items() if value is not None]
    faults = [f"{' and '.join(given)} must come with --risk"] if given and risk is None else []
    if risk is not None and confidence is not None:
        faults.append("--risk and --confidence each say when to stop; leave out one of them")
    if risk is not None and loss == "error" and delta is None:
        faults.append(
            "--loss error needs --delta: without it the risk is bounded on average over held-out sets, also over those "
            "where even the last prediction errs more often"
        )
    if faults:
        raise ValueError("; ".join(faults))


def guarantee_of(
    kept: Sequence[Mapping[str, Any]], risk: float, delta: float | None = None, loss: str = LOST
) -> Mapping[str, Any]:
    """Finds the guarantee that was made with these words. Raises ValueError that lists those that are ``kept``."""
    asked = {"risk": risk, "delta": delta, "loss": loss}
    for guarantee in kept:
        if all(guarantee[name] == value for name, value in asked.items()):
            return guarantee
    listed = ", ".join(as_options(guarantee) for guarantee in kept) or "none"
    raise ValueError(f"no threshold is kept for {as_options(asked)}; kept: {listed}")


def cut_short(deadline: float | None, budget: float | None) -> str:
    """Warns of limits that may end an answer before its threshold; is empty without them."""
    given = {"--deadline": deadline, "--budget": budget}
    limits = " and ".join(name for name, value in given.items() if value is not None)
    return f"{limits} may end an answer before it is sure enough; the guarantee then does not hold" if limits else ""
