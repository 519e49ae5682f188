"""Curves of listed runs: of ended ones from the database, of those that the database does not have whole from their journals."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sracl_tui.runs.journal_events import SKIPPED_BY_LOG
from sracl_tui.runs.run_state import RunState
from sracl_tui.services.store_session import StoreSession
from store.journal.journal import Tail
from store.queries.machine import machine_points
from store.queries.runs import curve_columns
from store.run_row import ListedRun
from store.run_states import ACTIVE

KEPT = 32
"""Runs whose curves are kept in memory."""
Points = Mapping[tuple[str, str], NDArray[np.float64]]
"""(split, name) to rows of (epoch, value), epochs ascending; of the split `machine` (seconds, value)."""
MACHINE = "machine"


@dataclass
class _Followed:
    tail: Tail
    live: RunState = field(default_factory=RunState)


class CurveReader:
    """Reads the curves of a few runs again and again; to be used by one thread at a time."""

    def __init__(self, session: StoreSession) -> None:
        self._session = session
        self._followed: dict[str, _Followed] = {}
        self._kept: OrderedDict[str, tuple[Any, Points]] = OrderedDict()

    def read(self, rows: Sequence[ListedRun], *, machine: bool = False) -> dict[str, Points]:
        """Curves by run ID.

        Args:
            machine: what the runs used of their machines, too.

        Raises:
            StoreError: the database cannot be read.
            OSError: a journal cannot be read.
        """
        self._followed = {row["run_id"]: one for row in rows if (one := self._followed.get(row["run_id"]))}
        return {row["run_id"]: self._curves(row, machine) for row in rows}

    def _curves(self, row: ListedRun, machine: bool) -> Points:
        run_id, stamp = row["run_id"], (row["state"], row["epoch"], row["best_epoch"], row["ended_at"], machine)
        kept = self._kept.pop(run_id, None)
        if kept is None or kept[0] != stamp or row["state"] in ACTIVE:
            kept = stamp, self._read(row, machine)
        self._kept[run_id] = kept
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept[1]

    def _read(self, row: ListedRun, machine: bool) -> Points:
        run_id = row["run_id"]
        if row["state"] not in ACTIVE:
            curves = curve_columns(self._session.store(), run_id)
            if not row["epoch"] or any(points[-1, 0] >= row["epoch"] for _, _, points in curves):
                used = machine_points(self._session.store(), run_id) if machine else {}
                return {(split, name): points for split, name, points in curves} | {
                    (MACHINE, name): points for name, points in used.items()
                }
        if run_id not in self._followed:
            folder = self._session.home.present_folder(run_id)
            self._followed[run_id] = _Followed(Tail(folder, skip=SKIPPED_BY_LOG))
        followed = self._followed[run_id]
        followed.live.take(followed.tail.read())
        series = {**followed.live.series, **{(MACHINE, name): used for name, used in followed.live.machine.items()}}
        return {name: np.array(points, dtype=np.float64) for name, points in series.items() if points}
