"""A file picker: a folder as a table, with only those files that may be data, and a field that completes a path."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.suggester import Suggester

from sracl_tui import formatting
from sracl_tui.tui.widgets.table import Column, Row, Table, lay_out

COLUMNS = (Column("name", "file", flex=True, least=16), Column("size", "size", right=True))
PARENT = ".."


@dataclass(frozen=True)
class Entry:
    """A file or folder, and the size of a file."""

    path: Path
    folder: bool
    size: int = 0


def entries_of(folder: Path, suffixes: Collection[str]) -> tuple[list[Entry], int]:
    """Folders and files with one of the suffixes, by name, and the number of other files.

    Raises:
        OSError: the folder cannot be listed.
    """
    folders, files, others = [], [], 0
    with os.scandir(folder) as found:
        for one in found:
            if one.name.startswith("."):
                continue
            try:
                is_folder, size = one.is_dir(), one.stat().st_size
            except OSError:  # a broken link, or no permission
                others += 1
                continue
            name = one.name.lower().removesuffix(".gz")
            if is_folder:
                folders.append(Entry(Path(one.path), True))
            elif Path(name).suffix in suffixes:
                files.append(Entry(Path(one.path), False, size))
            else:
                others += 1
    order = lambda entry: entry.path.name.lower()  # noqa: E731
    return sorted(folders, key=order) + sorted(files, key=order), others


class Files(Table):
    """The entries of one folder: `enter` opens a folder or chooses a file, `backspace` goes up."""

    SECTION = "files"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace,left,h", "up", "Folder above"),
    ]

    @dataclass
    class PathHighlighted(Message):
        """The cursor has moved to a file or folder; on `..` the path is the open folder."""

        path: Path

    @dataclass
    class Picked(Message):
        """A file was chosen."""

        path: Path

    @dataclass
    class Read(Message):
        """Entries of a folder, or why it cannot be listed."""

        folder: Path
        entries: list[Entry]
        others: int
        trouble: str = ""
        at: Path | None = None

    def __init__(self, suffixes: Collection[str], *, id: str | None = None) -> None:
        super().__init__(id=id, empty="reading ...")
        self.folder = Path()
        self.others = 0
        self._suffixes = suffixes
        self._entries: dict[str, Entry] = {}

    def open(self, folder: Path, *, at: Path | None = None) -> None:
        """Show a folder, with the cursor on one of its entries."""
        self._read(folder.absolute(), at)

    @work(thread=True, exclusive=True, exit_on_error=False, group="files")
    def _read(self, folder: Path, at: Path | None) -> None:
        try:
            entries, others = entries_of(folder, self._suffixes)
        except OSError as error:
            self.post_message(self.Read(folder, [], 0, error.strerror or str(error), at))
        else:
            self.post_message(self.Read(folder, entries, others, at=at))

    def on_files_read(self, message: Read) -> None:
        """Show the entries of a folder."""
        self.folder, self.others = message.folder, message.others
        self._entries = {entry.path.name: entry for entry in message.entries}
        rows = [Row(PARENT, (PARENT, ""), ("dim",))] if self.folder.parent != self.folder else []
        for name, entry in self._entries.items():
            cells = (
                formatting.line(name) + "/" * entry.folder,
                "" if entry.folder else formatting.bytes_text(entry.size),
            )
            rows.append(Row(name, cells, ("accent" if entry.folder else "strong", "dim")))
        self.set_empty_text(formatting.line(message.trouble) or "nothing here")
        self.show(lay_out(COLUMNS, rows), keep=False)
        if message.at is not None:
            self.move_to(message.at.name)
        self.border_subtitle = ""
        self._report_path()

    @property
    def path(self) -> Path:
        """Path of the entry under the cursor; the folder itself on `..`."""
        entry = self._entries.get(str(self.key))
        return entry.path if entry else self.folder

    def on_table_highlighted(self) -> None:
        """Post the path of the new entry."""
        self._report_path()

    def _report_path(self) -> None:
        self.post_message(self.PathHighlighted(self.path))

    def on_table_chosen(self, message: Table.Chosen) -> None:
        """Open a folder, or choose a file."""
        message.stop()
        entry = self._entries.get(str(message.key))
        if entry is None:
            self.action_up()
        elif entry.folder:
            self.open(entry.path)
        else:
            self.post_message(self.Picked(entry.path))

    def action_up(self) -> None:
        """Open the parent folder, with the cursor on this one."""
        self.open(self.folder.parent, at=self.folder)


class Paths(Suggester):
    """Suggests the first path that a typed one may become."""

    def __init__(self, suffixes: Collection[str]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._suffixes = suffixes

    async def get_suggestion(self, value: str) -> str | None:
        """The first entry that begins so; a folder with a slash at its end."""
        return await asyncio.to_thread(self._find, value)

    def _find(self, value: str) -> str | None:
        head, slash, begun = value.rpartition("/")
        if not slash or not begun:
            return None
        try:
            entries, _ = entries_of(Path(f"{head}/").expanduser(), self._suffixes)
        except (OSError, RuntimeError, ValueError):
            return None
        names = (entry.path.name + "/" * entry.folder for entry in entries)
        found = next((name for name in names if name.startswith(begun) and name.isprintable()), None)
        return f"{head}/{found}" if found else None
