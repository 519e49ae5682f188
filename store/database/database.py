"""Reading the databases of a home, and running SQL that a person wrote.

All stores of a process share one read-only DuckDB instance with the vectors attached, which can reach no other file.
Writers never open the published files: they work on a copy (see `store.publishing.publish`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb

from store.database.connection import bindable, explain, fetch, open_published
from store.database.person_sql import (
    Cancel,
    canceler,
    last_relation,
    python_values,
    run_sql,
    stream_sql,
    told_as_failed,
)
from store.errors import QueryFailed, StoreBusy, StoreError
from store.home import Home

if TYPE_CHECKING:
    import pyarrow as pa

    from store.database.result_texts import Form

PATIENCE_SECONDS = 1.0
"""How long a query waits for running ones to end before it reads the old files with them."""
WATCH_SECONDS = 1.0
"""How often an instance that no query uses looks whether its files are old."""
OPENINGS = 20
"""Attempts to open files that are replaced meanwhile."""


class _Instance:
    """The read-only DuckDB instance of a home, shared by the process's stores; reopened when new files are published."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Condition(threading.RLock())
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._files: tuple[tuple[int, ...], ...] = ()
        self._busy = 0
        self._over = threading.Event()
        """Ends the thread that watches the open connection."""
        self.users = 0

    @contextmanager
    def cursor(self, *, newest: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor on the newest files that can be opened. Args: newest: see `reading`.

        DuckDB gives the old file for as long as one query of the process still reads it, so a query that comes after a
        publish waits up to PATIENCE_SECONDS for the running ones. Where they take longer, it reads the old files too.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._busy == 0 or self._files == self._current(), PATIENCE_SECONDS)
            if self._busy == 0 and self._files != self._current():
                self.close()
            if self._connection is None:
                self._connection = self._open_consistent()
                self._let_go_when_old()
            elif newest and self._files != self._current():
                raise StoreBusy("a query still reads an earlier state", pid=None, where=str(self._home.database))
            cursor = self._connection.cursor()
            self._busy += 1
        try:
            yield cursor
        finally:
            cursor.close()
            with self._lock:
                self._busy -= 1
                if self.users == 0:
                    self.close()
                self._lock.notify_all()

    def close(self) -> None:
        with self._lock:
            self._over.set()
            if self._connection is not None and self._busy == 0:  # else the last query's end closes it
                self._connection.close()
                self._connection = None

    def _let_go_when_old(self) -> None:
        """Close the files soon after a publish, although no query comes: a file that is open cannot be written to again."""
        over = self._over = threading.Event()

        def watch() -> None:
            while not over.wait(WATCH_SECONDS):
                with self._lock:
                    if not over.is_set() and self._busy == 0 and self._files != self._current():
                        self.close()

        threading.Thread(target=watch, name="reader", daemon=True).start()

    def _current(self) -> tuple[tuple[int, ...], ...]:
        """Inode, time and size of each file: an inode alone comes back, as two files take turns."""
        return tuple(map(_state, (self._home.database, self._home.vectors)))

    def _open_consistent(self) -> duckdb.DuckDBPyConnection:
        """Open the files, and open them again if they were replaced meanwhile.

        DuckDB opens a file once for its header and once more for its blocks. If the file is replaced in between, the
        instance has the header of the old file and the blocks of the new one.
        """
        for _ in range(OPENINGS):
            self._files = self._current()
            try:
                connection = self._open()
            except StoreError:
                if self._files == self._current():
                    raise
            else:
                if self._files == self._current():
                    return connection
                connection.close()
        raise StoreError("the store is being replaced all the time", where=str(self._home.database))

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            return open_published(self._home.database, vectors=self._home.vectors)
        except duckdb.Error as error:
            main = str(self._home.vectors) not in str(error)
            raise explain(error, self._home.database if main else self._home.vectors) from None


def signature(home: Home) -> tuple[int, ...]:
    """Inode, time and size of both files, which differ after every publish."""
    return (*_state(home.database), *_state(home.vectors))


_instances: dict[Path, _Instance] = {}
_instances_lock = threading.Lock()


def _join(home: Home) -> _Instance:
    with _instances_lock:
        instance = _instances.setdefault(home.path, _Instance(home))
        instance.users += 1
    return instance


def _leave(home: Home, instance: _Instance) -> None:
    with _instances_lock:
        instance.users -= 1
        if instance.users == 0:
            instance.close()
            _instances.pop(home.path, None)


@contextmanager
def reading(home: Home, *, newest: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor on this process's instance; closing a second connection would drop the locks of the first (POSIX).

    Args:
        newest: fail where a long query of this process keeps it at an earlier state.

    Raises:
        StoreBusy: see `newest`, and below.
        StoreError: the database cannot be read.
    """
    instance = _join(home)
    try:
        with instance.cursor(newest=newest) as cursor:
            yield cursor
    except duckdb.Error as error:
        raise explain(error, home.database) from None
    finally:
        _leave(home, instance)


@contextmanager
def kept_open(home: Home) -> Iterator[None]:
    """What is read meanwhile is read from one instance: to make one takes longer than most queries."""
    instance = _join(home)
    try:
        yield
    finally:
        _leave(home, instance)


class Store:
    """A home's databases, open for reading. Every query sees the newest published state.

    `store.opening.open_store` makes one: it sees to it first that the files exist and have the newest schema.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.behind: StoreError | None = None
        """Why journals that waited when the store was opened could not be published."""
        self._instance: _Instance | None = _join(home)

    def close(self) -> None:
        """End the use of the files; the last store of the process closes them."""
        instance, self._instance = self._instance, None
        if instance is not None:
            _leave(self.home, instance)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def table(self, query: str, parameters: Sequence[Any] = (), **tables: pa.Table) -> pa.Table:
        """Rows of one of our own queries as an Arrow table; the query can name each of `tables` by its keyword.

        Raises:
            StoreError: the database cannot be read.
        """
        try:
            with self._cursor() as cursor:
                for name, table in tables.items():
                    cursor.register(name, table)
                return fetch(cursor, query, parameters)
        except duckdb.Error as error:
            raise explain(error, self.home.database) from None

    def parts(self, query: str, parameters: Sequence[Any] = (), *, rows: int = 122_880) -> Iterator[pa.RecordBatch]:
        """Rows of one of our own queries as Arrow batches of at most so many, which are read as they are asked for.

        Raises:
            StoreError: the database cannot be read.
        """
        try:
            with self._cursor() as cursor:
                yield from cursor.sql(query, params=bindable(parameters)).to_arrow_reader(rows)
        except duckdb.Error as error:
            raise explain(error, self.home.database) from None

    def rows(self, query: str, parameters: Sequence[Any] = (), **tables: pa.Table) -> list[dict[str, Any]]:
        """Rows of one of our own queries as dictionaries; see `table`. A value that Python cannot hold is a text that says so.

        Without `tables` pyarrow is not imported, which takes longer than reading a few rows.
        """
        if not tables:
            with suppress(duckdb.Error, ArithmeticError, ValueError, NotImplementedError), self._cursor() as cursor:
                cursor.execute(query, bindable(parameters))
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        found = self.table(query, parameters, **tables)
        try:
            return found.to_pylist()
        except (ArithmeticError, ValueError, NotImplementedError):
            columns = [python_values(column) for column in found.columns]
            return [dict(zip(found.column_names, values, strict=True)) for values in zip(*columns, strict=True)]

    def tuples(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of one of our own queries as tuples, without importing pyarrow."""
        try:
            with self._cursor() as cursor:
                return cursor.execute(query, bindable(parameters)).fetchall()
        except duckdb.Error as error:
            raise explain(error, self.home.database) from None

    def user_sql(
        self,
        query: str,
        *,
        limit: int | None = None,
        started: Callable[[Cancel], None] | None = None,
        form: Form = "values",
    ) -> pa.Table | None:
        """Rows of a query that a person wrote, which can change nothing; None for a statement without rows.

        Args:
            limit: rows to read; one row more is returned where there are more.
            started: called with a function that cancels the query, from any thread. A query that has not begun yet
                does not notice: call it again until this method returns.
            form: what the cells are, see `store.database.result_texts`.

        Raises:
            QueryFailed: with the database's own words; canceled.
        """
        with self._cursor() as cursor:
            if started is not None:
                started(canceler(cursor))
            return run_sql(cursor, query, limit=limit, form=form)

    def stream_sql(
        self, query: str, *, started: Callable[[Cancel], None] | None = None, form: Form = "values"
    ) -> Iterator[pa.Table]:
        """Rows of a query that a person wrote, some thousands at a time: first a table, with no row where there is none.

        Nothing for a statement without rows. See `user_sql`.

        Raises:
            QueryFailed: with the database's own words, maybe after the first rows; canceled.
        """
        with self._cursor() as cursor:
            if started is not None:
                started(canceler(cursor))
            yield from stream_sql(cursor, query, form)

    def save_sql(self, query: str, path: Path, *, started: Callable[[Cancel], None] | None = None) -> int:
        """Write all rows of a query that a person wrote to a file: .csv, .parquet or .json (one object a line).

        The rows are streamed, and the file appears when it is complete.

        Returns:
            How many rows.

        Raises:
            QueryFailed: with the database's own words; canceled; the statement has no rows.
            StoreError: no such format, or the file cannot be written.
        """
        from store.database.result_files import save

        with self._cursor() as cursor:
            if started is not None:
                started(canceler(cursor))
            with told_as_failed():
                relation = last_relation(cursor, query)
                if relation is None:
                    raise QueryFailed("the statement has no rows to save")
                return save(relation, path)

    def save_rows(self, query: str, parameters: Sequence[Any], path: Path, **tables: pa.Table) -> int:
        """Write the rows of one of our own queries (see `table`) to a file, as `save_sql` does; returns their number.

        Raises:
            StoreError: the database cannot be read, or the file cannot be written.
        """
        from store.database.result_files import save

        try:
            with self._cursor() as cursor:
                for name, table in tables.items():
                    cursor.register(name, table)
                return save(cursor.sql(query, params=list(parameters)), path)
        except duckdb.Error as error:
            raise explain(error, self.home.database) from None

    def _cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        if self._instance is None:
            raise StoreError("this store is closed", where=str(self.home.database))
        return self._instance.cursor()


def _state(path: Path) -> tuple[int, ...]:
    """Inode, time and size of a file; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
