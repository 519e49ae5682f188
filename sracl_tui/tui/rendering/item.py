"""An item as tables and text: its substitutes with similarity and weight, who has it, what is known of it."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.item_inspection import ItemInspection
from sracl_tui.tui.rendering.user import BAR, move, summary_text
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

PLACE = Column("cosine", "#", right=True)
SIMILARITY = Column("similarity", "cos", right=True)
WEIGHED = (Column("weights", "#w", right=True), Column("moved", "±"), Column("weight", "weight", right=True))
REST = (
    Column("bar", "", least=BAR),
    Column("users", "users", right=True),
    Column("shared", "both", right=True),
    Column("title", "title", flex=True, least=20),
)
HOLDERS = (
    Column("user", "user", right=True),
    Column("raw", "id", flex=True, least=6),
    Column("when", "date"),
    Column("role", "as"),
)


def substitutes_table(found: ItemInspection) -> TableData:
    """The substitutes, most similar first; bars show the weight, or the similarity where nothing is weighed."""
    weighed = any(one["weight"] is not None for one in found.substitutes)
    name = "weight" if weighed else "similarity"
    most = max((one[name] or 0.0 for one in found.substitutes), default=0.0) or 1.0
    rows = []
    for one in found.substitutes:
        moved, style = move(one)
        cells = [str(one["cosine_rank"]), formatting.decimal(one["similarity"], 3)]
        styles = ["dim", ""]
        if weighed:
            place = one["weight_rank"]
            cells += ["-" if place is None else str(place), moved, formatting.decimal(one["weight"], 4)]
            styles += ["", style, style]
        cells += [formatting.bar((one[name] or 0.0) / most, BAR).ljust(BAR), str(one["users"]), str(one["shared"])]
        cells.append(formatting.line(title_of(one, one["neighbor_id"])))
        rows.append(
            Row(one["neighbor_id"], tuple(cells), (*styles, "live", "dim", "accent" if one["shared"] else "dim"))
        )
    return lay_out((PLACE, SIMILARITY, *(WEIGHED if weighed else ()), *REST), rows)


def holders_table(found: ItemInspection) -> TableData:
    """Users who have the item, with date and role."""
    rows = [
        Row(
            (one["user_id"], one["position"]),
            (
                str(one["user_id"]),
                formatting.line(one["raw_id"]),
                f"{one['ts']:%y-%m-%d}" if one["ts"] else "",
                one["role"] or "",
            ),
            ("strong", "dim", "dim", "accent" if one["role"] in ("valid", "test") else "dim"),
        )
        for one in found.holders
    ]
    return lay_out(HOLDERS, rows)


def item_text(found: ItemInspection) -> Text:
    """The summary with its origin, then the text that it was made from."""
    text = summary_text(found.summary, of="item")
    text.append("\n\nKnown of the item\n", "bold")
    text.append(formatting.text(found.item["text"]) or "nothing: the source has no text")
    return text


def substitute_text(one: dict[str, Any] | None) -> Text:
    """Title, users in common and text of a substitute."""
    text = Text()
    if one is not None:
        text.append(formatting.line(title_of(one, one["neighbor_id"])), "bold")
        who = "user has" if one["users"] == 1 else "users have"
        text.append(f"\n{one['users']:,} {who} it, {one['shared']:,} with both items\n", "dim")
        text.append(formatting.text(one["text"]) or "The source has no text of it.")
    return text


def title_of(row: dict[str, Any], item_id: int) -> str:
    """The title, or the number where there is none."""
    return formatting.item_title(row["title"], item_id)
