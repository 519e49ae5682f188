"""Tables with named columns: CSV, TSV and Parquet."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from engine.data.readers.base import (
    ROW_CHOICES,
    USUAL_ITEM,
    USUAL_TITLE,
    USUAL_USER,
    Catalog,
    Coded,
    Head,
    Raw,
    Reader,
    Roles,
    Wanted,
)
from engine.data.readers.catalog import ITEM_FIELDS, catalog_of, item_file
from engine.data.readers.columns import as_text, repeats
from engine.data.readers.delimited import head_of, read_delimited
from engine.data.readers.grid import Grid, names_only, plain_name
from engine.data.readers.ownership import checked_ids, why_not_of_items
from engine.data.readers.parts import joined, parts_of
from engine.data.readers.selection import read_rows
from engine.data.readers.text import first_line, suffix_of
from engine.data.readers.times import times_of
from engine.data.scratch import PART
from engine.errors import DataError

_MAGIC = b"PAR1"


class Table(Reader):
    """What the three have in common; a title column in the interactions' own rows gives the item texts."""

    choices = ROW_CHOICES
    parted = True

    @abstractmethod
    def names(self, path: Path, delimiter: str | None = None) -> list[str]:
        """The column names, without reading the rows; empty where the file is no such table."""

    @abstractmethod
    def grid(self, path: Path, wanted: Wanted = Wanted()) -> Grid:
        """The whole table.

        Raises:
            DataError: it cannot be read, or is empty.
        """

    @abstractmethod
    def begin(self, path: Path, count: int, delimiter: str | None = None) -> Head:
        """The names and the first `count` rows.

        Raises:
            DataError: it cannot be read, or is empty.
        """

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        names = self.names(path, wanted.delimiter)
        return _has(names, wanted.user, USUAL_USER) and _has(names, wanted.item, USUAL_ITEM)

    def recognizes_items(self, path: Path, wanted: Wanted) -> bool:
        """Whether a file has one of the endings and begins like a table of items: no users, and a title."""
        if suffix_of(path) not in self.suffixes:
            return False
        names = self.names(path)
        has_item = _has(names, wanted.item, USUAL_ITEM) or _has(names, None, USUAL_ITEM)
        return has_item and _has(names, wanted.title, USUAL_TITLE) and not _has(names, wanted.user, USUAL_USER)

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        parts = parts_of(path) if path.is_dir() else []
        head = self.begin(parts[0] if parts else path, count, wanted.delimiter)
        head = replace(head, total=None, about=None) if parts else head
        return replace(head, roles=names_only(path, head.names).roles(wanted))

    def read(self, path: Path, wanted: Wanted) -> Raw:
        parts = [self.grid(part, wanted) for part in parts_of(path)] if path.is_dir() else []
        whole = joined(path, parts) if parts else self.grid(path, wanted)
        raw = read_rows(whole, wanted, lambda grid: self._read(path, grid, wanted))
        return replace(raw, warnings=[f"{len(parts):,} parts are read as one table", *raw.warnings]) if parts else raw

    def _read(self, path: Path, grid: Grid, wanted: Wanted) -> Raw:
        roles = grid.roles(wanted)
        users, items = checked_ids(grid, roles, wanted)
        times, warnings = times_of(grid, roles.time, wanted.time_format)
        catalog, told = _described(grid, roles, wanted, users, items)
        warnings = [*warnings, *told, *repeats(path, users, items, times)]
        return Raw(source=str(path), users=users, items=items, times=times, catalog=catalog, warnings=warnings)

    def reads_items(self, path: Path) -> bool:
        return suffix_of(path) in self.suffixes

    def items_head(self, path: Path, count: int) -> Head:
        return self.begin(path, count)

    def read_items(self, path: Path, wanted: Wanted, *, only: set[str] | None = None) -> Catalog:
        grid = self.grid(path, Wanted(drop_bad=wanted.drop_bad, work=wanted.work))
        item = grid.need(wanted.item if wanted.item in grid.names else None, USUAL_ITEM, "--item-column")
        return item_file(grid, item, grid.pick(wanted.title, USUAL_TITLE, "--title-column"), drop_bad=wanted.drop_bad)


def _described(
    grid: Grid, roles: Roles, wanted: Wanted, users: Coded, items: Coded
) -> tuple[Catalog | None, list[str]]:
    """The items' texts in the rows of the interactions, and warnings about columns that belong to something else."""
    if roles.title is None:
        return None, []
    own = (roles.user, roles.item, roles.time)
    texts = [name for name in dict.fromkeys(grid.names) if name.lower() in ITEM_FIELDS and name not in own]
    asked = [name for name in (roles.title, *texts) if name != wanted.title]
    reasons = {name: why for name in asked if (why := why_not_of_items(grid, name, users, items)) is not None}
    warnings = [f"the column {name!r} is not taken as text of the items: {why}" for name, why in reasons.items()]
    if roles.title in reasons:
        warnings[0] += f"; --title-column {roles.title} takes it all the same"
        return None, warnings
    chosen = set(texts) - set(reasons)
    return catalog_of(grid, items, own, roles.title, lambda name: name in chosen), warnings


class Delimited(Table):
    """CSV and TSV: quoted cells as in RFC 4180."""

    choices = ROW_CHOICES | {"delimiter"}
    delimiter: ClassVar[str]

    def names(self, path: Path, delimiter: str | None = None) -> list[str]:
        cells = next(csv.reader([first_line(path)], delimiter=delimiter or self.delimiter), [])
        return [cell.strip() for cell in cells]

    def grid(self, path: Path, wanted: Wanted = Wanted()) -> Grid:
        return read_delimited(
            path, wanted.delimiter or self.delimiter, quoting=True, drop_bad=wanted.drop_bad, work=wanted.work
        )

    def begin(self, path: Path, count: int, delimiter: str | None = None) -> Head:
        return head_of(path, delimiter or self.delimiter, quoting=True, count=count)


class Csv(Delimited):
    """Cells between commas."""

    name = "csv"
    suffixes = (".csv",)
    delimiter = ","


class Tsv(Delimited):
    """Cells between tabs."""

    name = "tsv"
    suffixes = (".tsv",)
    delimiter = "\t"


class Parquet(Table):
    """Parquet; only the columns that are needed are read."""

    name = "parquet"
    suffixes = (".parquet", ".pq")

    def names(self, path: Path, delimiter: str | None = None) -> list[str]:
        import pyarrow.parquet as pq

        try:
            with path.open("rb") as file:
                return pq.read_schema(path).names if file.read(len(_MAGIC)) == _MAGIC else []
        except (OSError, pa.ArrowException):
            return []

    def begin(self, path: Path, count: int, delimiter: str | None = None) -> Head:
        file = _opened(path)
        try:
            table = pa.Table.from_batches([next(file.iter_batches(batch_size=count))])
            columns = [_shown(column) for column in table.columns]
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"not readable as Parquet: {error}", where=str(path)) from None
        rows = [list(cells) for cells in zip(*columns, strict=True)]
        return Head(names=table.column_names, rows=rows, total=file.metadata.num_rows)

    def grid(self, path: Path, wanted: Wanted = Wanted()) -> Grid:
        file = _opened(path)
        names, rows = file.schema_arrow.names, file.metadata.num_rows

        def arrays(name: str) -> Iterator[pa.Array]:
            try:
                for batch in file.iter_batches(batch_size=PART, columns=[name], use_threads=False):
                    yield batch.column(name)
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"the column {name!r} is not readable: {error}", where=str(path)) from None

        return Grid(
            path=path,
            names=names,
            rows=rows,
            arrays=arrays,
            work=wanted.work,
            where=lambda row: f"{path}, row {row + 1}",
            head=str(path),
        )


def _shown(column: pa.ChunkedArray) -> list[str]:
    """Cells as text, also of types that are read from no column."""
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return [str(cell) for cell in column.to_pylist()]
    return as_text(column).to_pylist()


def _opened(path: Path) -> Any:
    """A Parquet file with rows."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"not readable as Parquet: {error}", where=str(path)) from None
    if file.metadata.num_rows == 0:
        raise DataError("the table has no rows", where=str(path))
    return file


def _has(names: list[str], named: str | None, usual: tuple[str, ...]) -> bool:
    if named is not None:
        return named in names
    return not set(map(plain_name, names)).isdisjoint(map(plain_name, usual))


TABLES: dict[str, Table] = {table.name: table for table in (Csv(), Tsv(), Parquet())}


def table_of(path: Path) -> Table:
    """The kind of table that a file is, by its ending, else by its first line."""
    by_suffix = next((table for table in TABLES.values() if suffix_of(path) in table.suffixes), None)
    return by_suffix or TABLES["tsv" if "\t" in first_line(path) else "csv"]
