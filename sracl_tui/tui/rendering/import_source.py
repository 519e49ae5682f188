"""How a source of data is shown before it is imported: what is read, its first rows, the options, what would be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.dataset_import import FIELDS, Imported, Step, text_of
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

if TYPE_CHECKING:
    from engine.data.preview import Preview
    from engine.data.readers.base import Head
    from sracl_tui.services.import_form import Draft

WIDEST = 44
FORM = (
    Column("option", "option"),
    Column("value", "value", most=20, least=8),
    Column("told", "what it is", flex=True, least=24),
)
ROLES = {"user": "user", "item": "item", "time": "time", "title": "title"}


def source_text(draft: Draft) -> Text:
    """What is read of a source, or why nothing is."""
    found = draft.found
    if found is None:
        browsing = draft.path is not None and draft.path.is_dir()
        return Text(formatting.text(draft.trouble), "italic" if browsing else "bold")
    text = Text()
    text.append(formatting.line(found.file.name), "bold")
    text.append(f"  {found.format}, {formatting.bytes_text(found.size)}{_rows(found)}\n")
    roles = {name: getattr(found.head.roles, name) for name in ROLES}
    text.append(formatting.line("   ".join(f"{name}: {column}" for name, column in roles.items() if column)))
    if found.items is not None and found.items_head is not None:
        text.append("\n")
        text.append(formatting.line(f"texts: {found.items.name} ({', '.join(found.items_head.names)})"))
    for warning in found.warnings:
        text.append(f"\n! {formatting.line(warning)}", "italic")
    if draft.trouble:
        text.append(formatting.text(f"\n✗ {draft.trouble}"), "bold")
    return text


def _rows(found: Preview) -> str:
    if found.head.total is not None:
        return f", {found.head.total:,} rows"
    return f", about {_round(found.head.about):,} rows" if found.head.about else ""


def _round(count: int) -> int:
    """Round to two digits: an estimate has no more."""
    return (
        int(f"{count:.1e}".split("e")[0].replace(".", "")) * 10 ** max(0, len(str(count)) - 2) if count > 99 else count
    )


def rows_table(head: Head | None) -> TableData:
    """The first rows, with what each column is read as."""
    if head is None:
        return TableData()
    roles = {getattr(head.roles, name): name for name in ROLES} if head.roles else {}
    columns = [
        Column(
            str(place),
            formatting.line(f"{name} = {roles[name]}" if name in roles and roles[name] != name else name),
            most=WIDEST,
        )
        for place, name in enumerate(head.names)
    ]
    rows = []
    for number, cells in enumerate(head.rows):
        cells = [*cells, *[""] * len(columns)][: len(columns)]
        styles = tuple("" if name in roles or not head.roles else "dim" for name in head.names)
        rows.append(Row(number, tuple(formatting.line(cell) for cell in cells), styles))
    return lay_out(columns, rows)


def read_table(kept: Imported) -> TableData:
    """The first interactions as they are read."""
    columns = [Column(name, "time (UTC)" if name == "time" else name, most=WIDEST) for name in ROLES]
    rows = [
        Row(place, tuple(formatting.line(row[name] or "") for name in ROLES)) for place, row in enumerate(kept.first)
    ]
    return lay_out(columns, rows)


def form_table(draft: Draft) -> TableData:
    """The import options as a table; an error replaces the help of its option."""
    errors, changed, rows = draft.errors, draft.changed, []
    for field in FIELDS:
        wrong, value = errors.get(field.key, ""), draft.values[field.key]
        text = f"✗ {formatting.line(wrong)}" if wrong else field.help
        styles = ("strong" if field.key == "name" else "", "accent", "bad" if wrong else "dim")
        sign = "✗" if wrong else "*" if field.key in changed else ""
        rows.append(Row(field.key, (field.key, _value_text(draft.found, field.key, value), text), styles, sign))
    return lay_out(FORM, rows)


def _value_text(found: Preview | None, key: str, value: Any) -> str:
    """A value; in brackets what was found by itself."""
    if value is not None or found is None:
        return formatting.line(text_of(key, value)) or "none"
    known: dict[str, Any] = {f"{name}_column": getattr(found.head.roles, name) for name in ROLES}
    known |= {"title_column": found.title, "items": found.items and found.items.name, "format": found.format}
    return f"({formatting.line(known[key])})" if known.get(key) else "none"


def kept_text(message: Step | Imported, sets: Mapping[str, str]) -> Text:
    """What would be kept, or how far the counting is."""
    if isinstance(message, Step):
        return Text(
            formatting.line(
                f"counting {formatting.bar((message.done + 1) / message.total, 10).ljust(10)} {message.detail}"
            )
        )
    text = Text()
    text.append(
        f"keeps {message.users:,} users, {message.items:,} items, {message.interactions:,} interactions", "bold"
    )
    text.append(
        f" of {message.rows_read:,} rows; {message.with_text:,} items with text, {message.tied:,} users tied at the end"
    )
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in message.dropped.items())
    text.append(f"\ndrops {dropped}" if dropped else "\ndrops nothing")
    if message.dataset_id in sets:
        text.append(formatting.line(f"; this very content is here already, as {sets[message.dataset_id]}"), "bold")
    for warning in message.warnings:
        text.append(f"\n! {formatting.line(warning)}", "italic")
    return text
