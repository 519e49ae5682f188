"""The app's one way to the store: opened once, opened anew when it fails, read in worker threads only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from engine.errors import ConfigError
from sracl_tui.runs.alerts import alerts
from sracl_tui.runs.alerts.alerts import Alert
from sracl_tui.services.run_monitor import RunMonitor
from store.database.database import Store, signature
from store.errors import StoreError
from store.home import Home
from store.opening import open_store
from store.queries import removed, runs
from store.run_row import ListedRun, MetricName

CATCH_UP_SECONDS = 30.0
RETRY_SECONDS = 2.0
"""Time between attempts to read a store that failed."""


@dataclass(frozen=True)
class Snapshot:
    """The runs of this moment, newest first; the same list as before where nothing has changed."""

    rows: list[ListedRun]
    trouble: str = ""
    """Why the store cannot be read now; then the rows are those that were read before."""
    known: bool = True
    """Whether the store was ever read."""
    alerts: tuple[Alert, ...] = ()
    """Alerts since the last snapshot."""
    removed_usd: float = 0.0
    """Known dollars that runs have spent which were removed."""


class StoreSession:
    """A home and its store for the threads of the app."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.watch = RunMonitor(home)
        self._lock = threading.Lock()
        self._watching, self._reading = threading.Lock(), threading.Lock()
        self._store: Store | None = None
        self._former: Store | None = None
        """The one before, which threads may still be reading."""
        self._opened = 0.0
        self._signature: tuple[int, ...] | None = None
        self._metrics: tuple[MetricName, ...] = ()
        self._read_metrics: tuple[MetricName, ...] = ()
        self._prints: dict[str, int] = {}
        self._rows: dict[str, ListedRun] = {}
        self._list: list[ListedRun] = []
        self._removed_usd = 0.0
        self._trouble, self._retry_at = "", 0.0

    @property
    def published(self) -> tuple[int, ...] | None:
        """The state of the database that was read last; none before the first."""
        return self._signature

    def store(self) -> Store:
        """The open store.

        Raises:
            StoreError: it cannot be read now.
        """
        with self._lock:
            if self._store is None:
                self._store, self._opened = open_store(self.home), time.monotonic()
            return self._store

    def close(self) -> None:
        """Close the store."""
        with self._lock:
            for store in (self._store, self._former):
                if store is not None:
                    store.close()
            self._store = self._former = None

    def poll(self) -> Snapshot:
        """Rows of all runs: the database as last read, live runs as their journals have them. Takes milliseconds."""
        with self._watching:
            rows = self.watch.overlay(self._list)
            text, deaths = self.watch.news()
            for alert in deaths:
                self._pass_on(alert)
            return Snapshot(rows, self._trouble, self._signature is not None, tuple(text), self._removed_usd)

    def _pass_on(self, alert: Alert) -> None:
        """Post the alert of a run that died before it could post it itself."""
        with suppress(ConfigError, OSError):
            alerts.notify_death(self.home, alert, alerts.read(self.home))

    def want_metrics(self, metrics: Iterable[MetricName]) -> None:
        """Have rows with columns of these metrics too, from the next `read` on, which is due where any of them is new.

        A metric that was wanted once stays, so that a filter that is typed and erased reads the database once.
        """
        self._metrics = tuple(dict.fromkeys([*self._metrics, *metrics]))

    def expect(self, run_id: str) -> None:
        """Follow a run that is about to be resumed, although its row says that it has ended."""
        with self._watching:
            self.watch.expect(run_id)

    @property
    def is_stale(self) -> bool:
        """Whether to `read` now: a new state was published, a run died, or journals are due for ingestion."""
        now = time.monotonic()
        if now < self._retry_at:
            return False
        late = self.watch.deaths > 0 or now - self._opened > CATCH_UP_SECONDS
        return (
            late
            or bool(self._trouble)
            or self._read_metrics != self._metrics
            or signature(self.home) != self._signature
        )

    def read(self) -> None:
        """Read the database, or only the rows of it that differ; takes in what dead runs and people's edits left.

        May take long, as it may have to wait for others: call it in a worker of its own.
        """
        with self._reading:
            try:
                self._catch_up()
                found, metrics = signature(self.home), self._metrics
                if found != self._signature or metrics != self._read_metrics:
                    known = self._prints if metrics == self._read_metrics else {}
                    self._prints, self._rows = runs.list_changed(self.store(), known, self._rows, metrics=metrics)
                    self._removed_usd = removed.spent_by_removed(self.store())
                    self._list, self._signature, self._read_metrics = list(self._rows.values()), found, metrics
            except StoreError as error:
                self._trouble, self._retry_at = str(error), time.monotonic() + RETRY_SECONDS
            else:
                self._trouble = ""

    def _catch_up(self) -> None:
        """Reopen the store at intervals; threads that use the old one have until the next time to finish with it."""
        if self._store is None or (time.monotonic() - self._opened < CATCH_UP_SECONDS and not self.watch.deaths):
            return
        self.watch.deaths = 0
        self._opened = time.monotonic()
        fresh = open_store(self.home)
        with self._lock:
            older, self._former, self._store = self._former, self._store, fresh
        if older is not None:
            older.close()
