"""How much a command may use: until when, so many hours of devices, so much money. Pure.

An hour of a device is one of a GPU, or of a share of it, and of a core where a trial uses no GPU.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self, TypeVar

from orchestrator.errors import UsageError
from orchestrator.sweep.trial import Resources

HOUR = 3600.0
UNITS = {"s": 1.0, "m": 60.0, "h": HOUR, "d": 24 * HOUR, "w": 7 * 24 * HOUR}
HOURS = ("gpu-hours", "cpu-hours")
TIMES = "allowed: a time such as 07:00, a date and time such as 2030-01-31T07:00, or a span such as 90m, 8h or 2d"
SPANS = "allowed: a number with s, m, h, d or w, such as 30s, 8m or 7d"
T = TypeVar("T")
AMOUNTS = "allowed: such as 20 gpu-hours, 100 cpu-hours, or 50 EUR with a price"
PRICES = "allowed: an amount and a currency for an hour of a device, such as 2.50 EUR"


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """Of an hour of a device."""

    amount: float
    currency: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError."""
        amount, currency = _measured(text, PRICES)
        if not re.fullmatch(r"[A-Z]{3}", currency):
            raise ValueError(f"given {text!r}; {PRICES}")
        return cls(amount=amount, currency=currency)

    def __str__(self) -> str:
        return f"{self.amount:.2f} {self.currency}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AtMost:
    """``amount`` of ``unit``, which is one of HOURS or a currency."""

    amount: float
    unit: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError."""
        amount, unit = _measured(text, AMOUNTS)
        unit = f"{unit}s" if unit in ("gpu-hour", "cpu-hour") else unit
        if unit not in HOURS and not re.fullmatch(r"[A-Z]{3}", unit):
            raise ValueError(f"given {text!r}; {AMOUNTS}")
        return cls(amount=amount, unit=unit)

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"


def _measured(text: str, allowed: str) -> tuple[float, str]:
    parts = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*([A-Za-z-]+)\s*", text)
    if not parts or not float(parts[1]):
        raise ValueError(f"given {text!r}; {allowed}")
    return float(parts[1]), parts[2]


def _span(text: str) -> float | None:
    """Seconds; None of what is no span."""
    parts = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])", text.strip())
    return float(parts[1]) * UNITS[parts[2]] if parts else None


def span(given: str | timedelta) -> float:
    """Returns seconds. Raises ValueError for what is no span, or a negative one."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else _span(given)
    if seconds is None or seconds < 0:
        raise ValueError(f"given {str(given)!r}; {SPANS}")
    return seconds


def moment(text: str, now: float) -> float:
    """In seconds since 1970: the next time that a clock here shows ``text``, the date and time that it is, of this time
    zone unless it names another, or ``now`` and that span. Raises ValueError, also for a moment that has passed."""
    text = text.strip()
    try:
        if (seconds := _span(text)) is not None:
            datetime.fromtimestamp(now + seconds)
            return now + seconds
        if re.fullmatch(r"\d{1,2}:\d{2}", text):
            hours, minutes = map(int, text.split(":"))
            today = datetime.fromtimestamp(now).replace(hour=hours, minute=minutes, second=0, microsecond=0)
            at = today.timestamp()
            return at if at > now else (today + timedelta(days=1)).timestamp()
        at = datetime.fromisoformat(text).timestamp()
        datetime.fromtimestamp(at)  # fails where no clock here shows it
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"given {text!r}; {TIMES}") from None
    if at <= now:
        raise ValueError(f"given {text!r}; it has passed, now is {datetime.fromtimestamp(now):%Y-%m-%dT%H:%M}")
    return at


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """``until`` is in seconds since 1970; ``at_most`` holds for what the command uses from its start on."""

    until: float | None = None
    at_most: tuple[AtMost, ...] = ()
    price: Price | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for money without a price in that currency, and for two limits in one unit."""
        faults = []
        for unit in dict.fromkeys(limit.unit for limit in self.at_most):
            given = " and ".join(str(limit) for limit in self.at_most if limit.unit == unit)
            if sum(limit.unit == unit for limit in self.at_most) > 1:
                faults.append(f"at most {given}: one limit in {unit} is enough")
            if unit not in HOURS and (not self.price or self.price.currency != unit):
                known = f"the price is {self.price}" if self.price else "no price is given"
                faults.append(f"at most {given}: {known}; give one in {unit}, here or in the sweep file")
        if faults:
            raise UsageError("\n".join(faults))

    def __bool__(self) -> bool:
        return self.until is not None or bool(self.at_most)

    def rate(self, unit: str, resources: Resources) -> float:
        """What a trial uses of a unit in a second."""
        gpus = resources.share
        if unit == "gpu-hours":
            return gpus / HOUR
        if unit == "cpu-hours":
            return 0.0 if gpus else resources.cpus / HOUR
        assert self.price
        return self.price.amount * (gpus or resources.cpus) / HOUR

    def __str__(self) -> str:
        """As options: such as ``--until 07:00 and --at-most 20 gpu-hours``."""
        until = [] if self.until is None else [f"--until {datetime.fromtimestamp(self.until):%Y-%m-%d %H:%M}"]
        return " and ".join([*until, *(f"--at-most {limit}" for limit in self.at_most)])


def limits_of(
    until: str | datetime | timedelta | None,
    at_most: str | Iterable[str],
    price: str | Price | None,
    now: float | None = None,
    named: Callable[[str], str] = "--{}".format,
) -> Limits:
    """As a user writes them; ``price`` may be the sweep file's, and ``named`` is what the user calls an option. Raises
    UsageError with every fault."""
    faults: list[str] = []
    began = time.time() if now is None else now

    def read(name: str, of: Callable[[str], T], given: object) -> T | None:
        try:
            if not isinstance(given, str):
                raise ValueError(f"given {given!r}; must be a text")
            return of(given)
        except ValueError as error:
            faults.append(f"{named(name)}: {error}")
            return None

    end = read("until", lambda text: moment(text, began), _written(until, began)) if until is not None else None
    given = [at_most] if isinstance(at_most, str) else list(at_most)
    amounts = [read("at-most", AtMost.of, text) for text in given]
    cost = price if price is None or isinstance(price, Price) else read("price", Price.of, price)
    if faults:
        raise UsageError("\n".join(faults))
    return Limits(until=end, at_most=tuple(amount for amount in amounts if amount), price=cost)


def _written(until: object, now: float) -> object:
    """A moment or a span of Python's as text."""
    if isinstance(until, timedelta):
        until = datetime.fromtimestamp(now + until.total_seconds()).astimezone()
    return until.isoformat() if isinstance(until, datetime) else until


class Spending:
    """What a command has used of its limits. The clock is the caller's, in seconds since 1970."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self._used = {limit.unit: 0.0 for limit in limits.at_most}
        self._busy: dict[str, Resources] = {}
        self._now = now
        self.held = frozenset[str]()
        """The trials that were held back so far."""

    def began(self, trial_id: str, resources: Resources, now: float) -> None:
        """A trial takes its devices from now on."""
        self._count(now)
        self._busy.setdefault(trial_id, resources)

    def ended(self, trial_id: str, now: float) -> None:
        self._count(now)
        self._busy.pop(trial_id, None)

    def _count(self, now: float) -> None:
        for unit in self._used:
            self._used[unit] += self._rate(unit) * max(now - self._now, 0.0)
        self._now = now

    def _rate(self, unit: str) -> float:
        return sum(self.limits.rate(unit, resources) for resources in self._busy.values())

    def used(self, now: float) -> dict[str, float]:
        """By the units that are limited."""
        self._count(now)
        return dict(self._used)

    def left(self, now: float, also: Resources | None = None) -> float:
        """Seconds for which all that runs may go on; with ``also``, when a trial begins beside it that takes these.
        Below 0 since a limit was reached."""
        self._count(now)
        left = math.inf if self.limits.until is None else self.limits.until - now
        for limit in self.limits.at_most:
            rate = self._rate(limit.unit) + (self.limits.rate(limit.unit, also) if also else 0.0)
            rest = limit.amount - self._used[limit.unit]
            left = min(left, rest / rate if rate else 0.0 if rest <= 0 else math.inf)
        return left
