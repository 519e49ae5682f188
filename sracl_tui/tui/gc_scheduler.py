"""Runs Python's full garbage collections while the app is idle: one takes 100 to 600 ms in a process of this size."""

from __future__ import annotations

import gc
import time

YOUNG = (2_000, 5, 1_000_000)
"""Thresholds of the three generations: the oldest is never collected by itself."""
IDLE_SECONDS = 20.0
APART_SECONDS = 120.0


class GcScheduler:
    """Collects young objects as usual, and old ones only while the app is idle."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None
        """Thresholds before the start."""
        self._touched = self._collected = time.monotonic()

    def start(self) -> None:
        """Collect once, exempt everything that exists from later collections, and raise the thresholds."""
        self._before = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*YOUNG)

    def stop(self) -> None:
        """Restore the thresholds of before and end the exemption; nothing where it was not started."""
        if self._before is not None:
            gc.unfreeze()
            gc.set_threshold(*self._before)
            self._before = None

    def touch(self) -> None:
        """Note that a key was pressed or the mouse moved."""
        self._touched = time.monotonic()

    def collect_if_idle(self) -> bool:
        """Run a full collection if nobody has used the app for a while; returns whether it ran."""
        now = time.monotonic()
        due = now - self._touched > IDLE_SECONDS and now - self._collected > APART_SECONDS
        if due:
            gc.collect()
            self._collected = now
        return due
