"""A SQL editor: highlighted words, and a list of completions: tables, columns, keywords, functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rich.text import Text
from textual import events, on
from textual.binding import Binding, BindingType
from textual.widgets import OptionList, TextArea
from textual.widgets.option_list import Option
from textual.widgets.text_area import Selection

from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.widgets.field import KeysInOrderMixin
from store.queries.sql_words import SqlWords

MOST = 60
"""Completions that are listed."""
_WORD = re.compile(r"[\w.]*\Z")
_TOKEN = re.compile(
    r"(?P<comment>--.*)|(?P<string>'(?:[^']|'')*'?)|(?P<name>\"[^\"]*\"?)|(?P<number>\b\d[\d_.]*(?:e[+-]?\d+)?\b)|(?P<word>[A-Za-z_]\w*)",
    re.IGNORECASE,
)
NO_WORDS = SqlWords()


@dataclass(frozen=True)
class Candidate:
    """A completion, and its kind or, for a column, its table."""

    text: str
    kind: str


def complete(text: str, prefix: str, vocabulary: dict[str, list[str]], words: SqlWords = NO_WORDS) -> list[Candidate]:
    """At most MOST completions of a prefix; columns of tables that the query names come first.

    Args:
        text: the whole query.
        prefix: letters before the cursor; with a dot, the part before the last one is a table or an alias.
        vocabulary: tables with their columns, as they stand in a query: quoted where they have to be.
        words: keywords and functions.
    """
    owner, dot, leaf = prefix.rpartition(".")
    if dot and owner:
        table = _aliases(text, vocabulary, words).get(owner.lower(), owner)
        found = [Candidate(f"{owner}.{name}", "column") for name in vocabulary.get(table, []) if _fits(name, leaf)]
        whole = [Candidate(name, "table") for name in vocabulary if _fits(name, prefix)]
        return (found + whole)[:MOST]
    named = {table for table in vocabulary if re.search(rf"(?<![\w.]){re.escape(table)}(?!\w)", text)}
    near = [Candidate(name, table) for table in vocabulary if table in named for name in vocabulary[table]]
    far = [Candidate(name, table) for table in vocabulary if table not in named for name in vocabulary[table]]
    tables = [Candidate(name, "table") for name in vocabulary]
    keywords = [Candidate(name, "keyword") for name in words.keywords]
    rest = [Candidate(name, "function") for name in words.functions]
    rest += [Candidate(name, "keyword") for name in words.soft_keywords]
    seen: dict[str, Candidate] = {}
    for candidate in (*near, *tables, *keywords, *far, *rest):
        if _fits(candidate.text, prefix) and candidate.text.lower() != prefix.lower():
            seen.setdefault(candidate.text, candidate)
    starts = prefix.lower()
    return sorted(seen.values(), key=lambda one: not one.text.lower().lstrip('"').startswith(starts))[:MOST]


def _aliases(text: str, vocabulary: dict[str, list[str]], words: SqlWords) -> dict[str, str]:
    """Aliases of tables in a query, in lower case, to the tables."""
    found = {}
    keywords = frozenset(words.keywords)
    for table in vocabulary:
        for match in re.finditer(rf"(?<![\w.]){re.escape(table)}\s+(?:AS\s+)?([A-Za-z_]\w*)", text, re.IGNORECASE):
            if match[1].upper() not in keywords:
                found[match[1].lower()] = table
    return found


def _fits(name: str, prefix: str) -> bool:
    """Whether the name, or a word in it, begins with the prefix: `ndcg` finds `test_ndcg_20`."""
    name, prefix = name.lower().replace('"', ""), prefix.lower()
    return name.startswith(prefix) or (len(prefix) > 1 and f"_{prefix}" in name)


@dataclass(eq=False)
class EditorState:
    """A text with selection and edits to undo, for an editor that shows several by turns."""

    text: str = ""
    selection: Selection | None = None
    """None: the cursor stands at the end."""
    history: Any = None
    """Textual's own record of the edits."""


class Candidates(OptionList, can_focus=False):
    """The list of completions below the cursor."""


class SqlEditor(NamedBindings, KeysInOrderMixin, TextArea):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A text area for SQL; completions open while typing, `tab` accepts one, `esc` closes them."""

    SECTION = "editor"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"editor--{name}" for name in ("keyword", "string", "number", "comment", "table")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+space", "candidates", "Complete", key_display="^space", show=False),
    ]

    def __init__(self, text: str = "", *, id: str | None = None) -> None:
        super().__init__(text, id=id, soft_wrap=True, show_line_numbers=False, tab_behavior="focus")
        self.vocabulary: dict[str, list[str]] = {}
        self.words = NO_WORDS
        self._kinds: dict[str, str] = {}
        """What a word in lower case is highlighted as: `keyword` or `table`."""
        self.list: Candidates | None = None
        self._prefix = ""

    @property
    def choosing(self) -> bool:
        """Whether the list of completions is open."""
        return self.list is not None and bool(self.list.display)

    def learn(self, vocabulary: dict[str, list[str]], words: SqlWords = NO_WORDS) -> None:
        """Take names for completion and highlighting; lines that are already drawn get their colors."""
        self.vocabulary, self.words = vocabulary, words
        columns = {name.lower() for names in vocabulary.values() for name in names}
        self._kinds = dict.fromkeys(map(str.lower, words.soft_keywords), "keyword")
        self._kinds = {word: kind for word, kind in self._kinds.items() if word not in columns}
        self._kinds |= {name.lower(): "table" for name in vocabulary}
        self._kinds |= dict.fromkeys(map(str.lower, words.keywords), "keyword")
        self.notify_style_update()
        self.refresh()

    def take_state(self) -> EditorState:
        """The text as it is, with what `show_state` needs to bring it back."""
        return EditorState(self.text, self.selection, self.history)

    def show_state(self, state: EditorState) -> None:
        """Show another text; its edits can be undone as before."""
        self.close()
        with self.prevent(TextArea.Changed):
            self.history = replace(self.history)  # a new one: loading clears it
            self.load_text(state.text)
        if state.history is not None:
            self.history = state.history
        self.selection = state.selection or Selection.cursor(self.document.end)

    def get_line(self, line_index: int) -> Text:
        """A line of the text with syntax highlighting."""
        line = super().get_line(line_index)
        for match in _TOKEN.finditer(line.plain):
            kind = match.lastgroup
            if kind == "word":
                kind = self._kinds.get(match[0].lower())
            if kind is not None and kind != "name":
                line.stylize(self.get_component_rich_style(f"editor--{kind}", partial=True), *match.span())
        return line

    def action_candidates(self) -> None:
        """List all completions at the cursor."""
        self._seek(least=0)

    def _seek(self, *, least: int) -> None:
        row, column = self.cursor_location
        before = self.document.get_line(row)[:column]
        match = _WORD.search(before)
        prefix = match[0] if match else ""
        inside = before.count("'") % 2 == 1 or "--" in before
        found = complete(self.text, prefix, self.vocabulary, self.words) if len(prefix) >= least and not inside else []
        begun = before.count('"') % 2 == 1 and before.endswith(f'"{prefix}')  # as a quoted name
        self._prefix = f'"{prefix}' if begun else prefix
        self._offer(found)

    def _offer(self, found: Iterable[Candidate]) -> None:
        if self.list is None:
            return
        options = [Option(_option(one), id=one.text) for one in found]
        self.list.clear_options()
        self.list.display = bool(options)
        if options:
            self.list.add_options(options)
            self.list.highlighted = 0
            self._place(len(options))

    def _place(self, count: int) -> None:
        assert self.list is not None
        at, screen = self.cursor_screen_offset, self.screen.size
        height = min(count, 8) + 2
        below = at.y + 1 + height <= screen.height - 2
        x = max(0, min(at.x - len(self._prefix), screen.width - 42))
        self.list.styles.height = height
        self.list.styles.offset = (x, at.y + 1 if below else max(1, at.y - height))

    def close(self) -> None:
        """Close the list of completions."""
        self._offer([])

    def on_key(self, event: events.Key) -> None:
        """While the list is open, it takes the keys that move in it, accept, or close it."""
        if not self.choosing or self.list is None:
            return
        taken = {
            "down": self.list.action_cursor_down,
            "up": self.list.action_cursor_up,
            "tab": self.take,
            "escape": self.close,
        }
        if event.key in taken:
            taken[event.key]()
            event.stop()
            event.prevent_default()

    def take(self) -> None:
        """Replace the typed prefix with the highlighted completion."""
        if self.list is None or self.list.highlighted is None:
            return
        chosen = self.list.get_option_at_index(self.list.highlighted).id or ""
        row, column = self.cursor_location
        with self.prevent(TextArea.Changed):
            self.replace(chosen, (row, column - len(self._prefix)), (row, column))
        self.close()

    @on(TextArea.Changed)
    def _typed(self) -> None:
        self._seek(least=2) if self.has_focus else self.close()

    def on_blur(self) -> None:
        """Close the list when the focus leaves."""
        self.close()


def _option(one: Candidate) -> Text:
    return Text.assemble(one.text, "  ", (one.kind, "dim"))
