"""In a notebook one output of the cell follows what runs. IPython is played by what it would be asked for."""

from __future__ import annotations

import io
import sys
import time
from types import ModuleType

import pytest
from rich.console import Console
from rich.text import Text

from orchestrator.execution import live_view as views
from orchestrator.execution.live_view import CellView, LastingLive, live_view


class Outputs(list):
    """What a cell shows: each output as it is now."""

    def display(self, shown, **options):
        self.append(shown)
        outputs, place = self, len(self) - 1

        class Handle:
            def update(self, shown) -> None:
                outputs[place] = shown

        return Handle()


@pytest.fixture
def outputs(monkeypatch) -> Outputs:
    outputs = Outputs()
    module = ModuleType("IPython.display")
    module.display = outputs.display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(views, "REFRESH_SECONDS", 0.01)
    return outputs


@pytest.fixture
def notebook() -> Console:
    return Console(file=io.StringIO(), force_jupyter=True)


def test_one_output_is_updated_and_stays_as_it_was_last(outputs, notebook) -> None:
    said = ["1/2 done"]
    view = live_view(notebook, lambda: Text(said[0]))
    assert isinstance(view, CellView)
    view.start()
    assert [repr(shown) for shown in outputs] == ["1/2 done"]
    said[0] = "<b>2/2 done"
    deadline = time.monotonic() + 30
    while repr(outputs[0]) != "<b>2/2 done":
        assert time.monotonic() < deadline
        time.sleep(0.005)
    said[0] = "the end"
    view.stop()
    said[0] = "later"
    assert [repr(shown) for shown in outputs] == ["the end"]


def test_texts_are_no_markup(outputs, notebook) -> None:
    view = live_view(notebook, lambda: Text("<script> [red]a[/red]"))
    view.start()
    view.stop()
    assert "&lt;script&gt; [red]a[/red]" in outputs[0]._repr_html_()


def test_a_view_that_fails_leaves_the_place_to_plain_lines(outputs, notebook, caplog) -> None:
    view = live_view(notebook, lambda: Text(str(1 / 0)))
    view.start()
    assert not view.can_show
    view.stop()
    assert outputs == []
    assert caplog.messages == ["no live view from here on: ZeroDivisionError: division by zero"]


def test_elsewhere_it_is_a_terminals(outputs) -> None:
    assert isinstance(live_view(Console(file=io.StringIO(), force_terminal=True), str), LastingLive)
