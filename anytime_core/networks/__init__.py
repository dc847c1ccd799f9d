"""Our networks beside the anytime ResNet.

Each is what an extension's would be, a ``StagedNetwork``, and has its modules of torch in ``anytime_core.model``. To
add one: a file here, one there, and a line below.

Imports no torch, so that a sweep is planned without it; importing it makes the networks known.
"""

from __future__ import annotations

from anytime_core.networks.feedback import Feedback
from anytime_core.networks.msdnet import MSDNet

__all__ = ["Feedback", "MSDNet"]
