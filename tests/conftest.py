"""For all tests: no drawn example fails for taking long, on a machine that has other work."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
