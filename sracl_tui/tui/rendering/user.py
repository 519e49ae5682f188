"""A user as tables and text: items in order, the summary with its origin, neighbors with similarity and weight."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.text_charts import LEVELS
from sracl_tui.services.user_inspection import PHASES, Inspection
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

ITEMS = (
    Column("position", "#", right=True),
    Column("title", "title", flex=True, least=12),
    Column("when", "date"),
    Column("role", "as"),
)
NEIGHBORS = (
    Column("cosine", "#", right=True),
    Column("similarity", "cos", right=True),
    Column("weights", "#w", right=True),
    Column("moved", "±"),
    Column("weight", "weight", right=True),
    Column("bar", "- 1/k +", least=7),
    Column("user", "user", right=True),
    Column("titles", "its last items", flex=True, least=20, most=60),
)
HOLDS = {"has": "●", "next": "→"}
"""Signs of neighbors that have the target, and of those for whom it is next."""
BAR = 7
LONG_TITLES = {"weights": "weight rank", "moved": "change"}
TITLES_FROM, MOVED_FROM, LONG_FROM = 64, 72, 86
"""Columns of a terminal from which items' titles fit beside the numbers, the change of rank, and long names of the columns."""


def items_table(found: Inspection, *, shared: Collection[int] = (), marked: str = "●") -> TableData:
    """The items, oldest first; the prefix has a line at its left, its target an arrow, shared items a sign."""
    anchor = found.anchor
    rows = []
    for item in found.items:
        target = anchor is not None and item["position"] == anchor["position"] + 1
        sign = "→" if target else marked if item["item_id"] in shared else "│" if item["in_prefix"] else ""
        style = "accent" if target else "" if item["in_prefix"] else "dim"
        cells = (
            str(item["position"]),
            formatting.line(formatting.item_title(item["title"], item["item_id"])),
            f"{item['ts']:%y-%m-%d}" if item["ts"] else "",
            item["role"] or "",
        )
        rows.append(Row(item["position"], cells, ("dim", style, "dim", "accent" if target else "dim"), sign))
    return lay_out(ITEMS, rows)


def neighbors_table(found: Inspection, holders: dict[int, str], *, room: int) -> TableData:
    """The neighbors, most similar first.

    Args:
        holders: by neighbor, whether the user has the target or buys it next.
        room: width in columns; a narrow table is without titles of items and has short names of columns.
    """
    even = even_weight(found.neighbors)
    most = max((abs((n["weight"] or even) - even) for n in found.neighbors), default=0.0)
    columns = NEIGHBORS if room >= TITLES_FROM else NEIGHBORS[:-1]
    left_out = {"moved"} if TITLES_FROM <= room < MOVED_FROM else set()
    if room >= LONG_FROM:
        columns = tuple(replace(column, title=LONG_TITLES.get(column.key, column.title)) for column in columns)
    rows = [_neighbor(n, even, most, holders) for n in found.neighbors]
    kept = [place for place, column in enumerate(columns) if column.key not in left_out]
    return lay_out([columns[place] for place in kept], [_only(row, kept) for row in rows])


def _only(row: Row, places: Sequence[int]) -> Row:
    """The cells of some columns."""
    return replace(row, cells=tuple(row.cells[p] for p in places), styles=tuple(row.styles[p] for p in places))


def even_weight(neighbors: Sequence[dict[str, Any]]) -> float:
    """The weight of each of k neighbors if all were equal: 1/k."""
    return 1 / max(1, sum(n["weight"] is not None for n in neighbors))


def deviation_bar(weight: float | None, even: float, most: float, columns: int = BAR) -> str:
    """A weight as a bar on either side of an axis at 1/k: left of it what is below, as far as `most` from it at the edge."""
    half = (columns - 1) // 2
    by = 0.0 if weight is None or not most else (weight - even) / most
    side = formatting.bar(abs(by), half)
    left, right = (_mirrored(side), "") if by < 0 else ("", side)
    return f"{left:>{half}}│{right:<{half}}"


def _mirrored(bar: str) -> str:
    """A bar that grows to the left; cells have no eighths from the right, so the last one is a whole or half one."""
    full, rest = bar.count("█"), bar.strip("█")
    tip = "" if not rest or formatting.BLOCKS.index(rest) < 3 else "▐" if formatting.BLOCKS.index(rest) < 7 else "█"
    return tip + "█" * full


def _neighbor(neighbor: dict[str, Any], even: float, most: float, holders: dict[int, str]) -> Row:
    weight, place = neighbor["weight"], neighbor["weight_rank"]
    moved, style = move(neighbor)
    cells = (
        str(neighbor["cosine_rank"]),
        formatting.decimal(neighbor["similarity"], 3),
        "-" if place is None else str(place),
        moved,
        formatting.decimal(weight, 4),
        deviation_bar(weight, even, most),
        str(neighbor["neighbor_user_id"]),
        formatting.line("; ".join((neighbor["titles"] or [])[:3])),
    )
    sign = HOLDS.get(holders.get(neighbor["neighbor_id"], ""), "")
    return Row(neighbor["neighbor_id"], cells, ("dim", "", "", style, style, "live", "", "dim"), sign)


def move(neighbor: dict[str, Any]) -> tuple[str, str]:
    """How many places learning moved a neighbor, as arrow and number, and the style for it."""
    place = neighbor["weight_rank"]
    if place is None:
        return "", ""
    by = neighbor["cosine_rank"] - place
    return (f"▲{by}", "good") if by > 0 else (f"▼{-by}", "bad") if by < 0 else ("=", "dim")


def summary_text(summary: dict[str, Any] | None, *, of: str = "prefix", brief: bool = False) -> Text:
    """The summary, then who wrote it, from what prompt, with how many tokens, for how much.

    Args:
        of: what it is a summary of, in a word.
        brief: who wrote it in a line, and no more.
    """
    text = Text()
    if summary is None:
        text.append(f"This run has no summary of this {of}.", "dim")
        return text
    if summary["fallback"]:
        text.append("! fallback: the model failed, the offline rules stand in for it\n\n", "bold")
    text.append(formatting.text(summary["text"]) or "(an empty answer)")
    model = summary["model"] or "rules, no language model"
    if brief:
        text.append(
            f"\n\n{formatting.line(summary['provider'])}: {formatting.line(model)}, {formatting.dollars(summary['usd'])}"
        )
        return text
    text.append("\n\n")
    facts = {
        "provider": summary["provider"],
        "model": model,
        "prompt": summary["prompt_version"],
        "unit": _unit(summary["unit"]),
        "tokens": f"{summary['tokens_in'] or 0:,} in, {summary['tokens_out'] or 0:,} out, "
        f"{summary['tokens_cached'] or 0:,} cached",
        "price": formatting.dollars(summary["usd"]),
        "finish reason": summary["finish_reason"] or "-",
        "made": f"{formatting.moment(summary['created_at'])}, by run {summary['run_id'] or '-'}",
    }
    for name, value in facts.items():
        text.append(f"{name:<8} ", "bold")
        text.append(f"{formatting.line(value)}\n")
    text.rstrip()
    return text


def _unit(unit: str) -> str:
    every = unit.removeprefix("every-")
    return f"one per {unit}" if every == unit else f"one per {every} prefixes"


def ranks_text(found: Inspection) -> str:
    """The target's rank by split."""
    ranks = sorted(found.ranks.items(), reverse=True)
    return ", ".join(f"{formatting.SPLITS.get(split, split)} {rank:,}" for split, rank in ranks) or "not measured"


def recorded_text(found: Inspection, at: int | None) -> str:
    """The validation rank over the recorded epochs as a line, and that of the epoch that is shown; empty without records."""
    ranks = {record["epoch"]: record["rank"] for record in found.recorded}
    if not ranks:
        return ""
    heights = [math.log(max(1, rank)) for rank in ranks.values()]
    least, most = min(heights), max(heights)
    line = "".join(LEVELS[1 + round(7 * (height - least) / (most - least or 1.0))] for height in heights)
    first, last = min(ranks), max(ranks)
    text = f"validation rank over epochs: {first}: {ranks[first]:,} {line} {last}: {ranks[last]:,}"
    if at is None:
        return f"{text}   , . step through them"
    if at not in ranks:
        return f"{text}   epoch {at} is not recorded of this user"
    return f"{text}   epoch {at}: {ranks[at]:,}"


def agreement_text(found: Inspection, holders: dict[int, str]) -> Text:
    """How far the two orders agree, how even the weights are, and what signs beside neighbors mean."""
    text = orders_text(found.neighbors, found.spearman, found.entropy, found.note)
    counts = {word: sum(value == word for value in holders.values()) for word in HOLDS}
    if found.neighbors and found.anchor is not None:
        has, follows = (f"{HOLDS[word]} {counts[word]}" for word in ("has", "next"))
        text.append(f"\ntarget of the prefix: {has} have it, {follows} buy it next", "dim")
    return text


def orders_text(neighbors: list[dict[str, Any]], spearman: float | None, entropy: float | None, note: str = "") -> Text:
    """Rank correlation, entropy against log k, and a note."""
    text = Text()
    count = sum(n["weight"] is not None for n in neighbors)
    if count:
        even = f" (uniform: {math.log(count):.3f})" if count > 1 else ""
        agree = "- (equal or too few values)" if spearman is None else f"{spearman:+.2f}"
        spread = "-" if entropy is None else f"{entropy:.3f}{even}"
        text.append("Spearman ", "bold").append(f"{agree}   ")
        text.append("entropy ", "bold").append(spread)
    if note:
        text.append("\n" if count else "").append(formatting.text(note), "italic")
    return text


def neighbor_text(
    neighbor: dict[str, Any] | None, columns: int, epochs: dict[str, int], neighbors: Sequence[dict[str, Any]]
) -> Text:
    """A neighbor's weights over the training as deviations from 1/k, and its items, newest first."""
    text = Text()
    if neighbor is None:
        return text
    values = {
        "initial": neighbor["weight_initial"],
        "best": neighbor.get("weight_best", neighbor["weight"]),
        "last": neighbor["weight_last"],
    }
    even = even_weight(neighbors)
    most = max((abs((value or even) - even) for value in values.values()), default=0.0)
    text.append(f"user {neighbor['neighbor_user_id']}", "bold")
    text.append(f", items 1 to {neighbor['neighbor_position']}\n")
    for phase in PHASES:
        value = values[phase]
        name = "epoch 0" if phase == "initial" else f"{phase} {epochs.get(phase, '')}"
        drawn = deviation_bar(value, even, most, max(7, min(25, columns - 22)))
        text.append(f"{name:<9}{formatting.decimal(value, 4):>7} ").append(f"{drawn}\n", "dim")
    text.append("next item (target): ", "bold").append(f"{formatting.line(neighbor['next_title'] or '-')}\n")
    for title in (neighbor["titles"] or [])[:6]:
        text.append(f"- {formatting.line(title)}\n")
    text.rstrip()
    return text
