"""Charts of what a run used of its machine, over the time in which it was running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from textual.app import ComposeResult
from textual.containers import Container

from sracl_tui.tui.widgets.curves import Axis, Curve, Curves

Measured = Mapping[str, ArrayLike | Sequence[tuple[float, float]]]
"""Name of a measure of `machine_samples` to rows of (seconds, value), seconds ascending."""


@dataclass(frozen=True)
class Kind:
    """A chart: its title, the label of each of its measures, and what a value is divided by."""

    title: str
    measures: Mapping[str, str]
    by: float = 1.0


KINDS = {
    "cpu": Kind("CPU, cores busy", {"cores": "run", "machine_cores": "machine"}),
    "memory": Kind("memory, GiB", {"memory_bytes": "run", "machine_memory_bytes": "machine"}, 2**30),
    "gpu": Kind("GPU, % of the time", {"machine_gpu_percent": "busy"}),
    "gpu-memory": Kind("GPU memory, GiB", {"gpu_memory_bytes": "run", "machine_gpu_memory_bytes": "machine"}, 2**30),
}
"""Charts by name, in their order."""
ALWAYS = ("cpu", "memory")
"""Charts that are shown before anything is measured."""
UNITS = (("hour", 3600.0, 5 * 3600.0), ("minute", 60.0, 5 * 60.0), ("second", 1.0, 0.0))
"""Units of the axis, their seconds, and how long a run has to be for it."""


def kinds_of(measured: Measured) -> list[str]:
    """Names of the charts for which there is a value."""
    return [name for name, kind in KINDS.items() if any(len(np.asarray(measured.get(m, []))) for m in kind.measures)]


class MachineChart(Curves):
    """One of the charts; two lines, where the system tells what the run used and what everything did."""

    number = 0

    def __init__(self, kind: str) -> None:
        super().__init__(id=f"machine-{kind}")
        self.kind = kind
        self.axis = Axis(UNITS[-1][0])

    def show(self, measured: Measured, *, sign: str = "", empty: str = "no sample yet") -> None:
        """Draw the measures of this chart; `sign` stands before the title."""
        kind, found = KINDS[self.kind], {}
        for name, label in KINDS[self.kind].measures.items():
            points = np.array(measured.get(name, []), dtype=np.float64).reshape(-1, 2)
            if len(points):
                found[label] = points
        last = max((float(points[-1, 0]) for points in found.values()), default=0.0)
        unit, seconds = next((unit, seconds) for unit, seconds, least in UNITS if last >= least)
        if unit != self.unit:
            self.axis = Axis(unit)
            self.show_window(None)
            self.show_cross(None)
        curves = [Curve(label, points[:, 0] / seconds, points[:, 1] / kind.by) for label, points in found.items()]
        self.draw(f"{sign}{kind.title}", curves, empty=empty)


class MachineCharts(Container, can_focus=True):
    """All charts of a run; those of the GPU where it uses one."""

    def compose(self) -> ComposeResult:
        """The charts."""
        for kind in KINDS:
            chart = MachineChart(kind)
            chart.display = kind in ALWAYS
            yield chart

    def show(self, measured: Measured, *, sign: str = "", empty: str = "no sample yet") -> None:
        """Draw them all; `sign` stands before their titles."""
        there = kinds_of(measured)
        for chart in self.query(MachineChart):
            chart.display = chart.kind in there or (chart.kind in ALWAYS and not there)
            chart.show(measured, sign=sign, empty=empty)
