"""The queries of the SQL screen, one in each tab: texts are kept, also over restarts, rows while the screen is open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sracl_tui import formatting
from sracl_tui.tui.widgets.sql_editor import EditorState
from sracl_tui.tui.widgets.table import TableData
from store.untrusted_text import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from store.database.person_sql import Cancel

MOST = 20
"""Tabs at most."""
LONGEST = 100_000
"""Letters of a query that is kept over a restart."""
MOST_CELLS = 4_000_000
"""Cells of results that are kept beside the newest one."""
TITLE = 20
"""Letters of a title that nobody has chosen."""
_COMMENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)


@dataclass(eq=False)
class Answer:
    """Rows of a query, laid out; no table for a statement without rows."""

    query: str
    table: pa.Table | None = None
    data: TableData = field(default_factory=TableData)
    seconds: float = 0.0

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return len(self.data.rows) * len(self.data.columns)


@dataclass(eq=False)
class Running:
    """A query that runs, or a file that is being written."""

    since: float
    unasked: bool = False
    """It is the example, which nobody asked for."""
    canceling: bool = False
    cancel: Cancel | None = None

    def keep(self, cancel: Cancel) -> None:
        """Take what cancels it."""
        self.cancel = cancel

    def stop(self) -> None:
        """Cancel it, if it has begun."""
        if self.cancel is not None:
            self.cancel()


@dataclass(eq=False)
class Buffer:
    """A query with what it gave."""

    editor: EditorState = field(default_factory=EditorState)
    name: str = ""
    """What a person calls it."""
    answer: Answer = field(default_factory=lambda: Answer(""))
    place: tuple[int, int] = (0, 0)
    """Row and column of the cursor in the rows."""
    told: str = ""
    look: str = ""
    """Class of what is told: `trouble`, `busy`, or none."""
    running: Running | None = None

    @property
    def text(self) -> str:
        """The query."""
        return self.editor.text

    @property
    def title(self) -> str:
        """Its name, or its first words."""
        words = " ".join(formatting.line(self.name or _COMMENT.sub(" ", self.text[:2_000])).split())
        return formatting.fit(words, TITLE).rstrip() or "empty"


class Buffers:
    """The tabs in their order, and the one that is shown; there is always one."""

    def __init__(self, found: Sequence[Buffer], place: int = 0) -> None:
        self.all = list(found) or [Buffer()]
        self.place = min(max(0, place), len(self.all) - 1)

    @classmethod
    def restore(cls, kept: Sequence[Any], place: int, query: str) -> Buffers:
        """The tabs of the last time; what is damaged is left out.

        Args:
            query: what has to be in front; it becomes a tab of its own if no tab has it.
        """
        found = [
            Buffer(EditorState(shown(text)), shown(name))
            for one in kept[:MOST]
            if isinstance(one, Mapping)
            and isinstance(text := one.get("text"), str)
            and isinstance(name := one.get("name", ""), str)
        ]
        tabs = cls(found or [Buffer(EditorState(query))], place)
        if query and tabs.current.text != query:
            same = [number for number, one in enumerate(tabs.all) if one.text == query]
            if same:
                tabs.place = same[0]
            elif tabs.is_full:
                tabs.all[tabs.place] = Buffer(EditorState(query))
            else:
                tabs.add(query)
        return tabs

    def kept(self) -> list[dict[str, str]]:
        """What the preferences keep; a query that is too long leaves an empty tab."""
        return [{"text": one.text if len(one.text) <= LONGEST else "", "name": one.name} for one in self.all]

    @property
    def current(self) -> Buffer:
        """The one that is shown."""
        return self.all[self.place]

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self.all) >= MOST

    def add(self, text: str = "") -> None:
        """Put a tab behind the one that is shown, and show it."""
        self.place += 1
        self.all.insert(self.place, Buffer(EditorState(text)))

    def close(self) -> None:
        """Remove the tab that is shown; the last one is emptied."""
        del self.all[self.place]
        self.all = self.all or [Buffer()]
        self.place = min(self.place, len(self.all) - 1)

    def bound(self, newest: Buffer) -> None:
        """Give up the results of the tabs that are farthest from the newest, as soon as there are too many cells."""
        place = self.all.index(newest)
        cells = 0
        for one in sorted(self.all, key=lambda one: abs(self.all.index(one) - place))[1:]:
            cells += one.answer.cells
            if cells > MOST_CELLS and one.answer.cells:
                one.answer, one.place = Answer(""), (0, 0)
                one.told, one.look = "its rows were given up to save memory: F5 runs it again", ""
