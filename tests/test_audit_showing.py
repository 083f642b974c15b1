"""The report as text, as a page and as a drawing, and the progress of a run."""

from __future__ import annotations

import html.parser
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_parts import terminal
from audit_parts.drawing import Link, Node, draw
from audit_parts.models import Document, Finding, Report, Row, RunStep, Totals
from audit_parts.page import page
from audit_parts.progress import Progress
from audit_parts.wording import count, plain, seconds, size
from fake_site import HOSTILE
from kairos.enums import FailureAction, FailureType, WorkflowStatus
from kairos.events import (
    AttemptFailed,
    Event,
    FannedOut,
    ItemCompleted,
    RunFinished,
    StepCompleted,
    StepStarted,
)


def test_text_is_shown_without_what_could_steer_a_terminal() -> None:
    assert plain(HOSTILE) == "<script>alert(1)</script> [2J &\"'"
    assert plain("x" * 300, 10) == "xxxxxxxxx…"


@given(st.text())
def test_plain_text_is_printable_whatever_comes(text: str) -> None:
    assert plain(text).isprintable()


@pytest.mark.parametrize(
    "number, shown", [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2 * 10**9, "2.00 GB")]
)
def test_sizes_read_as_people_say_them(number: int, shown: str) -> None:
    assert size(number) == shown


@pytest.mark.parametrize("number, shown", [(0.0421, "42 ms"), (1.26, "1.3 s")])
def test_durations_read_as_people_say_them(number: float, shown: str) -> None:
    assert seconds(number) == shown


def test_one_is_singular() -> None:
    assert [count(1, "batch", "batches"), count(2000, "batch", "batches")] == [
        "1 batch",
        "2,000 batches",
    ]


def document(
    *, rows: int = 0, text: str = "demo", findings: int = 0, holds: bool = True
) -> Document:
    finding = Finding(
        severity="violation", topic="file", path=text, message=text, fix=text, distribution=text
    )
    row = Row(
        path=text, key="demo", name=text, version=text, licence=text, standing="refused",
        origin=text, requires=1, required_by=1, recorded=3, hashed=2, state="ok",
    )  # fmt: skip
    zero = dict.fromkeys(Totals.model_fields, 0)
    report = Report(
        place=text, python="3.11", strict=False, holds=holds,
        totals=Totals(**{**zero, "found": rows, "violations": findings, "hashed": 1234}),
        rows=(row,) * rows, findings=(finding,) * findings, skipped=(), edges=(), startup=(),
        allowed=(text,),
    )  # fmt: skip
    step = RunStep(
        name="parse", after=(), status="completed", items=3, skipped=1, attempts=3, milliseconds=1
    )
    return Document(created="now", seconds=1.25, report=report, run=(step,))


def test_the_last_line_tells_all_in_short() -> None:
    line = [*terminal.lines(document(rows=1), "Next: rest")][-1]
    assert line == (
        "The policy holds: 1 distribution, 0 requirements, 1,234 files hashed (0 bytes) in 1.2 s; "
        "nothing to object to. Next: rest"
    )


def test_plain_output_is_aligned_and_printable() -> None:
    shown = [*terminal.lines(document(rows=3, text=HOSTILE, findings=2, holds=False), "")]
    assert all(line.isprintable() for line in shown)
    assert len({line.index("ok") for line in shown[1:4]}) == 1


def test_a_long_list_shows_only_what_has_something_to_tell() -> None:
    shown = [*terminal.lines(document(rows=500), "")]
    assert len(shown) < 10
    assert any("500 distributions more" in line for line in shown)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_table_that_obeys_nobodys_markup() -> None:
    stream = Terminal()
    terminal.show(document(rows=1, text="[red]x[/red]", findings=1), stream, following="Next")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert "[red]x[/red]" in shown
    assert "violation" in shown


class Page(html.parser.HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


@pytest.mark.parametrize("text", [HOSTILE, "</style><script>", "--><img src=x onerror=x>", "]]>"])
def test_a_page_escapes_what_is_hostile_and_fetches_nothing(text: str) -> None:
    made = Page(page(document(rows=2, text=text, findings=2)))
    assert not {"script", "img", "link", "iframe", "object", "form", "base"} & set(made.tags)
    assert not [name for name, _ in made.attributes if name in {"src", "href"} or name[:2] == "on"]
    urls = {value for _, value in made.attributes if "://" in value}
    assert urls <= {"http://www.w3.org/2000/svg"}
    assert any("default-src 'none'" in value for _, value in made.attributes)
    assert "url(" not in page(document())


def test_a_drawing_holds_every_box_and_every_link_even_in_circles() -> None:
    nodes = [Node(key, key.upper(), "1.0", "ok", HOSTILE) for key in "abcd"]
    links = [Link(a, b, "required") for a, b in ("ab", "bc", "ca", "cd", "ad", "dd")]
    made = Page(draw(nodes, links, HOSTILE))
    assert made.tags.count("g") == 4
    assert made.tags.count("path") == 6
    assert "script" not in made.tags


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.booleans()), max_size=30),
)
def test_boxes_never_overlap(number: int, pairs: list[tuple[int, int, bool]]) -> None:
    nodes = [Node(str(key), f"node {key}", "1.0", "ok") for key in range(number)]
    links = [Link(str(a), str(b), "required", "", loose) for a, b, loose in pairs]
    drawn = draw(nodes, links, "a graph")
    boxes = [
        tuple(map(float, box))
        for box in re.findall(
            r'<rect x="([\d.-]+)" y="([\d.-]+)" width="([\d.]+)" height="34', drawn
        )
    ]
    assert len(boxes) == number
    for at, (x, y, width) in enumerate(boxes):
        for other_x, other_y, other_width in boxes[:at]:
            apart = x >= other_x + other_width or other_x >= x + width or abs(y - other_y) >= 34
            assert apart


def test_an_empty_graph_is_drawn_as_nothing() -> None:
    assert draw([], [], "nothing").startswith("<svg")


def a_run() -> list[Event]:
    """Two distributions, of which the first cannot be read."""
    found = b'[{"label":"odd\\u001b[2J.dist-info"},{"label":"good.dist-info"}]'
    failed = AttemptFailed(
        "parse", 1, 0, FailureType.EXECUTION, "BrokenDistributionError", "it has no METADATA", (),
        FailureAction.SKIP, "", 0.0, None, 1.4, 1.0,
    )  # fmt: skip
    return [
        StepStarted("collect", 1, 1.0),
        StepCompleted("collect", 1, found, None, 1.1, 100.0),
        StepStarted("parse", 1, 1.2),
        FannedOut("parse", 2, 1.3),
        failed,
        ItemCompleted("parse", 1, 1, b"{}", None, False, 1.5, 1.0),
        StepCompleted("parse", 1, b"[null,{}]", None, 1.7, 500.0),
        RunFinished(WorkflowStatus.COMPLETE, "", 1.8, 800.0),
    ]


def test_progress_is_plain_lines_off_a_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for event in a_run():
        progress.observe(event)
    assert stream.getvalue().splitlines() == [
        "collect       2 distributions, 0.10 s",
        "skipped       odd [2J.dist-info: it has no METADATA",
        "parse         2 distributions, 1 skipped, 0.50 s",
    ]


def test_progress_on_a_terminal_is_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = Progress(stream)
    for event in a_run():
        progress.observe(event)
    drawn = stream.getvalue().split("\r\x1b[2K")
    assert "parse 1/2" in drawn
    assert [line for line in drawn if line.endswith("\n")] == [
        "skipped       odd [2J.dist-info: it has no METADATA\n"
    ]
    assert drawn[-1] == ""
