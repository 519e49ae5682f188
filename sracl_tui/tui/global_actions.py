"""What works on every screen: palette, list of screens, jump mode, help, commands of what was done, and taking it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, TextArea

from sracl_tui import formatting
from sracl_tui.services.command_log import CommandLog
from sracl_tui.services.run_edits import Edit, EditHistory
from sracl_tui.tui.key_order import KeyOrderMixin
from sracl_tui.tui.navigation import Navigation, navigation_of
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens import ABOUT, DEEPER, KEYS, OF_A_RUN, PAGES, page_title
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.jump import JumpScreen, Target, click
from sracl_tui.tui.textual_internals import AppInternalsMixin, drop_notifications, keys_of, shown_notifications
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.command_dialog import CommandDialog, Entry, matching
from sracl_tui.tui.widgets.table import Column, Row
from store.errors import StoreError
from store.run_row import ListedRun
from store.untrusted_text import shown

NOTIFICATIONS = 3
"""So many are on the screen at most."""
SEEN_SECONDS = 2.0
"""A notification that was there so long does not follow to another screen."""
RUNS_LISTED = 500
"""Runs that a list without a text has."""


class GlobalActions(KeyOrderMixin, AppInternalsMixin, App[None]):
    """The part of the app that no screen is about."""

    GLOBAL_BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+p", "command_palette", "Palette", show=False, priority=True),
        Binding("colon", "go_to", "Go to a screen or run", show=False, id="app.go-to"),
        Binding("f8", "go_to", "Go to, in a field too", show=False, priority=True, id="app.go-to-anywhere"),
        Binding("f9,ctrl+o", "jump", "Jump: labels on all that a click activates", show=False, priority=True),
        Binding("f12", "commands", "Commands of what was done", show=False, priority=True),
        Binding("y", "copy_command", "Copy the command", show=False, priority=True),
        Binding("f10", "settings", "Settings of the app", show=False),
        Binding("ctrl+z", "undo", "Undo an edit of a run or finding", show=False),
    ]

    @dataclass
    class Undone(Message):
        """Edits were taken back; `trouble` says which were not."""

        what: str
        edits: tuple[Edit, ...]
        trouble: str

    def __init__(self) -> None:
        super().__init__()
        self.commands = CommandLog()
        self.edits = EditHistory()
        self.shown_command = ""
        """The command in the status line; empty from the next key on."""

    def notify(self, message: str, **options: Any) -> None:
        """Show a notification, of whatever people and files wrote; of more than a few the oldest go."""
        super().notify(shown(message), **options)
        self.call_later(self._drop_oldest)

    def _drop_oldest(self) -> None:
        older = shown_notifications(self)[:-NOTIFICATIONS]
        drop_notifications(self, lambda one: one in older)

    def screen_has_changed(self) -> None:
        """Take away what was notified on another screen and has been seen; warnings and errors stay their time."""
        seen = time.time() - SEEN_SECONDS
        drop_notifications(self, lambda one: one.severity == "information" and one.raised_at < seen)

    @property
    def _navigation(self) -> Navigation:
        return navigation_of(self)

    # commands of what was done

    def did(self, words: Sequence[str]) -> None:
        """Log the command of what was just done, by its words after `sracl`, and show it in the status line."""
        self._show_command(self.commands.add(words).line)

    def _show_command(self, line: str) -> None:
        self.shown_command = line
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                screen.show_command(line)

    def key_was_pressed(self, key: str) -> None:
        """Take the command away again, unless the key copies it."""
        if self.shown_command and key not in self._copy_keys():
            self._show_command("")

    def _copy_keys(self) -> set[str]:
        return keys_of(self, "copy_command")

    def can_copy_command(self) -> bool:
        """Whether a command is shown and no field and no dialog wants the key."""
        return bool(
            self.shown_command
            and not isinstance(self.screen, ModalScreen)
            and not isinstance(self.focused, Input | TextArea)
        )

    def action_copy_command(self) -> None:
        """Copy the command in the status line."""
        self.copy_to_clipboard(self.shown_command)
        self.notify(self.shown_command, title="Command copied", markup=False)

    def action_commands(self) -> None:
        """List the commands of what was done, newest first; `enter` copies one."""
        rows = [
            Row(place, (formatting.local_time(one.at), formatting.line(one.line)), ("dim", ""))
            for place, one in reversed(list(enumerate(self.commands.commands)))
        ]
        columns = (Column("at", "time"), Column("line", "command", flex=True, least=20))
        hint = (
            "enter copies the command   esc: back"
            if rows
            else "Nothing was done yet: edits, starts, queries and exports stand here."
        )
        self.push_screen(ChoiceDialog("Commands of what was done here", columns, rows, hint=hint), self._copy_logged)

    def _copy_logged(self, place: object) -> None:
        if isinstance(place, int):
            line = self.commands.commands[place].line
            self.copy_to_clipboard(line)
            self.notify(line, title="Command copied", markup=False)

    def action_settings(self) -> None:
        """Open the settings of the app."""
        if not isinstance(self.screen, ModalScreen):
            self._navigation.action_go("settings")

    # undo

    def action_undo(self) -> None:
        """Take back the newest edit of runs."""
        found = self.edits.pop()
        if found is None:
            self.notify(
                "Nothing to undo: tags, notes, names and findings that were changed here can be.", severity="warning"
            )
        else:
            self._undo(*found)

    @work(thread=True, exit_on_error=False, group="undo")
    def _undo(self, what: str, edits: tuple[Edit, ...]) -> None:
        done, troubles = [], []
        for edit in edits:
            try:
                edit.apply(self._navigation.library.store())
                done.append(edit)
            except (StoreError, OSError) as error:
                troubles.append(error_text(error))
        self.post_message(self.Undone(what, tuple(done), "\n".join(troubles[:3])))

    @on(Undone)
    def _show_undone(self, message: Undone) -> None:
        for edit in message.edits:
            self.did(edit.words())
        if message.edits:
            self.notify(f"{message.what}: as before", title="Undone", markup=False)
        if message.trouble:
            self.notify(formatting.text(message.trouble), severity="warning", markup=False)
        self._navigation.refresh_runs()
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen) and screen.is_mounted:
                screen.edited()

    # lists

    def action_command_palette(self) -> None:
        """List all actions, screens and runs, one line each."""
        if not isinstance(self.screen, ModalScreen):
            entries = [_entry_of(command) for command in self.get_system_commands(self.screen)]
            self._list("Commands", partial(matching, entries), "words of a command, screen or run")

    def action_go_to(self) -> None:
        """List all screens and runs; `NAME` opens a screen, `run NAME` a run."""
        if not isinstance(self.screen, ModalScreen):
            self._list("Go to", self._places, "screen, or screen and run: sql, run NAME, inspector NAME")

    def _list(self, title: str, find: Callable[[str], Sequence[Entry]], prompt: str) -> None:
        hint = "enter does it   up, down: choose   esc: back"
        self.push_screen(CommandDialog(title, find, prompt=prompt, hint=hint), self._do)

    async def _do(self, chosen: Callable[[], Any] | None) -> None:
        if chosen is not None and hasattr(result := chosen(), "__await__"):
            await result

    def _places(self, text: str) -> list[Entry]:
        """Screens and runs that fit what was typed."""
        words = text.strip().removeprefix(":").split()
        opened = words[0].lower() if words else ""
        if len(words) > 1 and opened in OF_A_RUN:
            return [self._run_entry(opened, row) for row in self._runs_named(" ".join(words[1:]))]
        screens = [
            Entry(page_title(name), KEYS.get(name, ""), ABOUT[name], partial(self._navigation.action_go, name))
            for name in PAGES | DEEPER
        ]
        runs = [self._run_entry("run", row) for row in self._runs_named(" ".join(words))] if words else []
        return [*matching(screens, " ".join(words)), *runs]

    def _runs_named(self, text: str) -> Iterator[ListedRun]:
        """Runs whose name or ID has a text; those that are called so first."""
        low, called = text.lower(), self._navigation.called
        found = [row for row in self._navigation.runs if low in called(row).lower() or low in row["run_id"]]
        yield from sorted(found, key=lambda row: not called(row).lower().startswith(low))

    def _run_entry(self, where: str, row: ListedRun) -> Entry:
        text = f"{formatting.state(row['state'])}, {row['dataset_name'] or ''}, seed {row['seed']}"
        return Entry(
            f"{where} {self._navigation.called(row)}", "", text, partial(self.open_page_of, where, row["run_id"])
        )

    def open_page_of(self, where: str, run_id: str) -> None:
        """Open a screen of OF_A_RUN on a run."""
        app = self._navigation
        opens = {
            "run": app.open_run,
            "charts": app.open_charts,
            "inspector": app.open_inspector,
            "everyone": app.open_everyone,
            "item": app.open_item,
            "slices": lambda run_id: app.open_slices([run_id]),
            "launch": app.open_launch,
        }
        opens[where](run_id)

    # jump mode

    def action_jump(self) -> None:
        """Put a label over everything that can be activated; typing one is a click there."""
        if not isinstance(self.screen, JumpScreen):
            self.push_screen(JumpScreen(self.screen), self._click)

    def _click(self, target: Target | None) -> None:
        if target is not None:
            click(self, target)


def _entry_of(command: SystemCommand) -> Entry:
    text, _, key = command.help.partition("\0")
    return Entry(command.title, key, text, command.callback, not text.startswith("not now"))


def system_commands(app: Any, screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Actions of the screen, then all screens, then runs."""
    disabled_reason = screen.disabled_reason if isinstance(screen, BaseScreen) else lambda action: ""
    seen: set[str] = set()
    for node, binding, _, _ in screen.active_bindings.values():
        if binding.id and binding.description and binding.action not in seen and node in (screen, app):
            seen.add(binding.action)
            why = disabled_reason(binding.action.partition("(")[0])
            name = binding.action[4:-2] if binding.action.startswith("go('") else ""
            text = f"not now: {why}" if why else ABOUT.get(name, "")
            act = partial(app.act, node, binding.action, why)
            yield SystemCommand(binding.description, f"{text}\0{app.get_key_display(binding)}", act)
    for name in PAGES | DEEPER:
        if f"go('{name}')" not in seen:
            yield SystemCommand(page_title(name), ABOUT[name], partial(app.action_go, name))
    yield SystemCommand("Theme", "choose one of all themes", app.action_change_theme)
    for row in app.runs[:RUNS_LISTED]:
        text = f"{formatting.state(row['state'])}, {row['dataset_name'] or ''}, seed {row['seed']}"
        yield SystemCommand(f"Run {formatting.line(app.called(row))}", text, partial(app.open_run, row["run_id"]))
