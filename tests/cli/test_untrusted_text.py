"""Every command prints names, tags, rows and messages of other people as text."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.console import SafeConsole
from sracl_tui.services.table_formats import render
from store.home import Home
from store.journal.journal import Journal
from store.untrusted_text import shown
from tests.cli.conftest import QUICK
from tests.store.test_untrusted_text import TEXTS, harmless

NO_TEXT = os.fsdecode(b"\xff")
EVIL = "=\x1b[31m\x1b]0;x\x07\x9b5m\u202e[/x][red]שלום:smile:"


@pytest.fixture(scope="module")
def evil(sracl: Any, home: Path) -> Path:
    """The home with a name, tags, a note and a group from before they were refused."""
    run_id = json.loads(sracl("runs", "--json", home=home).stdout)[0]["run_id"]
    journal = Journal(Home(home).edits)
    for event, fields in (
        ("run_renamed", {"name": EVIL}),
        ("run_noted", {"note": EVIL}),
        ("run_tagged", {"add": [EVIL], "remove": []}),
    ):
        journal.append(event, {"run_id": run_id} | fields)
    journal.close()
    return home


@pytest.mark.parametrize(
    "words",
    [
        f"show {NO_TEXT}", f"inspect {NO_TEXT} u1", f"inspect plain {NO_TEXT}", f"compare plain {NO_TEXT}", f"slices plain {NO_TEXT}",
        f"recommend {NO_TEXT} u1", f"recommend plain {NO_TEXT}", f"export {NO_TEXT} --out x.csv", f"remove {NO_TEXT} --yes", f"tag {NO_TEXT} x",
        f"tag plain {NO_TEXT}", f"note {NO_TEXT} x", f"stop {NO_TEXT}", f"data show {NO_TEXT}", f"study show {NO_TEXT}", f"queue remove {NO_TEXT}",
        f"search {NO_TEXT} --encoder tfidf", f"runs --where {NO_TEXT}", f"leaks {NO_TEXT}", f"reproduce {NO_TEXT}", f"restore {NO_TEXT}",
        f"run --resume {NO_TEXT} --dry-run", f"findings show {NO_TEXT}", f"llm test {NO_TEXT}", f"costs --by {NO_TEXT}", f"show plain --metric {NO_TEXT}",
    ],
)  # fmt: skip
def test_words_that_are_no_text_are_found_nowhere(sracl: Any, evil: Path, words: str) -> None:
    done = sracl(*words.split(" "), home=evil, code=(0, 2) if words.startswith("search") else 2)
    assert "Store error" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("runs",), ("runs", "--json"), ("show", EVIL), ("show", EVIL, "--json"), ("compare", EVIL, "plain"),
        ("compare", EVIL, "plain", "--format", "csv"), ("sql", "SELECT name, tags, note FROM runs"),
        ("sql", "SELECT name FROM runs", "--format", "csv"), ("sql", "SELECT name, note FROM runs", "--json"),
        ("sql", f"SELECT 1 AS \"{EVIL}\""), ("doctor",), ("data", "list"), ("costs",), ("tag", EVIL, "new"),
    ],
)  # fmt: skip
def test_no_command_sends_what_a_terminal_obeys(sracl: Any, evil: Path, words: tuple[str, ...]) -> None:
    done = sracl(*words, home=evil)
    assert harmless(done.stdout)
    assert harmless(done.stderr)
    if words[0] in ("runs", "show"):
        assert "[/x][red]שלום:smile:" in done.stdout


@pytest.mark.parametrize(
    "words", [("show", EVIL + "x"), ("sql", f"SELECT '{EVIL}' FROM nothing"), ("data", "show", EVIL)]
)
def test_no_error_does(sracl: Any, evil: Path, words: tuple[str, ...]) -> None:
    assert harmless(sracl(*words, home=evil, code=2).stderr)


def test_a_csv_for_a_spreadsheet_has_no_formula(sracl: Any, evil: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    sracl("export", EVIL, "--out", str(out), home=evil)
    printed = sracl("sql", "SELECT name, -0.5 AS x FROM runs", "--format", "csv", home=evil).stdout
    for text in (out.read_text("utf-8"), printed):
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not any(cell.startswith("=") for cell in cells)
        assert any(cell.startswith("'=") for cell in cells)
    assert "-0.5" in printed


@pytest.mark.parametrize("option", ["--name", "--group", "--tag", "--note"])
def test_they_are_refused_at_entry(sracl: Any, home: Path, option: str) -> None:
    for more in (("--headless",), ("--queue",), ("--dry-run",)):
        assert "controls a terminal" in sracl("run", *QUICK, option, "a\x1b[2J", *more, home=home, code=2).stderr


def test_they_are_refused_in_edits_and_data_sets(sracl: Any, home: Path, tmp_path: Path) -> None:
    for words in (("rename", "plain", "a\u202eb"), ("tag", "plain", "a\x9bb"), ("note", "plain", "a\x1bb")):
        assert "controls a terminal" in sracl(*words, home=home, code=2).stderr
    (tmp_path / "x.csv").write_text("user,item\na,b\n")
    done = sracl("data", "import", str(tmp_path / "x.csv"), "--name", "a\x1bb", home=home, code=2)
    assert "controls a terminal" in done.stderr


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["[/x]", "[bold", ":smile:", ""]))
def test_whatever_is_printed_is_text(text: str, markup: str) -> None:
    console = SafeConsole(file=io.StringIO(), width=400, force_terminal=True, color_system="truecolor")
    console.print(options_and_output.table([markup + text], [[text + markup]]), Text(text), text + markup, style="red")
    options_and_output.print_pairs(console, {"name": text})
    found = console.file.getvalue()  # type: ignore[attr-defined]
    ours = found.replace("\x1b[", "")  # colors
    assert harmless(ours)
    assert markup in ours


@settings(deadline=None)
@given(TEXTS)
def test_tables_for_papers_are_text_too(text: str) -> None:
    for format_ in ("latex", "md", "csv"):
        assert harmless(render([text, "a"], [[text, "1"]], format_=format_))


def test_a_message_that_looks_like_markup_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from store.errors import StoreError

    options_and_output.warn_behind(StoreError("/tmp/x[/x] is full\x1b[2J"))
    options_and_output.print_error(ConfigError("[/y]\x9b", where="/tmp/x[/x]", hint="[/z]"))
    said = capsys.readouterr().err
    assert "/tmp/x[/x] is full" in said
    assert "[/z]" in said
    assert harmless(said)
    assert shown("a") == "a"
