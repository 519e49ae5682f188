"""What runs that are new to a database have in it so far, so that nothing is searched for that cannot be there.

The tables of all runs have no index by run: to delete a run's older numbers reads them whole, and to do so for each of
thousands of runs that come in together would take time by the square of their number.
"""

from __future__ import annotations

import math
from typing import Any


class NewRuns:
    """Runs whose row was made during a publish, with the highest step of each kind of rows that they got since."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[tuple[Any, ...], float]] = {}
        self.begun: dict[str, float] = {}
        """When runs began whose first events came in, Unix seconds by id."""

    def add(self, run_id: str) -> None:
        """Remember a run whose row was made just now; it has no other rows."""
        self._steps.setdefault(run_id, {})

    def note(self, run_id: str, what: tuple[Any, ...], step: Any) -> None:
        """Remember that a run has rows of a kind up to a step; what is no number stands for the highest."""
        if run_id in self._steps:
            steps = self._steps[run_id]
            number = step if isinstance(step, int | float) else math.inf
            steps[what] = max(steps.get(what, -math.inf), number)

    def may_have(self, run_id: str, what: tuple[Any, ...], step: Any = -math.inf) -> bool:
        """Whether a run may have rows of a kind at a step or beyond it."""
        if run_id not in self._steps or not isinstance(step, int | float):
            return True
        return what in self._steps[run_id] and self._steps[run_id][what] >= step
