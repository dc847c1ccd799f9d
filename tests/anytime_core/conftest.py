"""One thread: tests are small, and the same bits are asked of them on every machine."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
