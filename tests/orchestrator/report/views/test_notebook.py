"""What a notebook is shown holds all that a table does, no markup of others, and no secrets."""

from __future__ import annotations

from html.parser import HTMLParser

from orchestrator.report.views.notebook import View, table_html
from orchestrator.table import Column, Entry, Table

HOSTILE = "<script>alert('x')</script> & \x1b[2J"
TABLE = Table(
    name="errors",
    title="Errors <b>in %</b>",
    columns=(
        Column(name="method", numeric=False),
        Column(name="1/2", group="digits"),
        Column(name="1", group="digits"),
    ),
    rows=(
        (Entry(value=HOSTILE), Entry(value=5.314, spread=0.125, best=True), Entry(mark="1 failed")),
        (Entry(value="http://me:secret@host/"), Entry(value=7), Entry(value=float("nan"))),
    ),
    notes=("*: the best <i>of all</i>.",),
)


class Read(HTMLParser):
    """The texts of each element, by its tag, and how many columns headings span."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.spans: list[str] = []
        self._tags: list[str] = []
        self.feed(text)
        assert not self._tags

    def handle_starttag(self, tag, attributes) -> None:
        self._tags.append(tag)
        self.texts.setdefault(tag, []).append("")
        self.spans += [value for name, value in attributes if name == "colspan"]

    def handle_endtag(self, tag) -> None:
        assert self._tags.pop() == tag

    def handle_data(self, data) -> None:
        if self._tags:
            self.texts[self._tags[-1]][-1] += data


def test_every_entry_is_in_the_html_as_text() -> None:
    read = Read(table_html(TABLE))
    assert read.texts["caption"] == ["Errors <b>in %</b>"]
    assert read.texts["th"] == ["", "digits", "method", "1/2", "1"]
    assert read.spans == ["1", "2"]
    first, _, failed, second, *numbers = read.texts["td"]
    assert (first, failed) == ("<script>alert('x')</script> & \\x1b[2J", "1 failed")
    assert read.texts["b"] == ["5.31 ±0.12"]
    assert "secret" not in second
    assert numbers == ["7", "-"]
    assert read.texts["small"] == ["Bold: the best <i>of all</i>."]


def test_a_view_is_text_html_and_numbers() -> None:
    view = View(parts=("a < b\nhttp://me:secret@host/", TABLE, ""), columns=("a",), rows=lambda: [{"a": HOSTILE}])
    assert str(view) == repr(view)
    assert "a < b\n" in str(view)
    assert "secret" not in str(view) + view._repr_html_()
    assert "\x1b" not in str(view) + view._repr_html_()
    assert Read(view._repr_html_()).texts["pre"][0].startswith("a < b\n")
    assert "<script" not in view._repr_html_()
    assert view.frame.to_dict("records") == [{"a": HOSTILE}]
    assert list(View(parts=(), columns=("a", "b")).frame.columns) == ["a", "b"]
