"""Rows of a query as a chart: numbers over a first column of numbers or times as lines, beside one of texts as bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sracl_tui import formatting
from sracl_tui.tui.rendering.query_result import MOST
from sracl_tui.tui.widgets import axis_ticks
from sracl_tui.tui.widgets.curve_layout import Axis, Curve
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out
from store.database.result_texts import kind_of, type_of

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = 8
"""Columns that are drawn at once; there are as many colors."""
BARS = 1_000
"""Rows that are drawn as bars."""
STEPS = 10_000
"""Places of an axis whose numbers are not whole."""
NAME = 24
"""Cells of the name of a column."""
LABEL, BAR = 30, 8
"""Most cells of the text beside bars, and least of a bar."""
Floats = NDArray[np.float64]


class Undrawable(Exception):
    """The rows make no chart; the message says why."""


@dataclass(frozen=True)
class ScaledAxis(Axis):
    """An axis of numbers or times: place 0 is the first of them, place STEPS the last."""

    start: float = 0.0
    end: float = 1.0
    is_time: bool = False

    def _value(self, at: float) -> float:
        return self.start + at / STEPS * (self.end - self.start)

    def text(self, at: float) -> str:
        """The number, or the time to the second."""
        value = self._value(at)
        if not self.is_time:
            return f"{value:.6g}"
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00")

    def ticks(self, low: float, high: float, columns: int) -> list[tuple[float, str]]:
        """Round numbers or times."""
        first, last = self._value(low), self._value(high)
        most = max(1, columns // 14)
        if self.is_time:
            found = axis_ticks.times(first, last, most)
        else:
            values = axis_ticks.linear(first, last, most)
            found = list(zip(values, axis_ticks.labels(values), strict=True))
        span = (self.end - self.start) or 1.0
        return [((value - self.start) / span * STEPS, text) for value, text in found]


@dataclass(frozen=True)
class ResultChart:
    """A chart of a result: lines over an axis, or bars beside texts."""

    x: str
    """Name of the first column, or `row`."""
    names: tuple[str, ...]
    """Names of the columns of numbers."""
    axis: Axis | None
    """None for bars."""
    places: Floats
    """Where each row stands on the axis, ascending."""
    labels: tuple[str, ...]
    """The text of each row, of bars."""
    values: tuple[Floats, ...]
    """Numbers of each column by row; NaN for none."""
    notes: tuple[str, ...]
    """What is not drawn, and why."""

    def shown(self, only: int | None) -> tuple[int, ...]:
        """Numbers of the columns that are drawn: one alone, or as many as there are colors."""
        return (only,) if only is not None else tuple(range(min(COLUMNS, len(self.names))))

    def title(self, only: int | None) -> str:
        """What is drawn."""
        drawn = ", ".join(self.names[number] for number in self.shown(only))
        return f"{drawn} by {self.x}"

    def curves(self, only: int | None) -> list[Curve]:
        """The lines."""
        return [Curve(self.names[number], self.places, self.values[number]) for number in self.shown(only)]

    def bars(self, only: int | None, width: int) -> TableData:
        """A line for each row: its text, and number and bar for as many columns as have room."""
        side = min(LABEL, max(map(formatting.width, [*self.labels, self.x])))
        columns, parts = [Column("x", self.x, most=LABEL)], []
        room = width - side - 3
        shown = self.shown(only)
        texts = {number: _texts(self.values[number]) for number in shown}
        wide = {number: max(map(len, [*texts[number], self.names[number]])) for number in shown}
        fitting = [n for place, n in enumerate(shown, 1) if sum(wide[m] + 4 + BAR for m in shown[:place]) <= room]
        fitting = fitting or [shown[0]]
        each = max(1, (room - sum(wide[number] + 4 for number in fitting)) // len(fitting))
        for number in fitting:
            columns += [Column(f"n{number}", self.names[number], right=True), Column(f"b{number}", " " * each)]
            parts += [texts[number], _bars(self.values[number], each)]
        rows = [
            Row(place, (label, *cells), ("", *("", "live") * len(fitting)))
            for place, (label, *cells) in enumerate(zip(self.labels, *parts, strict=True))
        ]
        return lay_out(columns, rows)


def chart_of(table: pa.Table) -> ResultChart:
    """A chart of the first MOST rows of the form `texts`.

    Raises:
        Undrawable: it has no row, or no number.
    """
    count, table = table.num_rows, table.slice(0, MOST)
    if not count:
        raise Undrawable("The result has no row.")
    numbers = [place for place, field in enumerate(table.schema) if place and kind_of(field) == "number"]
    first = table.schema.field(0)
    if not numbers and kind_of(first) == "number":
        numbers, x, places, axis = [0], "row", np.arange(1.0, table.num_rows + 1), Axis("row")
    elif numbers:
        x = formatting.fit(formatting.line(first.name), NAME).rstrip()
        places, axis = _places(table.column(0), first, x)
    else:
        raise Undrawable("No column of the result is a number: a chart draws numbers over the first column.")
    values = [_numbers(table.column(place).to_pylist()) for place in numbers]
    if not any(np.isfinite(one).any() for one in values):
        raise Undrawable("The columns of numbers have no number in any row.")
    names = tuple(formatting.fit(formatting.line(table.schema.names[place]), NAME).rstrip() for place in numbers)
    notes = [f"only the first {COLUMNS} of {len(names)} columns: v shows one alone"] if len(names) > COLUMNS else []
    if axis is not None:
        return _line_chart(x, axis, places, names, values, _cut(MOST, count) + notes)
    labels = ["NULL" if text is None else formatting.line(text[:200]) for text in table.column(0)[:BARS].to_pylist()]
    shown = tuple(one[:BARS] for one in values)
    return ResultChart(x, names, None, np.empty(0), tuple(labels), shown, (*_cut(BARS, count), *notes))


def _cut(drawn: int, count: int) -> list[str]:
    """What to say where not all rows are drawn."""
    every = f"{count:,}" if count <= MOST else f"more than {MOST:,}"
    return [f"only the first {drawn:,} of {every} rows"] if count > drawn else []


def _line_chart(
    x: str, axis: Axis, places: Floats, names: tuple[str, ...], values: list[Floats], notes: list[str]
) -> ResultChart:
    good = np.isfinite(places)
    if not good.any():
        raise Undrawable(f"The first column, {x}, has no value in any row.")
    if missing := int((~good).sum()):
        notes = [*notes, f"{missing:,} {'row' if missing == 1 else 'rows'} without {x} left out"]
        places, values = places[good], [one[good] for one in values]
    if (np.diff(places) < 0).any():
        order = np.argsort(places, kind="stable")
        places, values = places[order], [one[order] for one in values]
        notes = [*notes, f"sorted by {x}"]
    if repeated := int((np.diff(places) == 0).sum()):
        notes = [*notes, f"{repeated:,} {'row repeats' if repeated == 1 else 'rows repeat'} a value of {x}"]
    if isinstance(axis, ScaledAxis):
        start, end = float(places[0]), float(places[-1])
        axis = ScaledAxis(axis.unit, start, end, axis.is_time)
        places = (places - start) / ((end - start) or 1.0) * STEPS
    return ResultChart(x, names, axis, places, (), tuple(values), tuple(notes))


def _places(column: pa.ChunkedArray, field: pa.Field, x: str) -> tuple[Floats, Axis | None]:
    """Numbers of the first column and their axis, which is none for texts."""
    if kind_of(field) == "number":
        places = _numbers(column.to_pylist())
        found = places[np.isfinite(places)]
        whole = bool((found == np.rint(found)).all() and (np.abs(found) < 2**53).all())
        return places, Axis(x) if whole else ScaledAxis(x)
    if type_of(field).startswith(("DATE", "TIMESTAMP")):
        return _numbers(column.to_pylist(), _unix_time), ScaledAxis(x, is_time=True)
    return np.empty(0), None


def _numbers(texts: Sequence[str | None], read: Callable[[str], float] = float) -> Floats:
    return np.array(list(map(partial(_number, read), texts)), dtype=np.float64)


def _number(read: Callable[[str], float], text: str | None) -> float:
    """A number that can be drawn; NaN for none."""
    try:
        return float("nan") if text is None else read(text)
    except (ValueError, OverflowError):
        return float("nan")


def _unix_time(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _texts(values: Floats) -> list[str]:
    return ["-" if np.isnan(value) else f"{value:.5g}" if value % 1 else f"{value:,.0f}" for value in values.tolist()]


def _bars(values: Floats, columns: int) -> list[str]:
    """Bars from 0 on; where there are negative values too, these go to the left of it."""
    finite = np.where(np.isfinite(values), values, 0.0)
    low, high = min(0.0, float(finite.min())), max(0.0, float(finite.max()))
    span = (high - low) or 1.0
    left = round(-low / span * columns)
    bars = []
    for value in finite.tolist():
        if value < 0:
            taken = max(1, round(-value / span * columns))
            bars.append(" " * (left - taken) + "█" * taken)
        else:
            bars.append(" " * left + formatting.bar(value / high if high else 0.0, columns - left))
    return bars
