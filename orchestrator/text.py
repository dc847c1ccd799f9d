"""Words for people."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Such as ``1 trial`` and ``2 trials``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
