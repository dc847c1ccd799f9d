"""For all tests: drawn examples are the same each time, so that what has passed passes again, and none fails for taking
long. ``pytest --hypothesis-profile=default`` draws others."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
