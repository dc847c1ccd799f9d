"""The images that a worker has at hand."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from anytime_core.config import DataConfig
from anytime_core.data.dataset import Images
from anytime_core.data.own.source import Source

if TYPE_CHECKING:
    from orchestrator.execution.worker import WorkerContext


def images_for(data: DataConfig, where: WorkerContext) -> Images:
    """Those of a data set, which are kept between the trials of one worker. Raises DataError."""
    own = DataConfig(name=data.name, own=data.own)  # what augments them makes no other images
    return _kept(own, tuple(where.own_data.items()), where.data_root, where.check_md5)


@lru_cache(maxsize=4)
def _kept(data: DataConfig, own_data: tuple[tuple[str, Source], ...], root: Path, check_md5: bool) -> Images:
    from orchestrator.owndata.formats import images_of

    return images_of(data, dict(own_data), root, check_md5=check_md5)


forget = _kept.cache_clear
"""Takes them away, as in another process."""
