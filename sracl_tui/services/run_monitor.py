"""Runs at work as their journals tell it: what the list shows between two publishes.

Only the journals of living runs are read, from where the last look ended. A home of ten thousand runs costs a look no
more than one `stat` of its folder.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.config import Config
from sracl_tui.runs.alerts.alerts import Alert, ending
from sracl_tui.runs.execution.local import last_output, launched_request
from sracl_tui.runs.journal_events import SKIPPED_BY_LIST
from sracl_tui.runs.request import RunRequest
from sracl_tui.runs.run_state import RunState
from store.errors import LookupFailed
from store.home import Home
from store.journal.journal import Tail, lock_held
from store.publishing.liveness import dead_state
from store.run_states import ACTIVE, OPEN

STRANGERS = 100
"""So many runs at most, the newest, are followed though the database does not know them: it may not be readable."""
EXPECTED_SECONDS = 60.0
"""A process that was asked for is waited for so long before it writes its first line."""
_EMPTY = dict.fromkeys((
    "reason", "preset", "group_name", "dataset_name", "best_epoch", "started_at", "heartbeat_at", "ended_at", "pid", "host",
    "boot_id", "timings", "test_hr_20", "test_ndcg_20", "test_mrr_20", "valid_hr_20", "valid_ndcg_20", "valid_mrr_10",
))  # fmt: skip


@dataclass
class _Watched:
    """A run that is followed."""

    tail: Tail
    live: RunState = field(default_factory=RunState)
    since: float = field(default_factory=time.monotonic)
    base: dict[str, Any] | None = None
    """The published row that was laid over; none where the database does not know the run yet."""
    over: dict[str, Any] = field(default_factory=dict)
    row: dict[str, Any] | None = None
    held: bool = False
    dead: bool = False
    state: str = "queued"
    """As it was last noticed."""


class RunMonitor:
    """Follows the runs that are at work."""

    def __init__(self, home: Home, *, clock: Callable[[], float] = time.time) -> None:
        self.deaths = 0
        """Runs that died since somebody looked here."""
        self._home, self._clock = home, clock
        self._since = clock()
        self._alerts: list[Alert] = []
        self._deaths: list[Alert] = []
        self._watched: dict[str, _Watched] = {}
        self._list: list[dict[str, Any]] = []
        self._known: dict[str, dict[str, Any]] = {}
        self._base: list[dict[str, Any]] | None = None
        self._folder_time = -1
        self._strangers: set[str] = set()
        self._given_up: set[str] = set()
        """Folders in which nothing has happened."""

    def expect(self, run_id: str) -> None:
        """Follow a run that was just started or is to go on, though its row says that it has ended."""
        self._watched[run_id] = _Watched(Tail(self._home.run_folder(run_id), skip=SKIPPED_BY_LIST))

    def overlay(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Published rows with what journals know better, runs that are not published yet first.

        Returns:
            A new list only where something has changed; rows that have not are the same objects.
        """
        changed = rows is not self._base
        if changed:
            self._base, self._known = rows, {row["run_id"]: row for row in rows}
        self._find(changed)
        for run_id, watched in list(self._watched.items()):
            changed = self._follow(run_id, watched) or changed
        if changed:
            fresh = sorted((run_id for run_id in self._watched if run_id not in self._known), reverse=True)
            over = {run_id: w.row for run_id, w in self._watched.items() if w.row is not None}
            self._list = [over[run_id] for run_id in fresh if run_id in over]
            self._list += [over.get(row["run_id"], row) for row in rows] if over else rows
        return self._list

    def news(self) -> tuple[list[Alert], list[Alert]]:
        """What a person should be told of since the last call; and of that, runs that died without a word."""
        found = self._alerts, self._deaths
        self._alerts, self._deaths = [], []
        return found

    def _notice(self, run_id: str, watched: _Watched, verdict: tuple[str, str] | None) -> None:
        """Note what the run told of, and its end; what is older than this watch is no news."""
        live = watched.live
        name = live.created.get("name") or run_id
        self._alerts += [Alert(kind, run_id, name, text, {}) for at, kind, text in live.alerts if at >= self._since]
        live.alerts.clear()
        state, reason = verdict or (live.state, live.reason)
        if state == watched.state:
            return
        before, watched.state = watched.state, state
        alert = ending(run_id, name, state, reason)
        if alert is None or (verdict is None and live.last_at < self._since) or before == "killed":
            return
        self._alerts.append(alert)
        if verdict is not None:
            self._deaths.append(alert)

    def _find(self, changed: bool) -> None:
        """Begin to follow runs that are at work, and folders that the database does not know."""
        with suppress(OSError):
            at = self._home.runs.stat().st_mtime_ns
            if at != self._folder_time or changed:
                self._folder_time = at
                fresh = set(os.listdir(self._home.runs)) - self._known.keys()
                self._strangers = set(heapq.nlargest(STRANGERS, fresh))  # by name, and so by time
        active = [run_id for run_id, row in self._known.items() if row["state"] in OPEN] if changed else []
        for run_id in (*active, *(self._strangers - self._given_up)):
            if run_id not in self._watched:
                try:
                    self.expect(run_id)
                except LookupFailed:  # not a run's folder
                    self._given_up.add(run_id)

    def _follow(self, run_id: str, watched: _Watched) -> bool:
        """Read on; whether the run's row is another one now."""
        folder = self._home.run_folder(run_id)
        watched.held = lock_held(folder)  # before the reading: who had let go of it by then has written his last line
        with suppress(OSError):
            watched.live.take(watched.tail.read())
        watched.live.log.clear()
        base = self._known.get(run_id)
        if self._is_over(watched, base):
            del self._watched[run_id]
            self._given_up.add(run_id)
            return True
        over = self._over(run_id, watched, base)
        if base is watched.base and over == watched.over:
            return False
        watched.base, watched.over = base, over
        watched.row = {**(base or self._begun(run_id, watched.live)), **over} if over else base
        return True

    def _is_over(self, watched: _Watched, base: dict[str, Any] | None) -> bool:
        """Whether the database knows all there is, or nothing came."""
        live = watched.live
        if watched.held or time.monotonic() - watched.since < EXPECTED_SECONDS:
            return False
        if base is None:
            return not live.lines
        return base["state"] not in OPEN and (not live.lines or live.state in (*ACTIVE, base["state"]))

    def _over(self, run_id: str, watched: _Watched, base: dict[str, Any] | None) -> dict[str, Any]:
        """What the journal knows better than the database."""
        live = watched.live
        if not live.lines:
            launched = not base and launched_request(self._home.run_folder(run_id)) is not None
            return self._unborn(run_id, watched) if launched else {}
        over: dict[str, Any] = {
            **live.started,
            "state": live.state,
            "reason": live.reason,
            "epoch": live.epoch,
            "best_epoch": live.best_epoch,
        }
        if live.dataset:
            over["dataset_name"] = live.dataset
        if live.state in ACTIVE:
            over["heartbeat_at"] = datetime.fromtimestamp(live.last_at, UTC).replace(tzinfo=None)
            verdict = dead_state(self._home, {"run_id": run_id, "host": None, "boot_id": None, "pid": None, **over})
            self.deaths += verdict is not None and not watched.dead
            watched.dead = verdict is not None
            del over["heartbeat_at"]
            self._notice(run_id, watched, verdict)
            if verdict is not None:
                over["state"], over["reason"] = verdict
            else:
                over["progress"] = live.progress(self._clock())
        elif live.ended:
            self._notice(run_id, watched, None)
            over["timings"] = live.ended.get("timings")
        for name, key in (("hr@20", "test_hr_20"), ("ndcg@20", "test_ndcg_20"), ("mrr@20", "test_mrr_20")):
            if name in live.test:
                over[key] = live.test[name]
        return over

    def _unborn(self, run_id: str, watched: _Watched) -> dict[str, Any]:
        """A run whose process has not written a line: it is about to, or it could not."""
        said = "" if watched.held else last_output(self._home, run_id)
        return {"state": "failed", "reason": said} if said else {"state": "queued"}

    def _begun(self, run_id: str, live: RunState) -> dict[str, Any]:
        """The row of a run that the database does not know."""
        folder, created = self._home.run_folder(run_id), live.created
        if not created:
            created = (launched_request(folder) or RunRequest(run_id=run_id, config=Config())).created()
        at = live.first_at or (folder.stat().st_mtime if folder.exists() else self._clock())
        made = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        return {
            **_EMPTY,
            **created,
            "usd": 0.0,
            "usd_known": 0.0,
            "run_id": run_id,
            "state": "queued",
            "epoch": 0,
            "created_at": made,
        }
