"""The first publish of a home, and what tells it from one in a home that has lost its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from store.errors import StoreError
from store.home import Home
from store.publishing.replacement import standbys_of


@contextmanager
def birth(home: Home) -> Iterator[None]:
    """Guard a publish; the caller holds the side lock.

    A first publish that was killed may have made one database and not yet the other: the mark says so until it ends.

    Raises:
        StoreError: the database is missing, and the home is not new.
    """
    if not home.database.exists():
        check_not_lost(home)
        home.unborn.touch()
    yield
    home.unborn.unlink(missing_ok=True)


def lost_signs(home: Home) -> list[str]:
    """What shows that a home without a main database had one, in words; empty where it has one, or is new."""
    if home.database.exists() or home.unborn.exists():
        return []
    runs = sum(1 for folder in (home.runs, home.trash) for _ in folder.glob("*/events-*.jsonl"))
    backups = sum(1 for _ in home.path.glob("backups/*/sracl.duckdb"))
    kept = [*home.path.glob("sracl.damaged-*.duckdb"), *home.path.glob("sracl.before-v*.duckdb")]
    found = [f"{runs:,} journals of runs"] * (runs > 0) + [f"{backups:,} backups"] * (backups > 0)
    found += [home.vectors.name] * home.vectors.exists()
    return found + [path.name for path in [*kept, *standbys_of(home.database)]]


def check_not_lost(home: Home) -> None:
    """Refuse to make an empty database in a home that had one.

    Raises:
        StoreError: it had one.
    """
    signs = lost_signs(home)
    if signs:
        raise StoreError(
            f"the database is missing, though this home has {', '.join(signs)}",
            where=str(home.database),
            hint="`sracl db repair` brings it back from the newest backup and the journals. Nothing was changed.",
        )
