"""A run before it is one: the settings as a form made from the config's schema, a preview, the start."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from engine.config import Config, flatten
from engine.config_files import load_config, parse_assignment, preset_description, preset_names, value_problem
from engine.errors import ConfigError, EngineError
from engine.method_table import METHODS
from engine.setting_paths import described_fields, fields_of_own_parts, registries
from sracl_tui import formatting
from sracl_tui.runs import own_code
from sracl_tui.services.command_log import command_line
from sracl_tui.tui import launch_drafts
from sracl_tui.tui.navigation import Navigation
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.launch_form import (
    LABELS,
    Form,
    changes_of,
    help_of,
    listed_values,
    value_text,
)
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.launch_preview import LaunchPreview
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, PromptDialog
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.table import Column, Row, Table
from store.errors import StoreError

OTHER = "another: a file, or a name"
IDENTICAL = "Identical to the preset: d shows all settings."


class LaunchScreen(LaunchPreview):
    """A form of all settings, a preview of stages, time and cost, and the start of a run."""

    NAME = "Launch"
    ABOUT = (
        "enter edits the setting under the cursor; an error stands at it, and what it means in full below. / shows only "
        "settings with some words, [ and ] go from section to section. The preview says what earlier runs have done already and how "
        "long the rest may take. The run is a process of its own: closing the app does not stop it. What you have changed here is kept "
        "until the run is started or Z resets it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start"),
        Binding("v", "preview", "Preview"),
        Binding("p", "preset(1)", "Preset"),
        Binding("P", "preset(-1)", "Preset before", show=False),
        Binding("d", "differences", "Only changed"),
        Binding("z", "reset", "Reset value"),
        Binding("Z", "reset_all", "Reset everything", show=False),
        Binding("slash", "search", "Search settings", key_display="/"),
        Binding("left_square_bracket", "section(-1)", "Section before", show=False),
        Binding("right_square_bracket", "section(1)", "Next section", show=False),
        Binding("y", "copy", "Copy as command", show=False),
    ]

    @dataclass
    class Started(Message):
        """The run has been started, or could not be."""

        run_id: str
        trouble: str = ""

    @dataclass
    class Loaded(Message):
        """A method that is not ours has been imported, or cannot be."""

        name: str

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """Opens on the default preset."""
        return cls(None)

    def __init__(self, clone: str | None = None, *, dataset: str | None = None) -> None:
        super().__init__()
        self.clone = clone
        self.preset = "default"
        self.changes: dict[str, Any] = {} if dataset in (None, Config().data.dataset) else {"data.dataset": dataset}
        """What differs from the preset, by path."""
        self.labels = dict.fromkeys(LABELS, "")
        self.errors: dict[str, str] = {}
        self.config: Config | None = None
        self._only = False
        self._cloned: dict[str, Any] | None = None
        """Settings of the run that is cloned, until one is edited."""
        self._fields = described_fields()
        self._form = Form({}, {}, {}, self.labels, self._fields)
        """What the form shows."""
        self._imported = set(METHODS.ours)

    def body(self) -> ComposeResult:
        """Form above, preview below."""
        yield Static("", id="preset", markup=False)
        yield Field(placeholder="words of a setting or of what it is", id="search", compact=True)
        yield Table(id="form", empty=IDENTICAL)
        yield Static("", id="explanation", markup=False)
        with VerticalScroll(id="preview-scroll"):
            yield Static("v: preview cached stages, time and cost", id="preview", markup=False)

    def on_mount(self) -> None:
        """Settings of the preset, or of the run that is cloned."""
        self._show_search(False)
        self.query_one("#form").focus()
        row = self.sracl.row_of(self.clone)
        draft = None if self.changes else launch_drafts.restore(self.sracl.preferences.launch_drafts, self.clone or "")
        if draft is not None:
            self.preset, self.changes = draft.preset, draft.changes
            self.labels |= {name: text for name, text in draft.labels.items() if name in LABELS}
        elif row is not None:
            self.preset = row["preset"] if row["preset"] in preset_names() else "default"
            self._cloned = flatten(row["config"])
            self.changes = changes_of(self._cloned, self.preset, imported=self._imported)
        self._check()

    def _keep_draft(self) -> None:
        """Keep what was changed, for when the form is opened again."""
        draft = launch_drafts.LaunchDraft(self.preset, dict(self.changes), dict(self.labels))
        launch_drafts.keep(self.sracl.preferences.launch_drafts, self.clone or "", draft)

    @property
    def method(self) -> str:
        """The method that is chosen here, or the preset's."""
        return str(self.changes.get("method.name", load_config(preset=self.preset)[0].method.name))

    def _base(self) -> dict[str, Any]:
        """What every setting is unless it is changed here: by the preset and the method, and by the method's own parts."""
        preset, self._fields = load_config(preset=self.preset)[0], described_fields()
        base = flatten(preset.model_dump(mode="json"))
        if self.method == preset.method.name or self.method not in self._imported:
            return base
        try:
            config = load_config(preset=self.preset, settings={"method.name": self.method})[0]
        except ConfigError:
            return base
        own = fields_of_own_parts(config)
        self._fields = described_fields() | own
        defaults = {path: field.default for path, field in own.items()}
        return defaults | flatten(config.model_dump(mode="json")) | {"method.name": preset.method.name}

    def _check(self) -> None:
        """Build the config anew; errors go to their settings."""
        self.errors = {}
        if self.method not in self._imported and METHODS.problem_of(self.method) is None:
            self.config, self.errors = None, {"method.name": "it is being imported ..."}
            self._draw()
            self._import(self.method)
            return
        try:
            self.config = load_config(preset=self.preset, settings=dict(self.changes))[0]
            self.errors = own_code.refusals(self.config)
        except ConfigError as error:
            for problem in error.message.splitlines():
                path, _, what = problem.partition(": ")
                self.errors[path] = what
        self.config = None if self.errors else self.config
        self._draw()

    @work(thread=True, exclusive=True, exit_on_error=False, group="import")
    def _import(self, name: str) -> None:
        """Somebody's code imports torch, which takes seconds."""
        with suppress(ConfigError):  # which is shown when the settings are checked
            METHODS.load(METHODS.absolute(name))
        self.post_message(self.Loaded(name))

    @on(Loaded)
    def _take_method(self, message: Loaded) -> None:
        self._imported.add(message.name)
        if self._cloned is not None:  # only now it is known in which settings the method differs
            self.changes = changes_of(self._cloned, self.preset, imported=self._imported)
        self._check()

    def _draw(self) -> None:
        base = self._base()
        self._form = Form(base, self.changes, self.errors, self.labels, self._fields)
        self._show_form()
        left = [f"{path}: {what}" for path, what in self.errors.items() if path not in base]
        self.query_one("#preset", Static).update(
            formatting.line(f"preset {self.preset}: {preset_description(self.preset)}   {'; '.join(left)}")
        )
        count = len(self.changes)
        differ = f"{count} setting{' differs' if count == 1 else 's differ'} from the preset"
        self.set_title(f"clone of {self.clone}, {differ}" if self.clone else differ)
        self.refresh_bindings()

    def _show_form(self) -> None:
        """Show the settings that fit the search."""
        wanted = self.query_one("#search", Field).value
        table = self.query_one("#form", Table)
        table.set_empty_text("No setting has all these words." if wanted else IDENTICAL)
        table.show(self._form.table(only_changed=self._only, wanted=wanted))
        self._explain()

    @on(Table.Highlighted, "#form")
    def _explain(self) -> None:
        self.query_one("#explanation", Static).update(self._form.explanation(str(self.query_one("#form", Table).key)))

    def disabled_reason(self, action: str) -> str:
        """A config with errors cannot be started."""
        if action in ("start", "preview", "copy") and self.config is None:
            return "A setting has an error: see the line with ✗."
        return ""

    @on(Table.Chosen, "#form")
    def _edit(self, message: Table.Chosen) -> None:
        path = str(message.key)
        if path in LABELS:
            title = f"{path}: {LABELS[path]}"
            self.app.push_screen(PromptDialog(title, value=self.labels[path]), lambda text: self._label(path, text))
            return
        if path not in self._form.base:
            return  # the heading of a section
        value = value_text(self.changes.get(path, self._form.base[path]))
        if values := listed_values(path, self._fields[path]):
            self._choose(path, value, values)
        else:
            self._type(path, value)

    def _choose(self, path: str, value: str, values: Sequence[str]) -> None:
        """Choose a value from a list; where a file may stand in its place, the last line types it."""
        rows = [Row(one, (one, "the preset's" if one == value_text(self._form.base[path]) else "")) for one in values]
        rows += [Row(OTHER, (OTHER, ""), ("dim",))] if path in registries() else []

        def take(chosen: object) -> None:
            if chosen == OTHER:
                self._type(path, value)
            else:
                self._set(path, None if chosen is None else str(chosen))

        columns = (Column("value", "value"), Column("note", "", flex=True))
        self.app.push_screen(ChoiceDialog(path, columns, rows, current=value, hint=self._help(path)), take)

    def _type(self, path: str, value: str) -> None:
        """Type a value; one that the setting cannot have keeps the dialog open."""

        def check(text: str) -> str:
            return value_problem(self._fields[path], _parsed(path, text))

        dialog = PromptDialog(path, value=value, hint=self._help(path), check=check)
        self.app.push_screen(dialog, lambda text: self._entered(path, text, value))

    def _entered(self, path: str, text: str | None, before: str) -> None:
        """A name that somebody else's settings proposed is no entry of this person: code that it names is asked about."""
        why = own_code.why_not(self.sracl.home, before)
        if text != before or why is None:
            self._set(path, text)
            return
        detail = f"It was not imported: {why}. Read it first: it can do whatever you can."
        dialog = ConfirmDialog(f"Allow {before}, as it is now?", detail=detail, yes="Allow it")
        self.app.push_screen(dialog, lambda yes: self._set(path, text) if yes else None)

    def _help(self, path: str) -> str:
        return help_of(path, self._fields[path])

    def _label(self, name: str, text: str | None) -> None:
        if text is not None:
            self.labels[name] = text.strip()
            self._keep_draft()
            self._draw()

    def _set(self, path: str, text: str | None) -> None:
        if text is None:
            return
        self._cloned = None
        own_code.allow_named(self.sracl.home, [text.strip()], by=own_code.APP)
        value, base = _parsed(path, text), self._base()[path]
        self.changes.pop(path, None)
        same = value_text(value) == value_text(base) if isinstance(base, list) else value == base
        if not same or (type(value) is not type(base) and not isinstance(base, list)):
            self.changes[path] = value
        self._keep_draft()
        self._check()
        if path == "semantics.provider" and path not in self.errors and path in self.changes:
            self.advise(str(value))

    def action_search(self) -> None:
        """Show the search and move the focus there."""
        self._show_search(True)
        self.query_one("#search").focus()

    def _show_search(self, shown: bool) -> None:
        field = self.query_one("#search", Field)
        field.display, field.disabled = shown, not shown

    @on(Field.Changed, "#search")
    def _searched(self) -> None:
        self._show_form()

    @on(Field.Submitted, "#search")
    def _to_form(self) -> None:
        self.query_one("#form").focus()

    def action_back(self) -> None:
        """Close the search, or leave the screen."""
        field = self.query_one("#search", Field)
        if field.display:
            field.value = ""
            self._show_search(False)
            self._to_form()
        else:
            super().action_back()

    def action_section(self, by: int) -> None:
        """Move the cursor to the first setting of the next section, or of this or the one before."""
        table = self.query_one("#form", Table)
        places = [place for place, row in enumerate(table.data.rows) if str(row.key).startswith("[")]
        after = [place for place in places if place > table.cursor]
        before = [place for place in places if place < table.cursor - 1]
        if found := after[:1] if by > 0 else before[-1:]:
            table.move_to(table.data.rows[found[0] + 1].key)

    def action_reset(self) -> None:
        """Set the setting under the cursor back to the preset's value."""
        self.changes.pop(str(self.query_one("#form", Table).key), None)
        self._keep_draft()
        self._check()

    def action_reset_all(self) -> None:
        """Set everything back: to the preset or, of a clone, to its run."""
        self.changes, self.labels = {}, dict.fromkeys(LABELS, "")
        self._keep_draft()
        if (row := self.sracl.row_of(self.clone)) is not None:
            self._cloned = flatten(row["config"])
            self.changes = changes_of(self._cloned, self.preset, imported=self._imported)
        self._check()

    def action_differences(self) -> None:
        """Show only settings that differ from the preset, or all."""
        self._only = not self._only
        self._draw()

    def action_preset(self, by: int) -> None:
        """Use the next preset; changed settings keep their values."""
        names = preset_names()
        self.preset = names[(names.index(self.preset) + by) % len(names)]
        self._keep_draft()
        self._check()

    def action_copy(self) -> None:
        """Copy the command that starts the same run."""
        self.copy(command_line(self.command_words()), "The command")

    def command_words(self) -> list[str]:
        """The command that starts the same run, by its words after `sracl`."""
        labels = {"name": "--name", "group": "--group"}
        words = ["run", "--preset", self.preset]
        for path, value in self.changes.items():
            words += ["--set", f"{path}={value_text(value)}"]
        for name, option in labels.items():
            words += [option, self.labels[name]] if self.labels[name] else []
        for tag in self.labels["tags"].split():
            words += ["--tag", tag]
        return words

    def action_start(self) -> None:
        """Start the run and open its screen."""
        assert self.config is not None
        self._start(self.config)

    @work(thread=True, exclusive=True, exit_on_error=False, group="start")
    def _start(self, config: Config) -> None:
        from sracl_tui.runs.execution.launch import launch
        from sracl_tui.runs.request import RunRequest, new_run_id

        labels = self.labels
        request = RunRequest(
            run_id=new_run_id(),
            config=config,
            preset=self.preset,
            name=labels["name"] or None,
            group=labels["group"] or None,
            tags=tuple(labels["tags"].split()),
        )
        try:
            run_id = launch(self.sracl.home, request).run_id
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Started("", error_text(error)))
        else:
            self.post_message(self.Started(run_id))

    @on(Started)
    def _watch(self, message: Started) -> None:
        if message.trouble:
            self.notify(message.trouble, severity="error", markup=False)
            return
        self.sracl.preferences.launch_drafts.pop(self.clone or "", None)
        self.sracl.open_run(message.run_id)
        self.sracl.did(self.command_words())


def _parsed(path: str, text: str) -> Any:
    """The value that a text means for a setting."""
    return parse_assignment(f"{path}={text}")[path] if text.strip() else ""
