"""What a model recommends to a user, as a table and a line."""

from __future__ import annotations

from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.user_recommendations import LISTED, At, Recommended, RecommendedItem
from sracl_tui.tui.rendering.user import HOLDS
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

WHERE: dict[At, str] = {
    "test": "before the test item",
    "valid": "before the validation item",
    "prefix": "after this prefix",
}
TARGET: dict[At, str] = {"test": "test target:", "valid": "validation target:", "prefix": "target of this prefix:"}
RANK, TITLE = Column("rank", "#", right=True), Column("title", "title", flex=True, least=16)
SCORE, SECOND = Column("score", "score", right=True), Column("second", "# in B", right=True)
NEIGHBORS = Column("neighbors", "neigh.")


def recommended_table(found: Recommended, *, beside: bool = False) -> TableData:
    """Items by rank: an arrow marks the target, a line what the history has.

    Args:
        beside: whether there is a second run.
    """
    columns = (RANK, TITLE, SCORE, *((SECOND,) if beside else ()), NEIGHBORS)
    return lay_out(columns, [_row(item, beside) for item in found.items])


def _row(item: RecommendedItem, beside: bool) -> Row:
    second = ((f"{item.second_rank:,}" if item.second_rank is not None else "-"),) if beside else ()
    cells = (
        f"{item.rank:,}",
        formatting.line(formatting.item_title(item.title, item.item_id)),
        formatting.decimal(item.score, 2),
        *second,
        neighbors_text(item),
    )
    style = "accent" if item.target else "dim" if item.seen else ""
    sign = "→" if item.target else "│" if item.seen else ""
    return Row(item.item_id, cells, (style or "strong", style, "dim", *([""] if beside else []), "live"), sign)


def neighbors_text(item: RecommendedItem) -> str:
    """How many neighbors have the item (●), and for how many it is next (→)."""
    counts = ((HOLDS["has"], item.has), (HOLDS["next"], item.next))
    return " ".join(f"{sign}{count}" for sign, count in counts if count) or "-"


def recommended_text(found: Recommended, names: tuple[str, str] | None) -> Text:
    """Where the target stands, and what is above it.

    Args:
        names: of the run and of a second one, if there is one.
    """
    if not found.items:
        return Text(f"There is nothing {WHERE[found.at]}: this user is too short.", "italic")
    text = Text()
    target = found.target
    if target is None:
        text.append(f"No item follows {WHERE[found.at]}.")
    else:
        text.append(f"{TARGET[found.at]} ", "bold").append(
            f"rank {target.rank:,}, score {formatting.decimal(target.score, 2)}"
        )
        if target.rank > LISTED:
            text.append(f"; rank {LISTED}: {formatting.decimal(found.items[LISTED - 1].score, 2)}", "dim")
        if names and target.second_rank is not None:
            text.append(f"   B {formatting.fit(formatting.line(names[1]), 20)}: rank {target.second_rank:,}")
    if found.second_why:
        text.append(f"\nB: {formatting.line(found.second_why)}", "italic")
    return text
