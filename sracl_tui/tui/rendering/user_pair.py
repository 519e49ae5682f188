"""The neighbors of one user in two runs beside each other, a line for each neighbor that either has."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.user_inspection import Inspection
from sracl_tui.tui.rendering.user import deviation_bar, even_weight, ranks_text
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

BAR = 4
COLUMNS = (
    Column("a", "in A", right=True),
    Column("a_weight", "weight", right=True),
    Column("a_bar", "", least=BAR),
    Column("b", "in B", right=True),
    Column("b_weight", "weight", right=True),
    Column("b_bar", "", least=BAR),
    Column("user", "user", right=True),
    Column("target", "target"),
    Column("titles", "its last items", flex=True, least=16, most=60),
)


def pair_table(a: Inspection, b: Inspection, holders: dict[int, str]) -> TableData:
    """Neighbors in A's order, then those that only B has."""
    sides = [{n["neighbor_id"]: n for n in found.neighbors} for found in (a, b)]
    even = [even_weight(found.neighbors) for found in (a, b)]
    most = max(
        (abs((n["weight"] or one) - one) for side, one in zip(sides, even, strict=True) for n in side.values()),
        default=0.0,
    )
    rows = []
    for neighbor_id in dict.fromkeys([*sides[0], *sides[1]]):
        here, there = sides[0].get(neighbor_id), sides[1].get(neighbor_id)
        known: dict[str, Any] = here or there or {}
        sign = "" if here and there else "A" if here else "B"
        cells = (
            *_side(here, even[0], most),
            *_side(there, even[1], most),
            str(known["neighbor_user_id"]),
            holders.get(neighbor_id, "-"),
            formatting.line("; ".join((known["titles"] or [])[:3])),
        )
        style = _style(here, there)
        rows.append(Row(neighbor_id, cells, ("", "", "live", "", style, "live", "", "accent", "dim"), sign))
    return lay_out(COLUMNS, rows)


def _side(neighbor: dict[str, Any] | None, even: float, most: float) -> tuple[str, str, str]:
    """Rank by similarity and by weight, the weight, a bar of its deviation from 1/k."""
    if neighbor is None:
        return "-", "-", " " * BAR
    weight, place = neighbor["weight"], neighbor["weight_rank"]
    moved = f"{neighbor['cosine_rank']}→{'-' if place is None else place}"
    return moved, formatting.decimal(weight, 4), deviation_bar(weight, even, most, BAR)


def _style(here: dict[str, Any] | None, there: dict[str, Any] | None) -> str:
    """Whether B weighs the neighbor more than A, or less."""
    if not here or not there or here["weight"] is None or there["weight"] is None or here["weight"] == there["weight"]:
        return ""
    return "good" if there["weight"] > here["weight"] else "bad"


def pair_text(a: Inspection, b: Inspection, names: tuple[str, str]) -> Text:
    """Each run's ranks of the target, agreement of its two orders, and entropy."""
    text = Text()
    shared = {n["neighbor_id"] for n in a.neighbors} & {n["neighbor_id"] for n in b.neighbors}
    for letter, found, name in zip("AB", (a, b), names, strict=True):
        agree = "-" if found.spearman is None else f"{found.spearman:+.2f}"
        spread = "-" if found.entropy is None else f"{found.entropy:.3f}"
        text.append(f"{letter} ", "bold").append(formatting.fit(formatting.line(name), 20))
        text.append(f" target {ranks_text(found)}  Spearman {agree}  entropy {spread}\n")
    text.append(f"{formatting.count(len(shared), 'neighbor')} in both", "italic")
    notes = [
        f"{letter}: {formatting.line(found.note)}" for letter, found in zip("AB", (a, b), strict=True) if found.note
    ]
    text.append("".join(f"\n{note}" for note in notes), "italic")
    return text
