"""Our networks beside the anytime ResNet: each is what an extension's would be, a ``StagedNetwork``, and has its module
of torch in ``anytime_core.model``. To add one: a file here, one there, and a line below.

Imports no torch, so that a sweep is planned without it; importing it makes the networks known.
"""

from __future__ import annotations

from anytime_core.networks.feedback import Feedback
from anytime_core.networks.msdnet import MSDNet

__all__ = ["Feedback", "MSDNet"]
