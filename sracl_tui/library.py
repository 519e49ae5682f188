"""The app's one way to the store: opened once, opened anew when it fails, read in worker threads only."""

from __future__ import annotations

import threading
import time
from typing import Any

from store import runs
from store.database import Store
from store.home import Home

CATCH_UP_SECONDS = 15.0


class Library:
    """A home and its store for the threads of the app."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._opened = 0.0

    def store(self) -> Store:
        """The open store; from time to time it takes in what dead runs and people's edits left.

        Raises:
            StoreError: it cannot be read now.
        """
        with self._lock:
            if self._store is None or time.monotonic() - self._opened > CATCH_UP_SECONDS:
                fresh = Store.open(self.home)
                if self._store is not None:
                    self._store.close()
                self._store, self._opened = fresh, time.monotonic()
            return self._store

    def close(self) -> None:
        """Let the files go."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def runs(self) -> list[dict[str, Any]]:
        """All runs as the database has them, newest first.

        Raises:
            StoreError: it cannot be read now.
        """
        return runs.list_runs(self.store())
