"""Unites the readable rows of several files in a new one."""

from __future__ import annotations

from contextlib import suppress

import duckdb

from store.database.connection import attach, quoted
from store.errors import StoreError
from store.maintenance.sources import Source
from store.maintenance.tables import Table, owner_of, rows_by_owner, tables_of

_KEYS = {
    # table: columns that tell its rows apart
    "datasets": ("dataset_id",),
    "users": ("dataset_id", "user_id"),
    "items": ("dataset_id", "item_id"),
    "interactions": ("dataset_id", "user_id", "position"),
    "anchors": ("dataset_id", "anchor_id"),
    "prompts": ("version",),
    "summary_sets": ("set_id",),
    "summaries": ("key",),
    "summary_links": ("set_id", "owner_id"),
    "api_calls": ("run_id", "key", "attempt", "sent_at"),
    "neighbor_lists": ("list_id",),
    "neighbors": ("list_id", "anchor_id", "rank"),
    "runs": ("run_id",),
    "metrics": ("run_id", "epoch", "step", "split", "subgroup", "name"),
    "user_ranks": ("run_id", "split", "user_id"),
    "synthesizer_weights": ("run_id", "phase", "anchor_id", "neighbor_id"),
    "machine_samples": ("run_id", "segment", "seconds"),
    "user_epochs": ("run_id", "epoch", "user_id"),
    "journal_offsets": ("source", "segment"),
    "vectors": ("sha256", "encoder"),
    "findings": ("finding_id",),
    "removed_runs": ("run_id",),
    "removed_rows": ("run_id", "table_name"),
}
"""Of all other tables, the whole row."""
LEFT = {Table("main", "schema_version"), Table("main", "queue")}
"""Tables that a new file has already, or that every publish writes anew."""


class Union:
    """A new database in the making, which takes rows from attached files; it can reach no other file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, sources: list[Source]) -> None:
        self._connection = connection
        self._sources = {id(source): f"source{place}" for place, source in enumerate(sources)}
        attach(connection, {self._sources[id(source)]: source.path for source in sources})
        self._database = connection.execute("SELECT current_database()").fetchall()[0][0]
        self.ours = [table for table in tables_of(connection, self._database) if table not in LEFT]
        """Tables of the schema."""

    def take_all(self, table: Table, source: Source) -> None:
        """Add all readable rows of a table of a source."""
        for query in source.queries(table, self._sources[id(source)]):
            here, there = self._columns(table.sql(self._database)), self._columns(query)
            columns = ", ".join(quoted(name) for name in here if name in there)
            self._connection.execute(
                f"INSERT INTO {table.sql(self._database)} ({columns}) SELECT {columns} FROM {query} s"
            )

    def fill(self, table: Table, source: Source, *, newer: Source | None = None, short: bool = False) -> None:
        """Add the readable rows of a table of a source whose key is not there yet.

        Args:
            newer: leave those runs to this source of which it has heard later.
            short: only of runs, lists, sets and data sets of which the source has more rows than there are: an older file
                may have rows that a resumed run has measured again since.
        """
        target = table.sql(self._database)
        for query in source.queries(table, self._sources[id(source)]):
            here, there = self._columns(target), self._columns(query)
            columns = ", ".join(quoted(name) for name in here if name in there)
            key = _KEYS.get(table.name) if table.schema == "main" else None
            if key is None:
                chosen = f"SELECT {columns} FROM {query} s EXCEPT ALL SELECT {columns} FROM {target}"
            else:
                same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM s.{name}" for name in key)
                other = " OR t.name = s.name" * (table.name == "datasets")
                chosen = f"SELECT {columns} FROM {query} s WHERE NOT EXISTS (FROM {target} t WHERE {same}{other})"
                owner = owner_of(table)
                if short and owner is not None and key != (owner,):
                    counts = [f"(SELECT {owner}, count(*) AS n FROM {name} x GROUP BY ALL)" for name in (query, target)]
                    chosen += (
                        f" AND {owner} IN (SELECT a.{owner} FROM {counts[0]} a LEFT JOIN {counts[1]} b USING ({owner}) "
                        "WHERE a.n > coalesce(b.n, 0))"
                    )
                if newer is not None and table.name == "runs" and table in newer.whole:
                    other_runs = table.sql(self._sources[id(newer)])
                    chosen += (
                        f" AND NOT EXISTS (FROM {other_runs} o WHERE o.run_id = s.run_id "
                        "AND o.heartbeat_at > coalesce(s.heartbeat_at, '-infinity'::TIMESTAMP))"
                    )
            self._connection.execute(f"INSERT INTO {target} ({columns}) {chosen}")

    def take_own(self, table: Table, source: Source) -> bool:
        """Make a person's own table, with its constraints where they hold, and its rows; False where that failed."""
        database = self._sources[id(source)]
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.schema)}")
        found = self._connection.execute(
            "SELECT sql FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [database, table.schema, table.name],
        ).fetchall()
        plain = f"CREATE TABLE {table.sql(self._database)} AS FROM {table.sql(database)} LIMIT 0"
        for statement in (found[0][0], plain):
            with suppress(duckdb.Error):
                self._connection.execute(statement)
                self.take_all(table, source)
                return True
            with suppress(duckdb.Error):
                self._connection.execute(f"DROP TABLE IF EXISTS {table.sql(self._database)}")
        return False

    def take_views(self, source: Source) -> list[str]:
        """Make a person's own views; returns the names of those that could not be made."""
        known = {row[0] for row in self._views(self._database)}
        failed: list[str] = []
        for name, statement in self._views(self._sources[id(source)]):
            if name not in known:
                try:
                    self._connection.execute(statement)
                except duckdb.Error:
                    failed.append(name)
        return failed

    def _views(self, database: str) -> list[tuple[str, str]]:
        return self._connection.execute(
            "SELECT view_name, sql FROM duckdb_views() WHERE database_name = ? AND NOT internal ORDER BY view_oid",
            [database],
        ).fetchall()

    def check_nothing_lost(self, source: Source) -> None:
        """Compare the rows of each run, list, set and data set with those that can be read of a source.

        Raises:
            StoreError: there are fewer of one.
        """
        for table in source.tables():
            if table in LEFT:
                continue
            after = rows_by_owner(self._connection, table.sql(self._database), table)
            before: dict[str | None, int] = {}
            for query in source.queries(table, self._sources[id(source)]):
                for owner, count in rows_by_owner(self._connection, f"{query} s", table).items():
                    before[owner] = before.get(owner, 0) + count
            for owner, count in before.items():
                if after.get(owner, 0) < count:
                    raise StoreError(
                        f"{after.get(owner, 0):,} of {count:,} rows of {owner or 'all'} would be left in {table}",
                        where=source.label,
                        hint="Nothing was changed.",
                    )

    def _columns(self, source: str) -> list[str]:
        return [column[0] for column in self._connection.execute(f"SELECT * FROM {source} s LIMIT 0").description or ()]
