"""What a figure says where a sweep has nothing for it."""

from __future__ import annotations


class UnsuitedError(Exception):
    """A sweep has nothing for a figure; the text says why."""
