"""A history, neighbors and what a model ranks, as they are and as they would be."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.scoring import Answer
from sracl_tui.services.user_recommendations import LISTED
from sracl_tui.services.what_if import WhatIf
from sracl_tui.tui.rendering.user import deviation_bar
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

NUMBER = Column("number", "#", right=True)
TITLE = Column("title", "title", flex=True, least=16)
STEPS = (NUMBER, TITLE, Column("state", ""))
NEIGHBORS = (
    Column("user", "user", right=True),
    Column("weight", "weight", right=True),
    Column("bar", "- 1/k +", least=7),
    Column("title", "its last item", flex=True, least=16),
)
ANEW = (Column("was", "was", right=True), Column("cos", "cos", right=True), *NEIGHBORS)
"""Of neighbors that were searched anew."""
RANKED = (
    NUMBER,
    Column("moved", "±"),
    TITLE,
    Column("score", "score", right=True),
    Column("sample", "# by h+", right=True),
)


def steps_table(bench: WhatIf) -> TableData:
    """The history, oldest first; what is left out has a cross, what was added a plus."""
    rows = []
    for place, step in enumerate(bench.steps):
        state = "added" if step.added else "" if step.kept else "left out"
        sign = "+" if step.added else "" if step.kept else "×"
        style = "good" if step.added else "" if step.kept else "dim"
        title = formatting.line(formatting.item_title(step.title, step.item_id))
        rows.append(Row(place, (str(place + 1), title, state), ("dim", style, style), sign))
    return lay_out(STEPS, rows)


def neighbors_table(bench: WhatIf, first: WhatIf) -> TableData:
    """The neighbors with the weights that count, as deviations from 1/k of those that are kept.

    With another summary than at `first` also where each was then, and below them those that are none any more.
    """
    weights = bench.weights
    even = 1 / max(1, sum(one.kept for one in bench.neighbors))
    kept = [weight for one, weight in zip(bench.neighbors, weights, strict=True) if one.kept]
    most = max((abs(weight - even) for weight in kept), default=0.0)
    rows = []
    for place, (one, weight) in enumerate(zip(bench.neighbors, weights, strict=True)):
        cells = (
            str(one.user_id),
            formatting.decimal(weight, 4) if one.kept else "-",
            deviation_bar(weight, even, most) if one.kept else "",
            formatting.line(one.title),
        )
        style = "" if one.kept else "dim"
        rows.append(Row(place, cells, (style, style, "live", style or "dim"), "" if one.kept else "×"))
    return lay_out(NEIGHBORS, rows) if bench.summary is None else _anew(rows, bench, first)


def _anew(rows: list[Row], bench: WhatIf, first: WhatIf) -> TableData:
    """Rows of neighbors with their ranks of before, then those that have left."""
    before = {(one.user_id, one.position): place for place, one in enumerate(first.neighbors, 1)}
    found: list[Row] = []
    for row, one in zip(rows, bench.neighbors, strict=True):
        was = before.pop((one.user_id, one.position), None)
        cells = ("new" if was is None else str(was), formatting.decimal(one.similarity, 3), *row.cells)
        found.append(Row(row.key, cells, ("good" if was is None else "dim", "", *row.styles), row.sign))
    for place in before.values():
        one = first.neighbors[place - 1]
        cells = (
            str(place),
            formatting.decimal(one.similarity, 3),
            str(one.user_id),
            "gone",
            "",
            formatting.line(one.title),
        )
        found.append(Row(f"gone {place}", cells, ("bad", *["dim"] * 5), "-"))
    return lay_out(ANEW, found)


def ranked_table(before: Answer, now: Answer, bench: WhatIf, titles: Mapping[int, str]) -> TableData:
    """The first items now, how each has moved, and their ranks by h+; the target below where it is not among them.

    Args:
        before: the answer for the user as they are; it ranks the items of `now`, too.
    """
    listed: list[int] = list(now.model.items)
    if bench.target is not None and bench.target not in listed:
        listed.append(bench.target)
    ranks = {item: place for place, item in enumerate(now.model.items, 1)}
    ranks |= {item: rank for item, rank in now.model.ranks.items() if item == bench.target}
    scores = dict(zip(now.model.items, now.model.scores, strict=True)) | now.model.own_scores
    rows = []
    for item in listed:
        moved, style = moved_text(before.model.ranks.get(item), ranks[item])
        target = item == bench.target
        by_sample = now.sample.ranks.get(item) if now.sample else None
        cells = (
            f"{ranks[item]:,}",
            moved,
            formatting.line(formatting.item_title(titles.get(item), item)),
            formatting.decimal(scores[item], 2),
            "-" if by_sample is None else f"{by_sample:,}",
        )
        rows.append(
            Row(item, cells, ("strong", style, "accent" if target else "", "dim", "dim"), "→" if target else "")
        )
    return lay_out(RANKED, rows)


def moved_text(before: int | None, now: int) -> tuple[str, str]:
    """By how many ranks an item has moved, and the style for it."""
    if before is None or before == now:
        return "=" if before else "", "dim"
    by = before - now
    return (f"▲{by:,}", "good") if by > 0 else (f"▼{-by:,}", "bad")


BY_SUMMARY = "The summary moves neighbors and the sample h+ that trains the model; the recommendations take the history alone and stay."


def effect_text(before: Answer, now: Answer, bench: WhatIf, first: WhatIf, seconds: float) -> Text:
    """The target's rank by the model and by h+, and how near h+ is, before and now."""
    text = Text()
    if bench.target is not None:
        target = bench.target
        text.append("target ", "bold").append(f"{formatting.line(bench.target_title) or f'item {target}'}\n")
        text.append("rank ", "bold").append(_change(before.model.ranks[target], now.model.ranks[target]))
        if before.sample and now.sample:
            text.append("   by h+ ", "bold").append(_change(before.sample.ranks[target], now.sample.ranks[target]))
        text.append("\n")
    if before.cosine is not None and now.cosine is not None:
        text.append("cos(h, h+) ", "bold").append(f"{before.cosine:.4f} → {now.cosine:.4f}\n")
    gone = len(set(before.model.items) - set(now.model.items))
    text.append(f"{gone} of the first {LISTED} are others", "dim" if not gone else "bold")
    text.append(f"   answered in {seconds * 1000:.0f} ms\n", "dim")
    if bench.summary is not None and bench.neighbors:
        text.append(f"{moved_neighbors(bench, first)} {BY_SUMMARY}", "italic")
    elif bench.neighbors:
        text.append(
            "Neighbors make the sample h+ that trains the model: changing them moves h+, not the recommendations.",
            "italic",
        )
    return text


def moved_neighbors(bench: WhatIf, first: WhatIf) -> str:
    """How many neighbors are others than before."""
    before = {(one.user_id, one.position) for one in first.neighbors}
    new = sum((one.user_id, one.position) not in before for one in bench.neighbors)
    return f"{new} of {len(bench.neighbors)} neighbors are others."


def _change(before: int, now: int) -> str:
    moved, _ = moved_text(before, now)
    return f"{before:,} → {now:,} {'(unchanged)' if moved == '=' else f'({moved})'}"
