"""The ``keep:`` section of a sweep file: what a trained trial leaves beside its network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Keep:
    """No part of a trial's identity. ``outcomes``: what its network answers to each image, 7 bytes for each prediction
    and image."""

    outcomes: bool = True
