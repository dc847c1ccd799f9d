"""What changes while something runs, in one place: on a terminal, or in the cell of a notebook."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from orchestrator.report.losses import cause

HTML = '<pre style="white-space: pre; line-height: normal">{code}</pre>'
REFRESH_SECONDS = 0.5
"""Between two looks of a notebook."""

log = logging.getLogger(__name__)


class LastingLive(Live):
    """A view that goes at its first error, and leaves the place to plain lines: no sweep ends for it."""

    broken = False

    @property
    def can_show(self) -> bool:
        return self.console.is_terminal and not self.console.is_dumb_terminal and not self.broken

    def refresh(self) -> None:
        if self.broken:
            return
        try:
            super().refresh()
        except Exception as error:
            self.broken = True
            log.warning("no live view from here on: %s", cause(error), exc_info=True)


class CellView:
    """The same in a notebook: one output of the cell that is updated, and stays as it was last. Rich would need
    ipywidgets for it; IPython itself is enough."""

    def __init__(self, console: Console, get_renderable: Callable[[], RenderableType], display: Callable[..., Any]):
        self.console, self._renderable, self._display = console, get_renderable, display
        self._handle: Any = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="cell view", daemon=True)
        self._lock = threading.Lock()
        self.broken = False

    @property
    def can_show(self) -> bool:
        return not self.broken

    def start(self) -> None:
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Shows it once more."""
        self._done.set()
        if self._thread.ident:
            self._thread.join()
        self.refresh()

    def _follow(self) -> None:
        while not self._done.wait(REFRESH_SECONDS):
            self.refresh()

    def refresh(self) -> None:
        with self._lock:
            if self.broken:
                return
            try:
                self._update(_Shown(self._renderable(), self.console))
            except Exception as error:
                self.broken = True
                log.warning("no live view from here on: %s", cause(error), exc_info=True)

    def _update(self, shown: _Shown) -> None:
        if self._handle:
            self._handle.update(shown)
        else:
            self._handle = self._display(shown, display_id=True)


class _Shown:
    """What a notebook is given: text, and the same as HTML."""

    def __init__(self, renderable: RenderableType, console: Console) -> None:
        paper = Console(
            file=io.StringIO(), record=True, width=console.width, height=console.height, force_jupyter=False
        )
        paper.print(renderable)
        self._text = paper.export_text(clear=False).rstrip()
        self._html = paper.export_html(inline_styles=True, code_format=HTML)

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


def live_view(console: Console, get_renderable: Callable[[], RenderableType]) -> LastingLive | CellView:
    """For this console. Where ``can_show`` is false, what is to be said is to be printed line by line."""
    if console.is_jupyter:
        with suppress(ImportError):
            from IPython.display import display

            return CellView(console, get_renderable, display)
    return LastingLive(console=console, get_renderable=get_renderable, refresh_per_second=4, transient=True)
