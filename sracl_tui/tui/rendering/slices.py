"""Slices of users as a table with a forest plot of characters, and one of them in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.metric_registry import oriented, title, value_text
from sracl_tui import formatting
from sracl_tui.services.comparison_table import CONCLUSIONS, p_text
from sracl_tui.services.slice_table import cells, interval_text, plot_line, reach_of
from sracl_tui.services.slicings import ABOUT
from sracl_tui.tui.rendering.comparison import VERDICTS
from sracl_tui.tui.widgets.table import GAP, GUTTER, Column, Row, TableData, lay_out

if TYPE_CHECKING:
    from sracl_tui.services.slices import Slice, SliceReport

PLOT = 21
"""Characters of the plot at least; odd, so that 0 is in the middle of one."""
EVERYONE = ("", 0)
"""Key of the row of all users; a slice has its way to slice and its place, a heading only the way."""
Key = tuple[str, int]
_COLUMNS = {
    "slice": Column("slice", "slice", least=30, most=34),
    "users": Column("users", "users", right=True),
    "a": Column("a", "A", right=True),
    "b": Column("b", "B", right=True),
    "difference": Column("difference", "B - A", right=True),
    "interval": Column("interval", "95 % interval", right=True),
    "p": Column("p", "p", right=True),
    "p_holm": Column("p_holm", "p Holm", right=True),
}
_ORDER = ("slice", "users", "a", "b", "difference", "interval", "p", "p_holm")
"""Of the cells of a slice."""
_WIDENED = (("slice", "users", "difference"), ("interval",), ("a", "b"), ("p_holm",))
"""What is shown where there is room for it, in this order."""


def slice_table(found: SliceReport, width: int) -> TableData:
    """A heading for each way to slice, its slices below it; `width` columns decide what is shown beside the plot."""
    rows = list(_rows(found))
    shown, plot = _WIDENED[0], PLOT
    for more in _WIDENED:
        tried = tuple(name for name in _ORDER if name in (*shown, *more))
        taken = lay_out([_COLUMNS[name] for name in tried], [_row(key, one, texts, tried) for key, one, texts in rows])
        room = width - GUTTER - sum(taken.widths) - GAP * len(tried)
        if room < PLOT:
            break
        shown, plot = tried, room - 1 + room % 2
    reach, half = reach_of(found), plot // 2
    sides = ("A better", "B better") if oriented(found.metric, 1.0) > 0 else ("B better", "A better")
    axis = Column("plot", f"{sides[0]:>{half}}|{sides[1]:<{half}}")
    drawn = [
        _row(key, one, texts, shown, None if one is None else plot_line(one, reach, plot)) for key, one, texts in rows
    ]
    return lay_out([*(_COLUMNS[name] for name in shown), axis], drawn)


def _rows(found: SliceReport) -> Iterator[tuple[Key | str, Slice | None, list[str]]]:
    """Key, slice and texts by _ORDER of each row; a heading has no slice."""
    yield EVERYONE, found.everyone, cells(found.everyone, found.metric, pad=" ")
    for by in found.by:
        yield by.key, None, [by.title, *([""] * (len(_ORDER) - 1))]
        if not by.slices:
            yield (by.key, -1), None, [f"  {by.why}", *([""] * (len(_ORDER) - 1))]
        for place, one in enumerate(by.slices):
            label, *texts = cells(one, found.metric, pad=" ")
            yield (by.key, place), one, [f"  {label}", *texts]


def _row(key: Key | str, one: Slice | None, texts: list[str], shown: tuple[str, ...], plot: str | None = "") -> Row:
    chosen = tuple(formatting.line(text) for name, text in zip(_ORDER, texts, strict=False) if name in shown)
    if one is None:
        return Row(key, (*chosen, ""), ("accent" if isinstance(key, str) else "dim",))
    sign = CONCLUSIONS[one.verdict][0]
    style = VERDICTS[sign]
    styles = {"slice": "strong" if key == EVERYONE else "", "difference": style, "interval": "dim", "p_holm": "dim"}
    return Row(
        key,
        (*chosen, plot or ""),
        (*(styles.get(name, "") for name in shown), style),
        "" if sign == "=" else sign,
    )


def sides_text(found: SliceReport) -> str:
    """Which sets A and B are, with their numbers of seeds."""
    named = (("A", found.a, found.a_runs, " (baseline)"), ("B", found.b, found.b_runs, ""))
    return "\n".join(formatting.line(f"{sign}  {label}  n {len(ids)}{role}") for sign, label, ids, role in named)


def chosen_slice(found: SliceReport, key: object) -> tuple[str, Slice] | None:
    """What the users of a row have in common, and the slice; none for a heading."""
    if key == EVERYONE:
        return "", found.everyone
    for by in found.by:
        for place, one in enumerate(by.slices):
            if key == (by.key, place):
                return f"{by.title} {one.label}", one
    return None


def details(found: SliceReport, key: object) -> str:
    """The row under the cursor in full, then what holds for all of them."""
    chosen = chosen_slice(found, key)
    if chosen is None:
        way = key[0] if isinstance(key, tuple) else key
        text = next((f"{by.title}: {by.why or ABOUT[by.key]}" for by in found.by if by.key == way), "")
    else:
        label, one = chosen
        values = [value_text(found.metric, value) for value in (one.a, one.b)]
        p = f"p {p_text(one.p_value)}" + ("" if one.p_holm is None else f", after Holm {p_text(one.p_holm)}")
        text = (
            f"{label or 'all users'}: {one.users:,} users{' (few)' if one.small else ''}; {title(found.metric)}: A {values[0]}, "
            f"B {values[1]}, difference {formatting.signed(one.difference)}, 95 % interval {interval_text(one)}, {p}: "
            f"{CONCLUSIONS[one.verdict][2:]}"
        )
    return "\n".join([text, *found.notes])
