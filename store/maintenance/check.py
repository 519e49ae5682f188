"""Whether a home is whole: its database files, and everything from which they could be made anew."""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb

from store.database.connection import FOREIGN, explain, forbidden, open_foreign
from store.database.database import reading
from store.database.migrate import DatabaseName, migrations, version_of
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.maintenance.journals import JournalsRead, read_journals
from store.maintenance.lock_files import misplaced
from store.maintenance.schema_check import file_problems, schema_problems
from store.maintenance.tables import read_all, read_file, tables_of
from store.publishing.birth import lost_signs
from store.publishing.bundle_reader import FILE
from store.publishing.ingest import offsets_of, pending_segments
from store.publishing.replacement import path_of, standbys_of

_RULES = {
    # problem: query that counts the rows that have it
    "metrics of a run that does not exist": "SELECT count(*) FROM metrics m ANTI JOIN runs r USING (run_id)",
    "metrics that are stored twice": (
        "SELECT count(*) - count(DISTINCT (run_id, epoch, step, split, subgroup, name)) FROM metrics"
    ),
    "ranks of a run that does not exist": "SELECT count(*) FROM user_ranks m ANTI JOIN runs r USING (run_id)",
    "links to a summary that does not exist": "SELECT count(*) FROM summary_links l ANTI JOIN summaries s USING (key)",
    "neighbors of a list that does not exist": "SELECT count(*) FROM neighbors n ANTI JOIN neighbor_lists l USING (list_id)",
    "runs that were removed and are still listed": "SELECT count(*) FROM runs SEMI JOIN removed_runs USING (run_id)",
    "rows in the trash of runs that were not removed": "SELECT count(*) FROM removed_rows ANTI JOIN removed_runs USING (run_id)",
    "interactions of a dataset that does not exist": (
        "SELECT count(*) FROM interactions i ANTI JOIN datasets d USING (dataset_id)"
    ),
    "datasets with other numbers of users, items or interactions than they were imported with": (
        "SELECT count(*) FROM datasets d WHERE users <> (SELECT count(*) FROM users WHERE dataset_id = d.dataset_id) "
        "OR items <> (SELECT count(*) FROM items WHERE dataset_id = d.dataset_id) "
        "OR interactions <> (SELECT count(*) FROM interactions WHERE dataset_id = d.dataset_id)"
    ),
}
_NAMED_DATA = (
    "SELECT run_id, dataset_id, dataset_name FROM runs r WHERE dataset_id IS NOT NULL AND NOT EXISTS "
    "(SELECT 1 FROM datasets d WHERE d.dataset_id = r.dataset_id) ORDER BY run_id"
)


@dataclass
class Health:
    """Result of `check_home`: rows by table, and problems in sentences."""

    rows: dict[str, int] = field(default_factory=dict)
    files: dict[DatabaseName, list[str]] = field(default_factory=lambda: {"main": [], "vectors": []})
    """What is wrong with each database file, such that it has to be made anew."""
    newer: list[str] = field(default_factory=list)
    """Files that a newer version wrote: nothing is wrong with them, and this program leaves them alone."""
    forbidden: list[str] = field(default_factory=list)
    """Files among them that this user may not read, which need not be damaged: a repair must not replace them."""
    content: list[str] = field(default_factory=list)
    """Rows of readable files that do not fit each other."""
    journals: dict[str, list[str]] = field(default_factory=dict)
    """What is wrong with the journal of each run, by its id, and of people's edits."""
    backups: list[str] = field(default_factory=list)
    """What is wrong with the newest backup."""
    standbys: list[str] = field(default_factory=list)
    """What is wrong with the files into which the next states would be written; without them the published ones are copied."""
    locks: list[str] = field(default_factory=list)
    """What stands in the place of lock files, so that processes which need them cannot go on."""
    waiting: int = 0
    """Journal segments with lines that are not in the database yet."""
    torn: list[str] = field(default_factory=list)
    """Journal segments that end in the middle of a line; that is no problem where the database has all that was in them."""
    unguarded: int = 0
    """Journal segments of earlier versions, without checksums: a digit that changes in them is not noticed."""

    @property
    def problems(self) -> list[str]:
        """All that is wrong, in sentences."""
        told = [problem for problems in self.journals.values() for problem in problems]
        return [
            *self.files["main"], *self.files["vectors"], *self.newer, *self.content, *told, *self.backups, *self.standbys, *self.locks
        ]  # fmt: skip


def check_home(home: Home) -> Health:
    """Read every row of both files and of the newest backup, every line of the journals and every table that they name.

    Where the files cannot be read together, each is read by itself; nothing is made, moved or changed.
    """
    health, known = Health(), _Known()
    unopened = [which for which in ("main", "vectors") if _unopened(home, which, health)]
    try:
        if unopened:
            _read_apart(home, health, known)
        else:
            with reading(home) as cursor:
                _read_tables(cursor, health)
                _check_content(cursor, health, known)
    except StoreBusy as error:
        health.content.append(str(error))
    except StoreError:
        _read_apart(home, health, known)
    _check_data(home, known.without_data, health)
    read = read_journals(home, known.offsets, known.runs)
    health.journals, health.unguarded, health.torn = read.problems, read.unsealed, read.torn
    if not any(health.files.values()):
        _check_vectors(home, read, health)
    with suppress(OSError):
        health.waiting = sum(1 for _ in pending_segments(home, known.offsets, thorough=True))
    _check_backup(home, health)
    _check_standbys(home, health)
    health.locks = [f"{path}: it is no lock file; `sracl db repair` sets it aside" for path in misplaced(home)]
    return health


@dataclass
class _Known:
    """What a readable main database says of the rest of the home."""

    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    without_data: list[tuple[str, str, str]] = field(default_factory=list)
    """Run, id and name of its data set, which is not there."""


def _unopened(home: Home, which: DatabaseName, health: Health) -> bool:
    """Whether a database is not there, or is something that must not even be opened; adds the problem."""
    path = path_of(home, which)
    if (denied := forbidden(path)) is not None:
        health.forbidden.append(f"{denied.where}: {denied.message}")
        health.files[which].append(health.forbidden[-1])
        return True
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        signs = f", though this home has {', '.join(lost_signs(home))}" if which == "main" and lost_signs(home) else ""
        missing = isinstance(error, FileNotFoundError)
        health.files[which].append(f"{path}: the file {'is missing' if missing else error.strerror}{signs}")
        return True
    if not regular:
        health.files[which].append(f"{path}: it is no plain file")
    return not regular


def _read_tables(cursor: duckdb.DuckDBPyConnection, health: Health) -> None:
    names: list[tuple[DatabaseName, str]] = [
        ("main", cursor.execute("SELECT current_database()").fetchall()[0][0]),
        ("vectors", "vectors"),
    ]
    for which, database in names:
        for table in tables_of(cursor, database):
            label = f"vectors.{table}" if which == "vectors" else str(table)
            try:
                health.rows[label] = read_all(cursor, table.sql(database))
            except duckdb.Error as error:
                health.files[which].append(f"table {label} cannot be read: {str(error).splitlines()[0]}")
        _check_version(which, version_of(cursor, database), health)
        health.files[which] += schema_problems(cursor, database, which)


def _check_version(which: DatabaseName, found: int, health: Health) -> None:
    newest = migrations(which)[-1].version
    if found > newest:
        health.newer.append(
            f"the {which} database has schema version {found}, and this program knows {newest}: a newer sracl wrote it"
        )


def _read_apart(home: Home, health: Health, known: _Known) -> None:
    """Read each file by itself, where they cannot be opened together."""
    health.rows.clear()
    for which in ("main", "vectors"):
        path = path_of(home, which)
        if not path.is_file():
            continue
        health.files[which].clear()
        try:
            whole, broken = read_file(path)
            connection = open_foreign(path)
            try:
                _check_version(which, version_of(connection, FOREIGN), health)
                odd = schema_problems(connection, FOREIGN, which)
                if which == "main":
                    connection.execute(f"USE {FOREIGN}")
                    _check_content(connection, health, known)
            finally:
                connection.close()
        except duckdb.Error as error:
            health.files[which].append(str(explain(error, path)).splitlines()[0])
            continue
        prefix = "vectors." if which == "vectors" else ""
        health.rows |= {f"{prefix}{table}": count for table, count in whole.items()}
        health.files[which] += odd
        health.files[which] += [f"table {prefix}{table} cannot be read: {why}" for table, why in broken.items()]


def _check_content(cursor: duckdb.DuckDBPyConnection, health: Health, known: _Known) -> None:
    """Rows of the main database that do not fit each other; what cannot be read is a problem already."""
    with suppress(duckdb.Error):
        known.offsets = offsets_of(cursor)
    with suppress(duckdb.Error):
        known.runs = [row[0] for row in cursor.execute("SELECT run_id FROM runs").fetchall()]
        known.without_data = cursor.execute(_NAMED_DATA).fetchall()
    for what, query in _RULES.items():
        with suppress(duckdb.Error):
            count = cursor.execute(query).fetchall()[0][0]
            if count:
                health.content.append(f"{count:,} {what}")


def _check_data(home: Home, named: list[tuple[str, str, str]], health: Health) -> None:
    """A data set that runs were made with; the run of a bundle came without its data."""
    users: dict[tuple[str, str], list[str]] = {}
    for run_id, dataset_id, name in named:
        if not (home.runs / run_id / FILE).exists():
            users.setdefault((dataset_id, name), []).append(run_id)
    for (dataset_id, name), runs in users.items():
        health.content.append(
            f"dataset {name} ({dataset_id}) is missing, with which {len(runs)} runs were made, such as {runs[0]}"
        )


def _check_vectors(home: Home, read: JournalsRead, health: Health) -> None:
    """Vectors that were taken in and are not there: the file is an older one."""
    for encoder, names in sorted(read.vectors.items()):
        with reading(home) as cursor:
            rows: list[tuple[Any, ...]] = cursor.execute(
                "SELECT count(*) FROM (SELECT unnest($1::VARCHAR[]) AS sha256) i ANTI JOIN "
                "(SELECT sha256 FROM vectors.vectors WHERE encoder = $2) v USING (sha256)",
                [sorted(names), encoder],
            ).fetchall()
        if rows[0][0]:
            health.files["vectors"].append(
                f"{home.vectors}: {rows[0][0]:,} of {len(names):,} vectors of {encoder} are missing that journals brought"
            )


def _check_backup(home: Home, health: Health) -> None:
    """Read the newest backup, from which a database would be brought back."""
    folders = [path for path in home.path.glob("backups/*") if path.is_dir() and not path.name.startswith(".")]
    for folder in sorted(folders, reverse=True)[:1]:
        names: tuple[DatabaseName, ...] = ("main", "vectors")
        for which in names:
            file = folder / (home.database if which == "main" else home.vectors).name
            try:
                if not file.is_file():
                    raise StoreError("it is missing, or no plain file")
                broken, odd = read_file(file)[1], file_problems(file, which)
            except (duckdb.Error, StoreError) as error:
                health.backups.append(f"backup {file}: {str(error).splitlines()[0]}")
            else:
                health.backups += [f"backup {file}: table {table}: {why}" for table, why in broken.items()]
                health.backups += [f"backup {file}: {what}" for what in odd]


def _check_standbys(home: Home, health: Health) -> None:
    """Read the standbys; one that a publisher takes meanwhile is gone, which is no problem."""
    for which in ("main", "vectors"):
        for file in standbys_of(path_of(home, which)):
            try:
                problems = (
                    list(read_file(file)[1].values()) if stat.S_ISREG(file.lstat().st_mode) else ["no plain file"]
                )
            except (duckdb.Error, OSError) as error:
                problems = [str(error).splitlines()[0]]
            if problems and file.exists():
                health.standbys.append(
                    f"standby {file}: {problems[0]}; `sracl db repair` removes it, and nothing is lost"
                )
