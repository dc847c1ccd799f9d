"""What a worker makes of what is sent to it: the other end of ``conformance``, in a process of its own."""

from __future__ import annotations

import json
import pickle
import sys

from anytime_core.config import plain
from orchestrator.extensions import importing


def answer() -> None:
    """Reads pickled extensions and a part, in this order as a worker does; prints the part as JSON."""
    extensions, part = pickle.load(sys.stdin.buffer)
    importing.activate(extensions)
    sys.stdout.write(json.dumps(plain(pickle.loads(part))))
