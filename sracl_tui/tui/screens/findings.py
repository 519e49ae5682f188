"""Findings: what was pinned with a note, on the way back to where it was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, ScrollableContainer, Vertical
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services.findings.edits import FindingNote, FindingsListed
from sracl_tui.services.findings.export import FORMATS, heading, write
from sracl_tui.services.run_edits import Edit, Words
from sracl_tui.services.user_inspection import Inspection, inspect_user
from sracl_tui.services.what_if import WhatIf
from sracl_tui.tui.finding_actions import note_problem
from sracl_tui.tui.navigation import Unavailable
from sracl_tui.tui.pins import WHAT_IF, open_place
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.findings import finding_text, findings_table
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, PromptDialog
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.table import Table
from sracl_tui.tui.widgets.text_dialog import EditDialog
from store.errors import StoreError
from store.queries import findings, items, runs
from store.queries.findings import Finding
from store.run_row import StoredRun

NONE = "Nothing is pinned yet: N pins what is on a screen, with a note."


class FindingsScreen(BaseScreen):
    """The findings of the home, and the one under the cursor in full."""

    NAME = "Findings"
    ABOUT = (
        "What was pinned with N, newest first: the note, the command that shows the same in a shell, and the screen as it was then. "
        "enter opens the screen where it was pinned, with the numbers of now. / lists those with some words anywhere. ctrl+s writes "
        "those that are listed to one HTML or Markdown file."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("e", "note", "Note"),
        Binding("x,delete", "remove", "Remove"),
        Binding("ctrl+s", "export", "Export", key_display="^s"),
        Binding("y", "copy", "Copy"),
        Binding("Y", "copy_text", "Copy the text", show=False),
    ]

    @dataclass
    class Read(Message):
        """The findings with the words of a search."""

        text: str
        found: list[Finding]

    @dataclass
    class Edited(Message):
        """An edit was made."""

        what: str
        edit: Edit

    @dataclass
    class Bench(Message):
        """The user of a finding of What if, and what was made of them."""

        run: StoredRun
        found: Inspection
        state: WhatIf

    @dataclass
    class Done(Message):
        """Something was done, or failed."""

        text: str
        failed: bool = False
        words: Words = ()

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Finding] = []
        self._text = ""

    def body(self) -> ComposeResult:
        """The search, the list, and the finding under the cursor."""
        yield Field(placeholder="words of note, command, run or text", id="search", compact=True)
        with Horizontal(id="findings-panes"):
            yield Table(id="findings-table", empty="reading ...")
            with Vertical(id="finding"):
                yield Static("", id="finding-facts", markup=False)
                with ScrollableContainer(id="finding-scroll"):
                    yield Static("", id="finding-content", markup=False)

    def on_mount(self) -> None:
        """Read the findings."""
        self.query_one("#search").display = False
        self.query_one(Table).focus()
        self._read()

    def on_screen_resume(self) -> None:
        """They may have changed on another screen."""
        super().on_screen_resume()
        self._read()

    def edited(self) -> None:
        """They may have changed."""
        self._read()

    def runs_read(self) -> None:
        """The store has changed."""
        self._read()

    def _read(self) -> None:
        self._list(self._text)

    @work(thread=True, exclusive=True, exit_on_error=False, group="list")
    def _list(self, text: str) -> None:
        try:
            self.post_message(self.Read(text, findings.list_findings(self.library.store(), text)))
        except StoreError as error:
            self.post_message(self.Done(error_text(error), failed=True))

    @on(Read)
    def _show(self, message: Read) -> None:
        if message.text != self._text:
            return
        self.found = message.found
        count = f"{len(self.found):,} finding{'' if len(self.found) == 1 else 's'}"
        self.set_title(f"{count} with {self._text}" if self._text else count)
        table = self.query_one(Table)
        table.set_empty_text("No finding has all these words." if self._text else NONE)
        table.show(findings_table(self.found))
        self._show_one()

    @property
    def finding(self) -> Finding | None:
        """The finding under the cursor."""
        key = self.query_one(Table).key
        return next((one for one in self.found if one["finding_id"] == key), None)

    @on(Table.Highlighted)
    def _show_one(self) -> None:
        one = self.finding
        self.query_one("#finding-facts", Static).update("" if one is None else finding_text(one))
        self.query_one("#finding-content", Static).update("" if one is None else formatting.text(one["content"]))
        self.query_one("#finding-scroll").scroll_home(animate=False)
        self.refresh_bindings()

    def disabled_reason(self, action: str) -> str:
        """All but the search needs a finding."""
        if action in ("note", "remove", "export", "copy", "copy_text") and self.finding is None:
            return "There is no finding here."
        if action == "copy" and self.finding is not None and not self.finding["command"]:
            return "This finding has no command."
        return ""

    # search

    def action_search(self) -> None:
        """Type words that the findings shall have."""
        field = self.query_one("#search", Field)
        field.display = True
        field.focus()

    @on(Field.Changed, "#search")
    def _narrow(self, event: Field.Changed) -> None:
        self._text = event.value.strip()
        self._read()

    @on(Field.Submitted, "#search")
    def _to_list(self) -> None:
        self.query_one("#search").display = bool(self._text)
        self.query_one(Table).focus()

    def action_back(self) -> None:
        """Leave the search first."""
        field = self.query_one("#search", Field)
        if field.display:
            field.value = ""
            field.display = False
            self.query_one(Table).focus()
        else:
            super().action_back()

    # where it was

    @on(Table.Chosen)
    def _open(self) -> None:
        one = self.finding
        if one is None:
            return
        if one["screen"] == WHAT_IF:
            self._read_bench(one)
            return
        try:
            open_place(self.sracl, one)
        except Unavailable as reason:
            self.notify(str(reason), severity="warning", markup=False)

    @work(thread=True, exclusive=True, exit_on_error=False, group="bench")
    def _read_bench(self, one: Finding) -> None:
        try:
            store, place = self.library.store(), one["place"]
            run = runs.find_run(store, (one["run_ids"] or [""])[0])
            found = inspect_user(store, run["run_id"], f"#{one['user_id']}", position=place.get("position"))
            ids = [step[0] for step in place["steps"]]
            titles = items.titles(store, str(run["dataset_id"]), ids)
            state = WhatIf.of(found, place["at"]).restored(place, titles)
        except (StoreError, EngineError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        except (KeyError, TypeError, ValueError, IndexError):
            text = "What was changed cannot be made again: the run has other items or neighbors now. The text is what was seen."
            self.post_message(self.Done(text, failed=True))
        else:
            self.post_message(self.Bench(run, found, state))

    @on(Bench)
    def _open_bench(self, message: Bench) -> None:
        from sracl_tui.tui.screens.what_if import WhatIfScreen

        self.app.push_screen(WhatIfScreen(message.run, message.found, message.state.at, changed=message.state))

    # edits

    def action_note(self) -> None:
        """Edit the note."""
        one = self.finding
        assert one is not None
        before = one["note"]

        def change(note: str | None) -> None:
            if note is not None and note != before:
                self._edit("the note of the finding", FindingNote(one["finding_id"], before, note))

        title = f"Note of {heading(one)}"
        self.app.push_screen(EditDialog(title, before, check=note_problem), change)

    def action_remove(self) -> None:
        """Take the finding off the list, after a question."""
        one = self.finding
        assert one is not None

        def go(yes: bool | None) -> None:
            if yes:
                self._edit("the removed finding", FindingsListed((one["finding_id"],), listed=False))

        question = f"Remove the finding {formatting.line(one['note'] or heading(one))!r}?"
        self.app.push_screen(ConfirmDialog(question, detail="ctrl+z brings it back.", yes="Remove"), go)

    @work(thread=True, exit_on_error=False, group="edit")
    def _edit(self, what: str, edit: Edit) -> None:
        try:
            edit.apply(self.library.store())
        except (StoreError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            self.post_message(self.Edited(what, edit))

    @on(Edited)
    def _show_edit(self, message: Edited) -> None:
        self.sracl.edits.add(message.what, [message.edit])
        self.sracl.did(message.edit.words())
        self.notify("done; ctrl+z takes it back", title=message.what.capitalize(), markup=False)
        self._read()

    # files

    def action_copy(self) -> None:
        """Copy the command."""
        assert self.finding is not None
        self.copy(self.finding["command"], "The command")

    def action_copy_text(self) -> None:
        """Copy what was on the screen."""
        assert self.finding is not None
        self.copy(self.finding["content"], "The text")

    def action_export(self) -> None:
        """Write the findings that are listed to a file."""
        hint = f"{' or '.join(FORMATS)}; the {len(self.found):,} that are listed"
        value = str(Path.cwd() / "findings.html")
        self.app.push_screen(PromptDialog("Write the findings to", value=value, hint=hint), self._export_to)

    def _export_to(self, answer: str | None) -> None:
        if answer and answer.strip():
            self._export(tuple(self.found), Path(answer.strip()).expanduser(), whole=not self._text)

    @work(thread=True, exit_on_error=False, group="export")
    def _export(self, found: Sequence[Finding], path: Path, *, whole: bool) -> None:
        try:
            write(found, path)
        except (StoreError, EngineError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            ids = () if whole else tuple(one["finding_id"] for one in found)
            self.post_message(self.Done(f"They are in {path}", words=("findings", "export", *ids, "--out", str(path))))

    @on(Done)
    def _show_outcome(self, message: Done) -> None:
        severity = "error" if message.failed else "information"
        self.notify(formatting.text(message.text), severity=severity, markup=False)
        if message.words:
            self.sracl.did(message.words)
