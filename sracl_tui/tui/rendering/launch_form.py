"""The settings of a run before it is one as a form: sections, what a setting may be, and lines that fit a text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from engine.config import flatten
from engine.config_files import load_config
from engine.errors import ConfigError
from engine.setting_paths import choices, setting_fields
from sracl_tui import formatting
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

COLUMNS = (
    Column("path", "setting"),
    Column("value", "value", most=28, least=10),
    Column("base", "preset's", most=14),
    Column("help", "what it is", flex=True, least=30),
)
LABELS = {
    "name": "A name to find the run by.",
    "group": "Runs that belong together.",
    "tags": "Words, with spaces between.",
}
SECTIONS = {
    "data": "which data set, and what of it",
    "semantics": "summaries and their vectors",
    "retrieval": "which neighbors are found",
    "synthesizer": "how neighbors become a view",
    "model": "the backbone",
    "method": "what is trained, and how the losses add up",
    "parts": "the losses",
    "loss": "weights of the losses",
    "train": "steps, rates and stopping",
    "evaluate": "metrics and cutoffs",
    "record": "users over the epochs, for the Inspector",
}
"""What a section of settings is about."""


@dataclass(frozen=True)
class Form:
    """What the form shows: values of the preset, what is changed, and what is wrong with it."""

    base: Mapping[str, Any]
    changes: Mapping[str, Any]
    errors: Mapping[str, str]
    labels: Mapping[str, str]
    fields: Mapping[str, FieldInfo]

    def table(self, *, only_changed: bool, wanted: str) -> TableData:
        """The settings in sections; of those only what is changed or wrong, or what has all words of a text."""
        words = wanted.lower().split()
        rows: list[Row] = []
        labels = [(name, self._label(name, text)) for name, text in LABELS.items()]
        rows += [row for name, row in labels if _fits(words, name, LABELS[name])]
        section = ""
        for path in self.base:
            if only_changed and path not in self.changes and path not in self.errors:
                continue
            if not _fits(words, path, help_of(path, self.fields[path])):
                continue
            if path.partition(".")[0] != section:
                section = path.partition(".")[0]
                rows.append(_heading(section))
            rows.append(self._setting(path))
        return lay_out(COLUMNS, rows)

    def _label(self, name: str, text: str) -> Row:
        return Row(name, (name, formatting.line(self.labels[name]), "", text), ("strong", "accent", "", "dim"))

    def _setting(self, path: str) -> Row:
        changed, wrong = path in self.changes, self.errors.get(path, "")
        value = self.changes.get(path, self.base[path])
        text = f"✗ {formatting.line(wrong)}" if wrong else help_of(path, self.fields[path])
        cells = (path, value_text(value), value_text(self.base[path]) if changed else "", text)
        styles = ("", "accent" if changed else "", "dim", "bad" if wrong else "dim")
        return Row(path, cells, styles, "✗" if wrong else "*" if changed else "")

    def explanation(self, path: str) -> str:
        """All that is to be said of a line: the error, the description, what the value may be, and the preset's."""
        if path in LABELS:
            return f"{path}: {LABELS[path]}"
        if path not in self.base:
            return ""
        wrong = f"✗ {self.errors[path]}\n" if path in self.errors else ""
        default = f"\nThe preset's value is {value_text(self.base[path])}." if path in self.changes else ""
        return formatting.text(f"{wrong}{path}: {help_of(path, self.fields[path])}{default}")


def _heading(section: str) -> Row:
    return Row(f"[{section}]", (section, "", "", SECTIONS.get(section, "")), ("accent", "", "", "accent"), "─")


def _fits(words: list[str], *texts: str) -> bool:
    text = " ".join(texts).lower()
    return all(word in text for word in words)


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


def listed_values(path: str, field: FieldInfo) -> tuple[str, ...]:
    """The values that are chosen from a list, as they are typed; empty where any may be typed."""
    if field.annotation is bool:
        return "true", "false"
    return tuple(map(value_text, choices(path))) if path in setting_fields() else ()


def value_text(value: Any) -> str:
    """A value in the form in which it is typed; words of a list with commas between."""
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return formatting.line(",".join(value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else formatting.line(value)


def plan_text(found: Mapping[str, Any]) -> str:
    """A preview: which stages are cached, and estimates of time and cost."""
    lines = [
        f"{'reused ' if stage['cached'] else 'to do  '} {stage['stage']:<10} {stage['detail']}, {formatting.clock(stage['seconds'])}"
        for stage in found["stages"]
    ]
    low, high = (formatting.dollars(found["usd"][edge]) for edge in ("low", "high"))
    usd, time = low if low == high else f"{low} to {high}", formatting.clock(60 * found["minutes"])
    lines.append(f"prompts {found['prompts']:,}, cached {found['cached']:,}, identical {found['identical']:,}")
    return "\n".join([*lines, f"{usd}, about {time}: {found.get('basis', '')}"])


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
