"""All preferences of the app, each with its help; what is changed works at once and is kept in `ui.json`."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from sracl_tui import formatting
from sracl_tui.tui.preference_list import BY_NAME, SETTINGS, Setting
from sracl_tui.tui.preferences import FILE, Preferences
from sracl_tui.tui.rendering import run_list
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.run_panes import TITLES
from sracl_tui.tui.widgets.arrange_dialog import ArrangeDialog
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.table import Column, Row, Table, lay_out

COLUMNS = (
    Column("title", "setting"),
    Column("value", "value", most=30),
    Column("help", "what it is", flex=True, least=24),
)
CHOICES = (Column("value", "value"), Column("note", ""))
ARRANGED = {
    "columns": ({column.key: column.title for column in run_list.CHOICES}, run_list.DEFAULT_KEYS, ("name",)),
    "panes": (TITLES, list(TITLES), ("list",)),
}
"""Titles by key, those by default, and those that stay, of the preferences that are lists."""


class SettingsScreen(BaseScreen):
    """Preferences of the app."""

    NAME = "Settings"
    ABOUT = "How the app looks and behaves, for this home. enter changes a setting, z takes it back to what it is by default, Z all of them."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("z", "reset", "Reset"),
        Binding("Z", "reset_all", "Reset all"),
    ]

    def body(self) -> ComposeResult:
        """The settings, and the one under the cursor in full."""
        yield Table(id="settings-list")
        yield Static("", id="settings-help", markup=False)

    def on_mount(self) -> None:
        """List the settings."""
        self.show_status(self.sracl.status)
        self._draw()
        self.query_one(Table).focus()

    @property
    def setting(self) -> Setting | None:
        """The setting under the cursor; none on a heading."""
        return BY_NAME.get(str(self.query_one(Table).key))

    def _value(self, name: str) -> Any:
        return getattr(self.sracl.preferences, name)

    def _text(self, setting: Setting) -> str:
        value = self._value(setting.name)
        if setting.choices:
            return setting.choices.get(value, str(value))
        if setting.name in ARRANGED and value:
            titles = ARRANGED[setting.name][0]
            shown = [str(titles.get(key, key)) for key in value]
            return ", ".join(shown) if len(shown) < 4 else f"{len(shown)} of {len(titles)}"
        return "chosen" if value else "default"

    def _draw(self) -> None:
        standard, rows, section = Preferences(), [], ""
        for setting in SETTINGS:
            if setting.section != section:
                section = setting.section
                rows.append(Row(f"section {section}", (section, "", ""), ("accent",)))
            changed = self._value(setting.name) != getattr(standard, setting.name)
            cells = (f"  {setting.title}", formatting.line(self._text(setting)), setting.help)
            rows.append(
                Row(setting.name, cells, ("strong", "accent" if changed else "", "dim"), "*" if changed else "")
            )
        table = self.query_one(Table)
        first = not table.data.rows
        table.show(lay_out(COLUMNS, rows))
        if first:
            table.move_to(SETTINGS[0].name)
        count = sum(row.sign == "*" for row in rows)
        self.set_title(f"{self.sracl.home.path / FILE}" + (f"  {count} changed" if count else ""))
        self._show_help()

    @on(Table.Highlighted, "#settings-list")
    def _show_help(self) -> None:
        setting = self.setting
        self.query_one("#settings-help", Static).update(setting.help if setting is not None else "")
        self.refresh_bindings()

    def disabled_reason(self, action: str) -> str:
        """A heading has no value, and a default is no choice."""
        setting, standard = self.setting, Preferences()
        if action == "reset" and setting is None:
            return "This is a heading: move to a setting."
        if action == "reset" and setting is not None and self._value(setting.name) == getattr(standard, setting.name):
            return "It is the default already."
        if action == "reset_all" and all(self._value(name) == getattr(standard, name) for name in BY_NAME):
            return "Nothing was changed."
        return ""

    def _change_to(self, name: str, value: Any) -> None:
        setattr(self.sracl.preferences, name, value)
        self.sracl.apply_preferences()
        self._draw()

    @on(Table.Chosen, "#settings-list")
    def _change(self) -> None:
        setting = self.setting
        if setting is None:
            return
        if setting.name in ARRANGED:
            self._arrange(setting)
        elif not setting.choices:
            self.notify(setting.help, title=setting.title, markup=False)
        elif len(setting.choices) == 2:
            self._change_to(
                setting.name, next(value for value in setting.choices if value != self._value(setting.name))
            )
        else:
            self._choose(setting)

    def _choose(self, setting: Setting) -> None:
        values = list(setting.choices)
        standard, now = getattr(Preferences(), setting.name), self._value(setting.name)
        rows = [
            Row(place, (setting.choices[value], "default" if value == standard else ""), ("", "dim"))
            for place, value in enumerate(values)
        ]

        def answer(place: Hashable | None) -> None:
            if isinstance(place, int):
                self._change_to(setting.name, values[place])

        current = values.index(now) if now in values else None
        self.app.push_screen(ChoiceDialog(setting.title, CHOICES, rows, current=current), answer)

    def _arrange(self, setting: Setting) -> None:
        titles, default, always = ARRANGED[setting.name]

        def answer(keys: list[str] | None) -> None:
            if keys is not None:
                self._change_to(setting.name, keys if keys != default else [])

        shown = self._value(setting.name) or default
        self.app.push_screen(
            ArrangeDialog(setting.title.title(), titles, shown, default=default, always=always), answer
        )

    def action_reset(self) -> None:
        """Take the setting back to its default."""
        if self.setting is not None:
            self._change_to(self.setting.name, getattr(Preferences(), self.setting.name))

    def action_reset_all(self) -> None:
        """Take all settings back to their defaults."""
        for name in BY_NAME:
            setattr(self.sracl.preferences, name, getattr(Preferences(), name))
        self.sracl.apply_preferences()
        self._draw()
