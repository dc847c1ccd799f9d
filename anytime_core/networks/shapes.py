"""What a convolution makes of an image's side and how many weights it has. Standard library only."""

from __future__ import annotations

KERNEL = 9  # 3x3


def downsampled(size: int) -> int:
    """Side of an image after a 3x3 convolution with stride 2 and padding 1."""
    return (size - 1) // 2 + 1
