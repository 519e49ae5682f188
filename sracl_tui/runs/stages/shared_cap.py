"""One cap for the jobs that share a summary set: a file with what each has spent and reserved, changed under a lock."""

from __future__ import annotations

import json
import time

from store.atomic_write import atomic_write
from store.errors import StoreError
from store.home import Home
from store.locks import FileLock
from store.regular_file import read_regular

SECONDS = 60.0
"""How long an amount of the others that does not change is waited for: a job that died keeps what it had reserved, as it may be billed."""


class SharedCap:
    """What the jobs of a group hold of their cap. A job that starts again begins with what it held."""

    def __init__(self, home: Home, group: str, name: str) -> None:
        """Args:
        group: of the jobs that share the cap.
        name: of this one.
        """
        self._path = home.cache / f"cap-{group}.json"
        self._lock = FileLock(self._path.with_suffix(".lock"))
        self._name = name
        self._seen: tuple[float, float] = (0.0, 0.0)

    def hold(self, usd: float, cap: float | None = None) -> bool:
        """Record that this job holds so many dollars, spent and reserved, if all jobs together stay within a cap; whether they do.

        Raises:
            StoreError: the file cannot be read, so that nobody knows what is spent.
        """
        with self._lock:
            amounts = self._read()
            others = sum(amount for name, amount in amounts.items() if name != self._name)
            if others != self._seen[0]:
                self._seen = others, time.monotonic()
            if cap is not None and others + usd > cap:
                return False
            with atomic_write(self._path) as temporary:
                temporary.write_text(json.dumps(amounts | {self._name: usd}), "utf-8")
            return True

    def held(self) -> float:
        """What this job holds: of one that died also what it had reserved, as that may have been billed."""
        with self._lock:
            return self._read().get(self._name, 0.0)

    def may_change(self) -> bool:
        """Whether the others' amount, when last asked for, has changed within the last minute, so that they may free some of it."""
        return time.monotonic() - self._seen[1] < SECONDS

    def _read(self) -> dict[str, float]:
        try:
            return {str(name): float(amount) for name, amount in json.loads(read_regular(self._path)).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise StoreError(
                f"what was spent of the shared budget cannot be read: {error}", where=str(self._path)
            ) from None
