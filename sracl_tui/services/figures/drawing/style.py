"""The look of all figures: light, for print, with colors that color-blind readers and gray prints keep apart; and their files.

A file depends on its data alone: no date, no random ids, the font that matplotlib brings, and none of a person's own matplotlib settings.
"""

from __future__ import annotations

import io
import textwrap
import threading
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
"""Okabe and Ito 2008, without the yellow that vanishes on paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
INK, FAINT, BAND = "#222222", "#8a8a8a", "#ececec"
WIDTH = 6.3
"""Inches: the text of an A4 or letter page."""
TITLE_COLUMNS, NOTE_COLUMNS, LEGEND_COLUMNS = 84, 122, 90
"""Characters of a line over the whole width."""
LEGEND_ROW = 0.16
"""Inches of a line of a legend."""
_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "text.parse_math": False,  # names of runs and items are text, whatever they contain
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "sracl",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
_LOCK = threading.Lock()
"""The settings of matplotlib are of the whole process."""


def render(draw: Callable[[Any], Figure], data: Any, format_: str) -> bytes:
    """Draw and save.

    Args:
        format_: svg, pdf or png.
    """
    file = io.BytesIO()
    with _LOCK, mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the reader's fonts may have it
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # pyright: ignore[reportCallIssue, reportArgumentType]
        draw(data).savefig(file, format=format_, metadata=_METADATA[format_])
    return file.getvalue()


def look(place: int) -> dict[str, Any]:
    """Color, marker and line of the n-th set, from 0: no pair of color and marker twice among 64, another line after each 8."""
    turn = place // len(COLORS)
    return {
        "color": COLORS[place % len(COLORS)],
        "marker": MARKERS[(place + turn) % len(MARKERS)],
        "linestyle": DASHES[turn % len(DASHES)],
    }


def wrapped(text: str, columns: int, *, lines: int = 3) -> str:
    """A text in at most so many lines; what is beyond them becomes dots."""
    return "\n".join(textwrap.wrap(text, columns, max_lines=lines, placeholder="\u2026"))


def legend_above(ax: Axes) -> None:
    """The legend between title and plot, in as many columns as its labels leave room for."""
    handles, labels = ax.get_legend_handles_labels()
    columns = max(1, min(4, LEGEND_COLUMNS // (6 + max(map(len, labels), default=0))))
    labels = [wrapped(label, LEGEND_COLUMNS, lines=2) for label in labels]
    made = ax.get_figure(root=True)
    assert made is not None
    rows = -(-len(labels) // columns) + sum(label.count("\n") for label in labels)
    made.set_figheight(made.get_figheight() + LEGEND_ROW * (rows - 1))
    ax.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        handlelength=1.8,
    )


def figure(title: str, note: str, height: float) -> Figure:
    """An empty figure with a title above and a note below.

    Args:
        height: inches, of the plot with its axes.
    """
    above = textwrap.wrap(title, TITLE_COLUMNS)
    below = textwrap.wrap(note, NOTE_COLUMNS)
    made = Figure(figsize=(WIDTH, height + 0.2 + 0.15 * len(above) + 0.12 * len(below)), layout="constrained")
    made.get_layout_engine().set(h_pad=0.06)  # type: ignore[union-attr]
    made.suptitle("\n".join(above), x=0.012, ha="left", fontsize=9, fontweight="bold")
    if below:
        made.supxlabel("\n".join(below), x=0.012, ha="left", fontsize=6.5, color="#555555", linespacing=1.3)
    return made
