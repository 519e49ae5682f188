"""One cap for the jobs that share a summary set: a file with what each has spent and reserved, changed under a lock."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from store.atomic_write import atomic_write
from store.errors import StoreError
from store.home import Home
from store.locks import FileLock, held
from store.regular_file import read_regular


class Amount(NamedTuple):
    """Dollars of one job."""

    held: float
    """Spent and reserved."""
    reserved: float
    """For calls in flight."""


class SharedCap:
    """What the jobs of a group hold of their cap, while the block is open. A job that starts again begins with what it held."""

    def __init__(self, home: Home, group: str, name: str) -> None:
        """Args:
        group: of the jobs that share the cap.
        name: of this one.
        """
        self._path = home.cache / f"cap-{group}.json"
        self._lock = FileLock(self._path.with_suffix(".lock"))
        self._name = name
        self._alive = FileLock(self._alive_path(name))
        self._others_busy = False

    def __enter__(self) -> SharedCap:
        self._alive.acquire(wait=1.0)  # another may look at it for an instant
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._alive.release()

    def hold(self, usd: float, cap: float | None = None, *, reserved: float) -> bool:
        """Record that this job holds so many dollars, if all jobs together stay within a cap; whether they do.

        Args:
            usd: spent and reserved.
            reserved: the part for calls in flight.

        Raises:
            StoreError: the file cannot be read, so that nobody knows what is spent.
        """
        with self._lock:
            amounts = self._read()
            others = {name: amount for name, amount in amounts.items() if name != self._name}
            if cap is not None and sum(amount.held for amount in others.values()) + usd > cap:
                self._others_busy = any(
                    amount.reserved > 0 and held(self._alive_path(name)) for name, amount in others.items()
                )
                return False
            with atomic_write(self._path) as temporary:
                temporary.write_text(json.dumps(amounts | {self._name: Amount(usd, reserved)}), "utf-8")
            return True

    def held(self) -> float:
        """What this job holds: of one that died also what it had reserved, as that may have been billed."""
        with self._lock:
            return self._read().get(self._name, Amount(0.0, 0.0)).held

    def may_change(self) -> bool:
        """Whether another job had calls in flight when the cap was last too small, so that it may free some of it.

        One that died frees nothing, as what it had reserved may be billed.
        """
        return self._others_busy

    def _alive_path(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.stem}-{name.replace('/', '-of-')}.lock")

    def _read(self) -> dict[str, Amount]:
        try:
            return {str(name): _amount(value) for name, value in json.loads(read_regular(self._path)).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise StoreError(
                f"what was spent of the shared budget cannot be read: {error}", where=str(self._path)
            ) from None


def _amount(value: object) -> Amount:
    usd, reserved = value if isinstance(value, list) else (value, 0.0)  # an earlier version kept no reserves
    return Amount(float(usd), float(reserved))  # pyright: ignore[reportArgumentType]
