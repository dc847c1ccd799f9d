"""What the errors of MLflow, its server and what lies between mean: the cause in a line, and whether one thing was
refused or nobody is there. Imports no MLflow.

An outage passes, and is waited for. A refusal is of one file or run, and would be given again: the others go on, and a
later command tries again.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.text import said_by_system

PREAMBLE = "raised as a result of"
"""SQLAlchemy's, before what the database said."""
TOO_LARGE = 413
OF_ONE_RUN = (400, TOO_LARGE, 422)
"""What a server answers to a request that it could do nothing with, whenever it is sent."""
PASSING = (408, 429, 502, 503, 504)
"""What a server, or a proxy before it, answers when it is too busy, or is not there."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)
MEGA = 1e6
AGAIN = "the same command tries these again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """``what`` was refused, for people; ``size`` in bytes; ``place`` is where it was to go. ``weights`` is the size of
    the network by which the user chooses what goes to MLflow, 0 for what is no network."""

    what: str
    size: int
    place: str
    reason: str
    too_large: bool
    weights: int = 0


class RefusedError(Exception):
    """One file or run was refused, by somebody who answers."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def cause(error: BaseException) -> str:
    """What went wrong, in a line: what the database or the system said, not who passed it on."""
    if words := said_by_system(error):
        return words
    response: Any = getattr(error, "response", None)
    if response is not None and response.reason:
        return f"{response.status_code} {response.reason}"
    said = str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip() and PREAMBLE not in line]
    text = lines[0] if lines else type(error).__name__
    text = re.sub(r"\((?:\w+\.)+\w+\) ", "", text)  # the class of the error
    if page := re.search(r"(?:\.? Response (?:body|text): '?)?<(?:!doctype|html)", text, re.IGNORECASE):
        title = re.search(r"<title>\s*(.*?)\s*</title>", said, re.IGNORECASE | re.DOTALL)
        return text[: page.start()] + (f": {title[1]}" if title else "")
    return text


def status(error: BaseException) -> int | None:
    """What a server answered by HTTP; None where none did."""
    response: Any = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    if match := re.search(r"failed with error code (\d{3})\b", str(error)):
        return int(match[1])
    tell = getattr(error, "get_http_status_code", None)
    return int(tell()) if tell else None


def passes(error: BaseException) -> bool:
    """Whether the same may be taken later: a disk that is full, a server that is busy or silent."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return status(error) in PASSING


def in_words(uri: str, refusals: Sequence[Refusal], option: str) -> list[str]:
    """A line for all that is too large, and one for each other reason. ``option`` chooses how large networks may be."""
    lines = []
    if large := [refusal for refusal in refusals if refusal.too_large]:
        lines.append(f"MLflow at {uri} refused {_listed(large)}; {remedy(large, option)}; {AGAIN}")
    others: dict[tuple[bool, str], list[Refusal]] = {}
    for refusal in refusals:
        if not refusal.too_large:
            others.setdefault((refusal.place == uri, refusal.reason), []).append(refusal)
    for (of_numbers, _), alike in others.items():
        files = "" if of_numbers else f"answers, but the place of its files, {alike[0].place}, "
        mend = "" if of_numbers else "mend that place; "
        lines.append(f"MLflow at {uri} {files}refused {_listed(alike)}; {mend}{AGAIN}")
    return lines


def _listed(refusals: Sequence[Refusal]) -> str:
    """The largest stands for all."""
    largest = max(refusals, key=lambda refusal: refusal.size)
    size = f", {largest.size / MEGA:.3g} MB" if largest.size and largest.too_large else ""
    such = "" if len(refusals) == 1 else f"{len(refusals)} items, such as "
    return f"{such}{largest.what}{size}: {largest.reason}"


def remedy(refusals: Sequence[Refusal], option: str) -> str:
    """What to do about files that are too large. ``option`` chooses how large networks may be."""
    mend = "raise the limit of the server or of the proxy before it (nginx: client_max_body_size)"
    if networks := [refusal.weights for refusal in refusals if refusal.weights]:
        mend += f", or keep such networks out of MLflow: {option}={_below(min(networks))} (MB)"
    return mend


def _below(size: int) -> str:
    """In MB, by three digits that are not rounded up."""
    digits = max(0, len(str(size)) - 3)
    return f"{(size - 1) // 10**digits * 10**digits / MEGA:g}"
