"""Curves of runs as the plots draw them: which metric, which losses, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine.metric_registry import is_loss, title
from sracl_tui.runs.run_state import smooth
from sracl_tui.tui.widgets.curves import Curve

Series = Mapping[tuple[str, str], ArrayLike | Sequence[tuple[int, float]]]
"""(split, name) to (epoch, value), epochs ascending."""


def curve(series: Series, split: str, name: str, label: str, smoothing: float = 0.0) -> Curve:
    """A metric of a run; without points where the run has not measured it."""
    points = np.array(series.get((split, name), []), dtype=np.float64).reshape(-1, 2)
    return Curve(label, points[:, 0], smooth(points[:, 1], smoothing))


def losses(runs: Mapping[str, Series], names: Sequence[str], loss: str, smoothing: float) -> list[Curve]:
    """A loss of several runs by their labels; without one the sum of the losses, of a single run with its terms.

    Args:
        names: what the training of the first run has measured.
        loss: empty for all.
    """
    if loss or len(runs) > 1:
        return [curve(series, "train", loss or "loss", label, smoothing) for label, series in runs.items()]
    (series,) = runs.values()
    terms = [name for name in names if is_loss(name)] or ["loss"]
    parts = [curve(series, "train", name, loss_label(name), smoothing) for name in terms]
    found = [part for part in parts if np.any(part.values)]  # those that are switched off are zero throughout
    return found if len(found) > 2 else parts[:1]


def loss_title(loss: str) -> str:
    """What the plot of a loss is called; empty stands for the losses."""
    return f"loss {loss_label(loss)}" if is_loss(loss) else loss or "loss"


def loss_label(name: str) -> str:
    """`all` for the sum of the losses."""
    return "all" if name == "loss" else title(name)


def unique_names(names: Mapping[str, str], seeds: Mapping[str, Any]) -> dict[str, str]:
    """A short label for each run by its ID; runs with the same name also have their seed."""
    often = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        run_id: f"{name[:20]} seed {seeds.get(run_id)}" if name in often else name[:24]
        for run_id, name in names.items()
    }


def after(name: str, names: Sequence[str]) -> str:
    """The next name, beginning with none; unchanged while there are no names."""
    choices = ["", *names]
    place = choices.index(name) if name in choices else -1
    return choices[(place + 1) % len(choices)] if names else name
