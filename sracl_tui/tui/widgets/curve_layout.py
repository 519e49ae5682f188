"""The parts of a plot of curves as cells with the names of styles: legend, letters on the lines, axis of epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sracl_tui import formatting
from sracl_tui.tui.widgets import axis_ticks

LETTERS = "abcdefgh"
NAME = "epoch"
Window = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """The lower axis: what it counts, and how its places are written; they are whole numbers."""

    unit: str = NAME

    def text(self, at: float) -> str:
        """A place as text."""
        return f"{at:,.0f}"

    def ticks(self, low: float, high: float, columns: int) -> list[tuple[float, str]]:
        """Round places between two others, as many as fit into columns, with their texts."""
        wide = max(9, len(f"{high:,.0f}") + 3)
        return [(at, f"{at:,}") for at in axis_ticks.whole(low, high, max(1, columns // wide))]


EPOCHS = Axis()


@dataclass(frozen=True, eq=False)
class Curve:
    """A labeled line; `epochs`, places on the lower axis, ascend."""

    label: str
    epochs: Sequence[float] | NDArray[np.float64] | NDArray[np.int64]
    values: Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """A curve as arrays, without values that cannot be drawn."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @classmethod
    def of(cls, curve: Curve, *, positive: bool) -> Points:
        x, y = np.asarray(curve.epochs, dtype=np.float64), np.asarray(curve.values, dtype=np.float64)
        good = np.isfinite(y) & (y > 0) if positive else np.isfinite(y)
        return cls(curve.label, x, y) if good.all() else cls(curve.label, x[good], y[good])


def inside(curve: Points, window: Window) -> Points:
    start, end = np.searchsorted(curve.x, window[0] - 1e-9), np.searchsorted(curve.x, window[1] + 1e-9, side="right")
    return Points(curve.label, curve.x[start:end], curve.y[start:end])


def _value_at(curve: Points, at: float | None) -> str:
    """The newest value, or the newest at an epoch; a dash where there is none yet."""
    place = len(curve.x) if at is None else int(np.searchsorted(curve.x, at, side="right"))
    return f"{float(curve.y[place - 1]):.4g}" if place else "-"


def legend(
    curves: Sequence[Points],
    mark: int | None,
    width: int,
    *,
    most: int,
    at: float | None = None,
    axis: Axis = EPOCHS,
) -> list[list[tuple[str, str]]]:
    """Letter, name and newest value of each curve, its epoch, and that of a single curve at the best epoch, on at most `most` lines.

    Args:
        at: the epoch of the values, in place of the newest ones.
    """
    parts = [
        (f"{LETTERS[n]} " if len(curves) > 1 else "", f"{formatting.line(c.label)} {_value_at(c, at)}", n)
        for n, c in enumerate(curves)
    ]
    lines: list[list[tuple[str, str]]] = [[]]
    room = width
    for sign, text, number in parts:
        taken = formatting.width(sign + text) + 2
        if taken > room and lines[-1]:
            lines.append([])
            room = width
        text = formatting.fit(text, min(formatting.width(text), max(1, room - formatting.width(sign))))
        lines[-1] += [(sign or "─ ", f"letter{number}"), (f"{text}  ", str(number))]
        room -= taken
    ends = {float(c.x[-1]) for c in curves}
    notes = [(f"at {axis.unit} {axis.text(ends.pop())}  ", "axis")] if len(ends) == 1 and at is None else []
    notes += [(f"│ {axis.unit} {axis.text(at)}", "cross")] if at is not None else []
    if mark is not None:
        values = curves[0].y[curves[0].x == mark].tolist() if len(curves) == 1 else []
        notes.append((f"┊ best epoch {mark:,}" + "".join(f": {value:.4g}" for value in values), "best"))
    for text, style in notes:
        if formatting.width(text.rstrip()) > room:
            lines.append([])
            room = width
        lines[-1].append((text, style))
        room -= formatting.width(text)
    return lines[:most]


def letters_of(cells: NDArray[np.uint8], number: int, count: int) -> dict[tuple[int, int], int]:
    """Cells where a curve's line shows its letter, spread so that the letters of other curves fit between."""
    columns = cells.shape[1]
    every = max(count * 3, columns // 5)
    found = {}
    for column in range(round(every * (number + 0.5) / count), columns, every):
        drawn = np.flatnonzero(cells[:, column])
        if len(drawn):
            found[int(drawn[len(drawn) // 2]), column] = number
    return found


def runs(chars: list[str], names: list[str]) -> list[tuple[str, str]]:
    """Group adjacent cells of one style."""
    runs: list[tuple[str, str]] = []
    start = 0
    for place in range(1, len(chars) + 1):
        if place == len(chars) or names[place] != names[start]:
            runs.append(("".join(chars[start:place]), names[start]))
            start = place
    return runs


def bottom(window: Window, left: int, columns: int, axis: Axis) -> list[list[tuple[str, str]]]:
    """The lower axis, with labels that keep off each other."""
    low, high = window
    line, labels = ["─"] * columns, [" "] * (columns + left)
    end = 0
    for at, text in axis.ticks(low, high, columns):
        column = round((at - low) / (high - low) * (columns * 2 - 1)) // 2
        start = min(max(end, left + column - len(text) // 2), left + columns - len(text))
        if 0 <= column < columns and start >= end:
            line[column] = "┬"
            labels[start : start + len(text)] = text
            end = start + len(text) + 1
    if len(labels) - end > len(axis.unit):
        labels[-len(axis.unit) :] = axis.unit
    return [[(" " * (left - 1) + "└" + "".join(line), "axis")], [("".join(labels), "axis")]]
