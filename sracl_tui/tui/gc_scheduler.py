"""Python's full garbage collections, put where nobody waits: one takes 100 to 600 ms in a process of this size."""

from __future__ import annotations

import gc
import time

YOUNG = (2_000, 5, 1_000_000)
"""Thresholds of the three generations: the oldest is never collected by itself."""
IDLE_SECONDS = 20.0
APART_SECONDS = 120.0


class GcScheduler:
    """Collects young garbage as ever, and all of it when nobody has pressed a key for a while."""

    def __init__(self) -> None:
        self._before = gc.get_threshold()
        self._touched = self._collected = time.monotonic()

    def start(self) -> None:
        """What the start has made stays for good."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*YOUNG)

    def stop(self) -> None:
        """As it was before."""
        gc.unfreeze()
        gc.set_threshold(*self._before)

    def touch(self) -> None:
        """A key was pressed, or the mouse moved."""
        self._touched = time.monotonic()

    def look(self) -> bool:
        """Collect where it is time; whether it was."""
        now = time.monotonic()
        due = now - self._touched > IDLE_SECONDS and now - self._collected > APART_SECONDS
        if due:
            gc.collect()
            self._collected = now
        return due
