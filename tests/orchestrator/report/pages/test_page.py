"""What stands in the page of a report; ``tests/browser`` has what it does."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest

from orchestrator.report.pages.page import PageContent, TrialRow, page
from orchestrator.table import Column, Entry, Table

DASH = "\N{EN DASH}"
VOID = {"meta", "link", "img", "input"}


class Document(HTMLParser):
    """Refuses what is not nested; keeps the cells of the bodies of tables, and the text of list items."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[tuple[dict[str, str | None], str]] = []
        self.items: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if "tbody" in self.open and tag in ("td", "th"):
            self.cells.append((dict(attrs), ""))
        if tag == "li":
            self.items.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "tbody" in self.open and {"td", "th"} & set(self.open):
            attrs, text = self.cells.pop()
            self.cells.append((attrs, text + data))
        if "li" in self.open:
            self.items[-1] += data


def made(*entries: Entry, notes: tuple[str, ...] = ()) -> str:
    table = Table(
        name="t", title="t", columns=(Column(name="x"),), rows=tuple((entry,) for entry in entries), notes=notes
    )
    return page(PageContent(title="p", tables=(table,), made="now", command="it"))


@pytest.mark.parametrize(
    ("entry", "text", "value"),
    [
        (Entry(value=5.3149), "5.31", "5.3149"),
        (Entry(value=0.1234, digits=3), "0.123", "0.1234"),
        (Entry(value=5.31, spread=0.128), "5.31 ±0.13", "5.31"),
        (Entry(value=5.31, spread=math.nan), "5.31", "5.31"),
        (Entry(value=-17.9), "\N{MINUS SIGN}17.90", "-17.9"),
        (Entry(value=1234567), "1\u202f234\u202f567", "1234567"),
        (Entry(value="<0.001"), "<0.001", None),
        (Entry(value=0), "0", "0"),
        (Entry(), DASH, None),
        (Entry(mark="failed"), "failed", None),
        (Entry(value=math.nan, mark="diverged"), "diverged", None),
        (Entry(value=math.inf), DASH, None),
    ],
)
def test_a_value_is_shown_short_and_kept_whole(entry: Entry, text: str, value: str | None) -> None:
    ((attributes, shown),) = Document(made(entry)).cells
    assert shown == text
    assert attributes.get("data-value") == value
    assert ("missing" in attributes["class"].split()) == (text in (DASH, "failed", "diverged"))


def test_marks_in_words_have_letters_that_are_explained_below() -> None:
    entries = [Entry(value=1.0, mark=mark) for mark in ("2 of 3 seeds", "†", "mixed versions", "2 of 3 seeds")]
    document = Document(made(*entries, Entry(mark="failed"), notes=("*: the best.", "†: fewer.")))
    assert [text for _, text in document.cells] == ["1.00a", "1.00†", "1.00b", "1.00a", "failed"]
    titles = [attributes.get("title") for attributes, _ in document.cells]
    assert titles == ["2 of 3 seeds", "†: fewer.", "mixed versions", "2 of 3 seeds", None]
    assert document.items == ["Bold: the best.", "†: fewer.", "a 2 of 3 seeds", "b mixed versions"]


def test_there_are_letters_for_any_number_of_marks() -> None:
    document = Document(made(*(Entry(value=0, mark=f"mark {index}") for index in range(60))))
    shown = [text[1:] for _, text in document.cells]
    assert (shown[0], shown[25], shown[26], shown[52]) == ("a", "z", "aa", "ba")
    assert len(set(shown)) == 60


def test_the_best_are_bold() -> None:
    text = made(Entry(value=1.5, best=True), Entry(value=2.5))
    assert re.findall(r"<strong>(.*?)</strong>", text) == ["1.50"]


def test_a_trial_has_a_line_and_its_state_is_counted() -> None:
    trials = (
        TrialRow(id="0a", cell="ann (1,8)", state="finished", errors={"1/4": 20.0, "AE": None}, url="https://x/#/1"),
        TrialRow(id="0b", cell="aann (1,8)", state="failed", failure="Traceback\nOutOfMemoryError"),
    )
    text = page(PageContent(title="p", trials=trials, made="now", command="it"))
    document = Document(text)
    shown = [" ".join(cell.split()) for _, cell in document.cells]
    assert shown[:11] == ["ann (1,8)", "finished", "20.00", DASH, DASH, "0", DASH, DASH, "0a", "run", DASH]
    assert shown[11:] == ["aann (1,8)", "failed", DASH, DASH, DASH, "0", DASH, DASH, "0b", DASH, *shown[-1:]]
    assert "OutOfMemoryError" in shown[-1]
    assert 'href="https://x/#/1"' in text
    assert [" ".join(item.split()) for item in document.items] == ["2 trials", "1 finished", "1 failed"]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", " http://x", "sqlite:///mlflow.db"])
def test_only_the_web_is_linked_to(url: str) -> None:
    trial = TrialRow(id="0a", cell="ann", state="finished", url=url)
    text = page(PageContent(title="p", trials=(trial,), made="now", command="it"))
    assert f'href="{url}' not in text
    assert Document(text).cells[-2][1] == url


def test_tables_of_one_name_have_an_anchor_each() -> None:
    tables = [
        Table(name=name, title="t", columns=(Column(name="x"),), rows=()) for name in ("t", "t", "T", "t-2", "?", "")
    ]
    text = page(PageContent(title="p", tables=tables, made="now", command="it"))
    anchors = re.findall(r'<h3 id="(.*?)"', text)
    assert len(set(anchors)) == len(tables)


def test_the_same_content_makes_the_same_page() -> None:
    assert made(Entry(value=1.0)) == made(Entry(value=1.0))


def test_texts_of_others_are_text_and_nothing_else() -> None:
    said = "<script>x</script>\x1b[2J\u202e & \"'"
    row = TrialRow(id="0" * 16, cell=said, state="failed", device=said, failure=said)
    shown = page(PageContent(title=said, description=said, trials=(row,), notes=(said,), made="now", command=said))
    assert [text for text in ("<script>x", "\x1b", "\u202e") if text in shown] == []
    assert shown.count("&lt;script&gt;x&lt;/script&gt;\\x1b[2J\\u202e &amp; &#34;&#39;") >= 5
    Document(shown)
