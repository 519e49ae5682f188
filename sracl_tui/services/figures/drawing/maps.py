"""Maps of vectors."""

from __future__ import annotations

from matplotlib.figure import Figure

from sracl_tui.services.figures.drawing.style import COLORS, figure, wrapped
from sracl_tui.services.figures.vector_map import VectorMap

MANY = 2_000
"""Points from which a map is drawn as a picture of 300 dots per inch inside the file, which stays small."""
LABEL = 44
"""Characters of a line of a side's label."""
MEASURES = {"effective_rank": ("effective rank", ".1f"), "uniformity": ("uniformity", ".2f")}


def vector_map(data: VectorMap) -> Figure:
    """Both sides on the same two axes, so that spread can be compared by eye."""
    made = figure(data.title, data.note, 3.2)
    axes = made.subplots(1, len(data.sides), sharex=True, sharey=True, squeeze=False)[0]
    for place, (ax, side) in enumerate(zip(axes, data.sides, strict=True)):
        count = len(side.points)
        size, alpha = (9.0, 0.7) if count < 200 else (5.0, 0.5) if count < MANY else (2.0, 0.25)
        ax.scatter(*side.points.T, s=size, alpha=alpha, color=COLORS[place], linewidths=0, rasterized=count > MANY)
        words = [
            f"{label} {format(side.measures[name], form)}".replace("-", "\u2212")
            for name, (label, form) in MEASURES.items()
            if name in side.measures
        ]
        ax.set_title("\n".join([wrapped(side.label, LABEL, lines=2), *([", ".join(words)] if words else [])]))
        ax.set_aspect("equal", adjustable="box")
        ax.set_xlabel("principal direction 1")
        ax.grid()
    axes[0].set_ylabel("principal direction 2")
    return made
