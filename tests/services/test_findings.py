"""Findings in the store and as files: they survive a rebuild, are bounded, and nothing in them is obeyed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from sracl_tui.services.findings.edits import FindingNote, FindingsListed
from sracl_tui.services.findings.export import html, markdown, write
from store.database.database import Store
from store.errors import LookupFailed, NameRefused, StoreError
from store.home import Home
from store.maintenance.repair import repair_home
from store.opening import open_store
from store.publishing import edits
from store.publishing.replacement import drop_standby
from store.queries import findings
from store.queries.findings import Finding
from store.untrusted_text import DIRECTIONS
from tests.support.commands import sracl_inside
from tests.support.quick_homes import quick_homes

STEADY = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module", autouse=True)
def _quick_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick_homes(tmp_path_factory.getbasetemp() / "quick"):
        yield


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def journaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits wait in the journal for who opens the store, as they do while another process publishes."""
    monkeypatch.setattr(edits, "publish", lambda home, wait: None)


@pytest.fixture
def store(place: Home) -> Iterator[Store]:
    with open_store(place) as opened:
        yield opened


def pin(home: Home, note: str, **fields: Any) -> str:
    return findings.add(home, note=note, **fields)


def test_a_rebuilt_database_has_the_same_findings(place: Home, journaled: None) -> None:
    first = pin(place, "one", screen="sql", content="a\nb", place={"query": "SELECT 'ü'"})
    second = pin(place, "two", run_ids=["r1", "r2"], user_id=7, item_id=3, command="sracl inspect r1 7")
    findings.annotate(place, first, "one, again")
    findings.remove(place, [first, second])
    findings.restore(place, [second])
    with open_store(place) as store:
        before = store.rows("FROM findings ORDER BY finding_id")
    assert sum(row["removed_at"] is None for row in before) == 1
    place.database.unlink()
    drop_standby(place.database)
    repair_home(place)
    with open_store(place) as store:
        assert store.rows("FROM findings ORDER BY finding_id") == before
        assert findings.find_finding(store, first)["place"] == {"query": "SELECT 'ü'"}


def test_words_are_found_anywhere_and_ids_by_their_beginnings(place: Home, journaled: None) -> None:
    made = pin(place, "Ties decide", title="Inspector", content="rank 7", run_ids=["20260101-aaaa"])
    other = pin(place, "nothing", content="100% of _ and %")
    store = open_store(place)
    listed = lambda text: [one["finding_id"] for one in findings.list_findings(store, text)]  # noqa: E731
    assert listed("") == [other, made], "the newest first"
    assert listed("ties INSPECTOR 7 aaaa") == [made]
    assert listed("% _") == [other], "signs of LIKE are letters"
    assert listed("ties nothing") == []
    assert findings.find_finding(store, made)["note"] == "Ties decide"
    assert findings.find_finding(store, "last")["finding_id"] in (made, other)
    for wrong in ("", "9999", made[:2]):
        with pytest.raises(LookupFailed):
            findings.find_finding(store, wrong)


def test_what_is_pinned_is_bounded_and_cannot_control_a_terminal(place: Home, journaled: None) -> None:
    pin(place, "long", content="x" * 100_000, title="a\x1b[31mb\u202e", command="sracl \x07")
    store = open_store(place)
    found = findings.find_finding(store, "last")
    assert len(found["content"]) == findings.MOST_LETTERS
    assert found["content"].endswith(findings.CUT)
    assert found["title"] == "a�[31mb"
    assert found["command"] == "sracl �"
    with pytest.raises(NameRefused):
        pin(place, "note\x1b[2J")


def test_edits_are_taken_back_unless_someone_else_has_edited(place: Home, store: Store) -> None:
    made = pin(place, "before")
    edit = FindingNote(made, "before", "-after")
    edit.apply(store)
    assert findings.find_finding(store, made)["note"] == "-after"
    edit.inverse().apply(store)
    with pytest.raises(StoreError, match="meanwhile"):
        edit.inverse().apply(store)
    away = FindingsListed((made,), listed=False)
    away.apply(store)
    assert [one["note"] for one in findings.list_findings(store, removed=True)] == ["before"]
    away.inverse().apply(store)
    assert len(findings.list_findings(store)) == 1
    sracl_inside(place.path, *edit.words())
    sracl_inside(place.path, *away.words())
    assert [one["note"] for one in findings.list_findings(store, removed=True)] == ["-after"], (
        "the commands do the same"
    )


HOSTILE = st.text(st.sampled_from("<>&\"'`*_[]()#!|~\\-+=1. \nab$@:/\x1b\x07\x9b\u2028" + DIRECTIONS[:3]), max_size=40)


def finding(**fields: Any) -> Finding:
    row: Any = dict.fromkeys(Finding.__annotations__) | {"finding_id": "f", "created_at": "2026-01-01 00:00:00"}
    return row | {"screen": "", "title": "", "run_ids": [], "command": "", "note": "", "content": ""} | fields


class Seen(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name in ("src", "href", "style") or name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@STEADY
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_a_page_has_our_tags_alone_and_the_text_whole(title: str, note: str, command: str, content: str) -> None:
    made = finding(title=title, note=note, command=command, content=content)
    page = html([made])
    seen = Seen(page)
    assert seen.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "code", "pre"}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069]", page + markdown([made]))
    for text in (note, command, content):
        assert findings.shown(text) in seen.text


@STEADY
@given(HOSTILE)
def test_a_block_of_code_in_markdown_ends_where_its_text_ends(content: str) -> None:
    lines = markdown([finding(content="x" + content)]).splitlines()
    opened = next(place for place, line in enumerate(lines) if line.endswith("`text"))
    fence = lines[opened].removesuffix("text")
    closings = [
        place
        for place in range(opened + 1, len(lines))
        if re.fullmatch(rf" {{0,3}}`{{{len(fence)},}}\s*", lines[place])
    ]
    assert closings == [len(lines) - 1]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("- a", "\\- a"),
        ("1. a", "1\\. a"),
        ("# a", "\\# a"),
        ("<script>", "\\<script\\>"),
        ("[a](b)", "\\[a\\](b)"),
        ("a - b", "a - b"),
    ],
)
def test_a_note_in_markdown_is_a_paragraph(text: str, escaped: str) -> None:
    assert f"\n\n{escaped}\n" in markdown([finding(note=text)])


def test_files_have_two_formats(tmp_path: Path) -> None:
    made = [finding(note="n")]
    for ending, begins in (("html", "<!doctype html>"), ("md", "# 1 finding")):
        write(made, tmp_path / f"x.{ending}")
        assert (tmp_path / f"x.{ending}").read_text().startswith(begins)
    with pytest.raises(ConfigError, match=r"\.pdf"):
        write(made, tmp_path / "x.pdf")
    with pytest.raises(StoreError, match="cannot be written"):
        write(made, tmp_path / "none" / "x.md")


def test_the_command_pins_lists_shows_and_exports(place: Home, tmp_path: Path) -> None:
    sracl: Callable[..., Any] = lambda *words, **more: sracl_inside(place.path, "findings", *words, **more)  # noqa: E731
    (tmp_path / "t.txt").write_text("a row\x1b[2J\n")
    sracl("add", "[red]hello[/]", "--text", str(tmp_path / "t.txt"), "--command", "sracl runs")
    assert "[red]hello[/]" in sracl("list").stdout
    shown = sracl("show", "last").stdout
    assert "a row�[2J" in shown
    assert "sracl runs" in shown
    sracl("note", "last", "--", "-5 % only")
    sracl("remove", "last")
    assert "no finding" in sracl("list").stderr
    assert "-5 % only" in sracl("list", "--removed").stdout
    sracl("export", "--out", str(tmp_path / "x.html"))
    assert "0 findings" in (tmp_path / "x.html").read_text()
    assert "no run" in sracl("add", "x", "--run", "none", code=2).stderr


def test_a_user_of_a_finding_is_one_of_its_runs_data_set(tmp_path: Path) -> None:
    for words in (("--user", "#1"), ("--item", "id:B0")):
        refused = sracl_inside(tmp_path, "findings", "add", "x", *words, code=2)
        assert "Name the run with --run" in refused.stderr
