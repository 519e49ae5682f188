"""A run before it is one: the settings as a form made from the config's schema, a preview, the start."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic.fields import FieldInfo
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from engine.config import Config, flatten
from engine.config_files import load_config, parse_assignment, preset_description, preset_names
from engine.errors import ConfigError, EngineError
from engine.method_table import METHODS
from engine.setting_paths import choices, fields_of_own_parts, setting_fields
from sracl_tui import formatting
from sracl_tui.tui.navigation import Navigation
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.dialogs import PromptDialog
from sracl_tui.tui.widgets.table import Column, Row, Table, lay_out
from store.errors import StoreError

COLUMNS = (
    Column("path", "setting"),
    Column("value", "value", most=28, least=10),
    Column("base", "preset's", most=14),
    Column("help", "what it is", flex=True, least=30),
)
WORDS = {
    "name": "A name to find the run by.",
    "group": "Runs that belong together.",
    "tags": "Words, with spaces between.",
}


def range_of(path: str, field: FieldInfo) -> str:
    """Allowed values of a setting: `one of a, b`, `>= 1, <= 1000`; empty for any value."""
    listed = choices(path) if path in setting_fields() else ()
    if listed:
        return "one of " + ", ".join(map(str, listed))
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    parts = [f"{sign} {getattr(m, name)}" for m in field.metadata for name, sign in signs.items() if hasattr(m, name)]
    return ", ".join([*parts, *(["none is possible"] if "None" in str(field.annotation) else [])])


def help_of(path: str, field: FieldInfo) -> str:
    """A setting's description and its range."""
    limits = range_of(path, field)
    return formatting.line(field.description or "") + (f" ({limits})" if limits else "")


def changes_of(own: Mapping[str, Any], preset: str, *, imported: Collection[str]) -> dict[str, Any]:
    """What to set beside a preset for the settings of a run, by path: in what it differs from the preset and from its method.

    Args:
        own: the settings as they are stored; those that no longer exist are left out.
        imported: methods that can be looked at; of another one it is not known in what it differs from the preset.
    """
    usual = load_config(preset=preset)[0]
    base, name = flatten(usual.model_dump(mode="json")), own.get("method.name", usual.method.name)
    if name in imported:
        with suppress(ConfigError):  # told when the settings are checked
            base = flatten(load_config(preset=preset, settings={"method.name": name})[0].model_dump(mode="json"))
    base["method.name"] = usual.method.name
    known = [path for path in own if path in base or path.startswith("parts.")]
    return {path: own[path] for path in known if base.get(path) != own[path]}


class LaunchScreen(BaseScreen):
    """A form of all settings, a preview of stages, time and cost, and the start of a run."""

    NAME = "Launch"
    ABOUT = (
        "enter edits the setting under the cursor; an error stands at it. The preview says what earlier runs have done "
        "already and how long the rest may take. The run is a process of its own: closing the app does not stop it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start"),
        Binding("v", "preview", "Preview"),
        Binding("p", "preset(1)", "Preset"),
        Binding("P", "preset(-1)", "Preset before", show=False),
        Binding("d", "differences", "Only changed"),
        Binding("z", "reset", "Reset value"),
        Binding("y", "copy", "Copy as command", show=False),
    ]

    @dataclass
    class Planned(Message):
        """The preview, as text."""

        text: str

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
        self._clone = clone
        self.preset = "default"
        self.changes: dict[str, Any] = {} if dataset in (None, Config().data.dataset) else {"data.dataset": dataset}
        """What differs from the preset, by path."""
        self.labels = dict.fromkeys(WORDS, "")
        self.errors: dict[str, str] = {}
        self.config: Config | None = None
        self._only = False
        self._cloned: dict[str, Any] | None = None
        """Settings of the run that is cloned, until one is edited."""
        self._fields = setting_fields()
        """The field of every setting in the form."""
        self._imported = set(METHODS.ours)

    def body(self) -> ComposeResult:
        """Form above, preview below."""
        yield Static("", id="preset", markup=False)
        yield Table(id="form", empty="Identical to the preset: d shows all settings.")
        with VerticalScroll(id="preview-scroll"):
            yield Static("v: preview cached stages, time and cost", id="preview", markup=False)

    def on_mount(self) -> None:
        """Settings of the preset, or of the run that is cloned."""
        self.query_one("#form").focus()
        row = self.sracl.row_of(self._clone)
        if row is not None:
            self.preset = row["preset"] if row["preset"] in preset_names() else "default"
            self._cloned = flatten(row["config"])
            self.changes = changes_of(self._cloned, self.preset, imported=self._imported)
        self._check()

    @property
    def method(self) -> str:
        """The method that is chosen here, or the preset's."""
        return str(self.changes.get("method.name", load_config(preset=self.preset)[0].method.name))

    def _base(self) -> dict[str, Any]:
        """What every setting is unless it is changed here: by the preset and the method, and by the method's own parts."""
        preset, self._fields = load_config(preset=self.preset)[0], setting_fields()
        base = flatten(preset.model_dump(mode="json"))
        if self.method == preset.method.name or self.method not in self._imported:
            return base
        try:
            config = load_config(preset=self.preset, settings={"method.name": self.method})[0]
        except ConfigError:
            return base
        own = fields_of_own_parts(config)
        self._fields = setting_fields() | own
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
        except ConfigError as error:
            self.config = None
            for problem in error.message.splitlines():
                path, _, what = problem.partition(": ")
                self.errors[path] = what
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
        rows = [
            Row(name, (name, formatting.line(self.labels[name]), "", text), ("strong", "accent", "", "dim"))
            for name, text in WORDS.items()
        ]
        for path, value in base.items():
            if self._only and path not in self.changes and path not in self.errors:
                continue
            changed, wrong = path in self.changes, self.errors.get(path, "")
            shown = self.changes.get(path, value)
            text = f"✗ {formatting.line(wrong)}" if wrong else help_of(path, self._fields[path])
            cells = (path, _value_text(shown), _value_text(value) if changed else "", text)
            look = "bad" if wrong else "dim"
            rows.append(
                Row(
                    path,
                    cells,
                    ("", "accent" if changed else "", "dim", look),
                    "✗" if wrong else "*" if changed else "",
                )
            )
        self.query_one("#form", Table).show(lay_out(COLUMNS, rows))
        left = [f"{path}: {what}" for path, what in self.errors.items() if path not in base]
        self.query_one("#preset", Static).update(
            formatting.line(f"preset {self.preset}: {preset_description(self.preset)}   {'; '.join(left)}")
        )
        self.set_title(
            f"clone of {self._clone}" if self._clone else f"{len(self.changes)} settings differ from the preset"
        )
        self.refresh_bindings()

    def disabled_reason(self, action: str) -> str:
        """A config with errors cannot be started."""
        if action in ("start", "preview", "copy") and self.config is None:
            return "A setting has an error: see the line with ✗."
        return ""

    @on(Table.Chosen, "#form")
    def _edit(self, message: Table.Chosen) -> None:
        path = str(message.key)
        if path in WORDS:
            self.app.push_screen(
                PromptDialog(f"{path}: {WORDS[path]}", value=self.labels[path]), lambda text: self._label(path, text)
            )
            return
        value = self.changes.get(path, self._base()[path])
        self.app.push_screen(
            PromptDialog(path, value=_value_text(value), hint=help_of(path, self._fields[path])),
            lambda text: self._set(path, text),
        )

    def _label(self, name: str, text: str | None) -> None:
        if text is not None:
            self.labels[name] = text.strip()
            self._draw()

    def _set(self, path: str, text: str | None) -> None:
        if text is None:
            return
        self._cloned = None
        value = parse_assignment(f"{path}={text}")[path] if text.strip() else ""
        base = self._base()[path]
        self.changes.pop(path, None)
        same = _value_text(value) == _value_text(base) if isinstance(base, list) else value == base
        if not same or (type(value) is not type(base) and not isinstance(base, list)):
            self.changes[path] = value
        self._check()

    def action_reset(self) -> None:
        """Set the setting under the cursor back to the preset's value."""
        self.changes.pop(str(self.query_one("#form", Table).key), None)
        self._check()

    def action_differences(self) -> None:
        """Show only settings that differ from the preset, or all."""
        self._only = not self._only
        self._draw()

    def action_preset(self, by: int) -> None:
        """Use the next preset; changed settings keep their values."""
        names = preset_names()
        self.preset = names[(names.index(self.preset) + by) % len(names)]
        self._check()

    def action_copy(self) -> None:
        """Copy the command that starts the same run."""
        given = " ".join(f"--set '{path}={_value_text(value)}'" for path, value in self.changes.items())
        self.copy(f"sracl run --preset {self.preset} {given}".strip(), "Command")

    def action_preview(self) -> None:
        """Show which stages are cached, and estimates of time and cost."""
        assert self.config is not None
        self.query_one("#preview", Static).update("checking the cache ...")
        self._plan(self.config)

    @work(thread=True, exclusive=True, exit_on_error=False, group="plan")
    def _plan(self, config: Config) -> None:
        from sracl_tui.services.run_plan import plan

        try:
            found = plan(self.sracl.home, config)
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Planned(f"✗ {error}"))
            return
        lines = [
            f"{'reused ' if stage['cached'] else 'to do  '} {stage['stage']:<10} {stage['detail']}, {formatting.clock(stage['seconds'])}"
            for stage in found["stages"]
        ]
        usd = found["usd"]
        lines.append(f"prompts {found['prompts']:,}, cached {found['cached']:,}, identical {found['identical']:,}")
        lines.append(
            f"{formatting.dollars(usd['low'])} to {formatting.dollars(usd['high'])}, about {found['minutes']} minutes: {found.get('basis', '')}"
        )
        self.post_message(self.Planned("\n".join(lines)))

    @on(Planned)
    def _show_plan(self, message: Planned) -> None:
        self.query_one("#preview", Static).update(formatting.text(message.text))

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
            self.post_message(self.Started("", str(error)))
        else:
            self.post_message(self.Started(run_id))

    @on(Started)
    def _watch(self, message: Started) -> None:
        if message.trouble:
            self.notify(message.trouble, severity="error", markup=False)
        else:
            self.sracl.open_run(message.run_id)


def _value_text(value: Any) -> str:
    """A value in the form in which it is typed; words of a list with commas between."""
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return formatting.line(",".join(value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else formatting.line(value)
