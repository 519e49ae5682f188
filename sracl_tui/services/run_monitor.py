"""Follows living runs in their journals, so that the list of runs shows their state between two publishes.

Only the journals of living runs are read, each from where the last poll ended. In a home of ten thousand runs a poll costs
one `stat` of the folder of runs beside that.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from engine.config import Config
from sracl_tui.runs.alerts.alerts import Alert, ending
from sracl_tui.runs.journal_events import SKIPPED_BY_LIST
from sracl_tui.runs.run_state import RunState
from store.errors import LookupFailed
from store.home import Home
from store.journal.journal import Tail
from store.journal.run_fold import created_columns
from store.process_state import Alive, Exited, ProcessState
from store.publishing.liveness import dead_state, process_state
from store.run_row import LISTED_COLUMNS, ListedRun
from store.run_states import ACTIVE, OPEN

if TYPE_CHECKING:
    from sracl_tui.runs.request import RunRequest

MOST_UNPUBLISHED = 100
"""So many runs at most, the newest, are followed though the database does not know them: it may not be readable."""
EXPECTED_SECONDS = 60.0
"""How long a process that was asked for may take to write its first line."""
OVERLAID = LISTED_COLUMNS - {"heartbeat_at"}
"""Columns that a journal may change in the list; a heartbeat alone would have the run's line drawn again."""


@dataclass
class _FollowedRun:
    """A run whose journal is read, and its row as it was last shown."""

    tail: Tail
    live: RunState = field(default_factory=RunState)
    since: float = field(default_factory=time.monotonic)
    published: ListedRun | None = None
    """The row of the database under the changes; none where the database does not know the run yet."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Columns that the journal knows better than the database."""
    row: ListedRun | None = None
    process: ProcessState = field(default_factory=Exited)
    """What the run's executor says."""
    dead: bool = False
    notified_state: str = "queued"
    """The state for which alerts were made last."""


class RunMonitor:
    """Lays what the journals of living runs say over the published rows."""

    def __init__(self, home: Home, *, clock: Callable[[], float] = time.time) -> None:
        """Args: clock: Unix seconds."""
        self.deaths = 0
        """Runs that were found dead; whoever has the database read anew sets it to 0."""
        self._home, self._clock = home, clock
        self._since = clock()
        self._alerts: list[Alert] = []
        self._death_alerts: list[Alert] = []
        self._followed: dict[str, _FollowedRun] = {}
        self._list: list[ListedRun] = []
        self._published: list[ListedRun] | None = None
        self._by_id: dict[str, ListedRun] = {}
        self._folder_time = -1
        self._unpublished: set[str] = set()
        """Folders of runs that the database does not know."""
        self._ignored: set[str] = set()
        """Folders in which nothing has happened."""

    def expect(self, run_id: str) -> None:
        """Follow a run that was just started or resumed, though its row says that it has ended.

        Raises:
            LookupFailed: this cannot be the id of a run.
        """
        self._followed[run_id] = _FollowedRun(Tail(self._home.run_folder(run_id), skip=SKIPPED_BY_LIST))

    def overlay(self, rows: list[ListedRun]) -> list[ListedRun]:
        """Published rows with the columns that journals know better, after the runs that are not published yet.

        Returns:
            A new list only where something has changed; rows that have not changed are the same objects.
        """
        changed = rows is not self._published
        if changed:
            self._published, self._by_id = rows, {row["run_id"]: row for row in rows}
        self._find(changed)
        for run_id, run in list(self._followed.items()):
            changed = self._follow(run_id, run) or changed
        if changed:
            fresh = sorted((run_id for run_id in self._followed if run_id not in self._by_id), reverse=True)
            over = {run_id: run.row for run_id, run in self._followed.items() if run.row is not None}
            self._list = [over[run_id] for run_id in fresh if run_id in over]
            self._list += [over.get(row["run_id"], row) for row in rows] if over else rows
        return self._list

    def news(self) -> tuple[list[Alert], list[Alert]]:
        """All alerts since the last call, and those among them of runs that died without writing their end."""
        found = self._alerts, self._death_alerts
        self._alerts, self._death_alerts = [], []
        return found

    def _collect_alerts(self, run_id: str, run: _FollowedRun, dead_as: tuple[str, str] | None) -> None:
        """Collect the run's own alerts and that of its end; none of what happened before this monitor began.

        Args:
            dead_as: state and reason of a run that is dead without having written its end.
        """
        live = run.live
        name = live.created.get("name") or run_id
        self._alerts += [Alert(kind, run_id, name, text, {}) for at, kind, text in live.alerts if at >= self._since]
        live.alerts.clear()
        state, reason = dead_as or (live.state, live.reason)
        if state == run.notified_state:
            return
        before, run.notified_state = run.notified_state, state
        alert = ending(run_id, name, state, reason)
        if alert is None or (dead_as is None and live.last_at < self._since) or before == "killed":
            return
        self._alerts.append(alert)
        if dead_as is not None:
            self._death_alerts.append(alert)

    def _find(self, changed: bool) -> None:
        """Begin to follow living runs, and folders that the database does not know."""
        with suppress(OSError):
            at = self._home.runs.stat().st_mtime_ns
            if at != self._folder_time or changed:
                self._folder_time = at
                fresh = set(os.listdir(self._home.runs)) - self._by_id.keys()
                self._unpublished = set(heapq.nlargest(MOST_UNPUBLISHED, fresh))  # by name, and so by time
        active = [run_id for run_id, row in self._by_id.items() if row["state"] in OPEN] if changed else []
        for run_id in (*active, *(self._unpublished - self._ignored)):
            if run_id not in self._followed:
                try:
                    self.expect(run_id)
                except LookupFailed:  # not a run's folder
                    self._ignored.add(run_id)

    def _follow(self, run_id: str, run: _FollowedRun) -> bool:
        """Read new lines of the run's journal; whether its row has changed."""
        run.process = process_state(self._home, run_id)  # before reading: a process that has ended wrote its last line
        with suppress(OSError):
            run.live.take(run.tail.read())
        run.live.log.clear()
        published = self._by_id.get(run_id)
        if self._is_over(run_id, run, published):
            del self._followed[run_id]
            self._ignored.add(run_id)
            return True
        changes = self._changes(run_id, run, published)
        if published is run.published and changes == run.changes:
            return False
        run.published, run.changes = published, changes
        run.row = _changed(published or self._unpublished_row(run_id, run.live), changes) if changes else published
        return True

    def _is_over(self, run_id: str, run: _FollowedRun, published: ListedRun | None) -> bool:
        """Whether the database knows all that the journal says, nothing was ever written, or the run was removed."""
        live, exited = run.live, isinstance(run.process, Exited)
        if isinstance(run.process, Alive):
            return False
        if published is None and live.lines:
            return exited and not self._home.run_folder(run_id).exists()  # it was removed
        if time.monotonic() - run.since < EXPECTED_SECONDS:
            return False
        if published is None:
            return exited
        return published["state"] not in OPEN and (not live.lines or live.state in (*ACTIVE, published["state"]))

    def _changes(self, run_id: str, run: _FollowedRun, published: ListedRun | None) -> dict[str, Any]:
        """Columns that the journal knows better than the database."""
        live = run.live
        if not live.lines:
            launched = published is None and self._launched_request(run_id) is not None
            return self._unstarted(run_id, run) if launched else {}
        changes = {
            name: value for name, value in live.fold.changed.items() if name in OVERLAID
        } | live.fold.test_columns
        if live.warnings:
            changes["warnings"] = len(live.warnings)
        if live.state in ACTIVE:
            dead_as = dead_state(self._home, live.fold.process(run_id))
            self.deaths += dead_as is not None and not run.dead
            run.dead = dead_as is not None
            self._collect_alerts(run_id, run, dead_as)
            if dead_as is not None:
                changes["state"], changes["reason"] = dead_as
                changes.pop("ended_at", None)  # its end stands in the database alone, which found it dead
            else:
                changes["progress"] = live.progress(self._clock())
        elif live.has_ended:
            self._collect_alerts(run_id, run, None)
        return changes

    def _launched_request(self, run_id: str) -> RunRequest | None:
        """Imports what starts runs, which a list rarely needs and the first paint does not wait for."""
        from sracl_tui.runs.execution.launch import launched_request

        return launched_request(self._home.run_folder(run_id))

    def _unstarted(self, run_id: str, run: _FollowedRun) -> dict[str, Any]:
        """State of a run without a line in its journal: its process is starting, or it could not start."""
        from sracl_tui.runs.execution.launch import why_not_begun

        error = why_not_begun(self._home, run_id, run.process) if isinstance(run.process, Exited) else ""
        return {"state": "failed", "reason": error} if error else {"state": "queued"}

    def _unpublished_row(self, run_id: str, live: RunState) -> ListedRun:
        """The row of a run that the database does not know: as it was created or, before that, asked for."""
        folder, created = self._home.run_folder(run_id), live.created
        if not created:
            from sracl_tui.runs.request import RunRequest

            request = self._launched_request(run_id) or RunRequest(run_id=run_id, config=Config())
            at = live.first_at or (folder.stat().st_mtime if folder.exists() else self._clock())
            created = created_columns(request.created(), at)
        known = {name: value for name, value in created.items() if name in LISTED_COLUMNS}
        return cast(
            ListedRun,
            dict.fromkeys(LISTED_COLUMNS) | known | {"run_id": run_id, "usd": 0.0, "usd_known": 0.0, "warnings": 0},
        )


def _changed(row: ListedRun, changes: Mapping[str, Any]) -> ListedRun:
    """A copy of a row with other values in some columns."""
    return cast(ListedRun, {**row, **changes})
