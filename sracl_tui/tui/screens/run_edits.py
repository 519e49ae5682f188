"""Tags, notes and names of runs, edited in dialogs; each edit can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on, work
from textual.message import Message

from sracl_tui.services.run_edits import Edit, TagEdit, TextEdit, Words
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.dialogs import PromptDialog
from store.errors import StoreError
from store.run_row import ListedRun


class RunEditsPage(BaseScreen):
    """A screen with runs that can be tagged, noted and renamed."""

    SECTION = "runs"

    @dataclass
    class Done(Message):
        """An edit or a command ended, or failed."""

        text: str
        failed: bool = False
        words: Words = ()

    @dataclass
    class Edited(Message):
        """Edits were made; `what` names them for who takes them back."""

        what: str
        edits: tuple[Edit, ...]

    @property
    def run(self) -> ListedRun | None:
        """The run that a note or a name is for."""
        raise NotImplementedError

    def chosen_runs(self) -> list[ListedRun]:
        """The runs that tags are for."""
        raise NotImplementedError

    def action_tag(self) -> None:
        """Ask for tags to add, or with a minus to remove."""
        chosen = self.chosen_runs()

        def change(answer: str | None) -> None:
            edits = [TagEdit.of(run["run_id"], run["tags"], (answer or "").split()) for run in chosen]
            self._edit(f"tags of {text}", [edit for edit in edits if edit.add or edit.remove])

        text = ", ".join(run["name"] for run in chosen[:3]) + (
            f" and {len(chosen) - 3} more" if len(chosen) > 3 else ""
        )
        self.app.push_screen(PromptDialog(f"Tags for {text}", hint="words to add; -word takes a tag away"), change)

    def action_note(self) -> None:
        """Edit the note of the run."""
        self._edit_text("note", "Note of {name}")

    def action_rename(self) -> None:
        """Rename the run."""
        self._edit_text("name", "Name of {run_id}")

    def _edit_text(self, what: str, title: str) -> None:
        run = self.run
        assert run is not None
        before = str(run["note"] if what == "note" else run["name"])

        def change(answer: str | None) -> None:
            text = answer.strip() if answer and what == "name" else answer
            if text != before and (text or (text is not None and what == "note")):
                self._edit(f"{what} of {run['name']}", [TextEdit(run["run_id"], what, before, text)])

        self.app.push_screen(PromptDialog(title.format(**run), value=before), change)

    @work(thread=True, exit_on_error=False, group="edit")
    def _edit(self, what: str, edits: Sequence[Edit]) -> None:
        done = []
        try:
            for edit in edits:
                edit.apply(self.library.store())
                done.append(edit)
        except (StoreError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        if done:
            self.post_message(self.Edited(what, tuple(done)))

    @on(Edited)
    def _show_edit(self, message: Edited) -> None:
        self.sracl.edits.add(message.what, message.edits)
        for edit in message.edits:
            self.sracl.did(edit.words())
        self.notify(f"{message.what} changed; ctrl+z takes it back", markup=False)
        self.sracl.refresh_runs()

    @on(Done)
    def _show_outcome(self, message: Done) -> None:
        self.notify(message.text, severity="error" if message.failed else "information", markup=False)
        if message.words:
            self.sracl.did(message.words)
        self.sracl.refresh_runs()
