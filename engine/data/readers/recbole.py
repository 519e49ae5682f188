"""RecBole's atomic files: tab-separated, a header of `name:type`, no quoting; `x.item` belongs to `x.inter`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.data.readers.base import ROW_CHOICES, USUAL_ITEM, USUAL_TITLE, Catalog, Head, Raw, Reader, Wanted
from engine.data.readers.catalog import item_file
from engine.data.readers.columns import repeats
from engine.data.readers.delimited import head_of, read_delimited
from engine.data.readers.grid import Grid, names_only
from engine.data.readers.ownership import checked_ids
from engine.data.readers.selection import read_rows
from engine.data.readers.text import first_line, stem_of, suffix_of
from engine.data.readers.times import times_of
from engine.data.scratch import TEMPORARY, Workspace
from engine.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")


class RecBole(Reader):
    """Reads `.inter`, and the `.item` of the same name."""

    name = "recbole"
    suffixes: tuple[str, ...] = (".inter",)
    exclusive = True
    choices = ROW_CHOICES | {"delimiter"}

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        return suffix_of(path) not in (".item", ".user") and is_atomic(path, wanted.delimiter or "\t")

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        head = head_of(path, wanted.delimiter or "\t", quoting=False, count=count)
        names = _typed(names_only(path, head.names)).names
        roles = names_only(path, names).roles(_untyped(wanted))
        items = None if wanted.items is not None else _items_file(path)
        return replace(head, names=names, roles=replace(roles, title=None), items=items)

    def read(self, path: Path, wanted: Wanted) -> Raw:
        grid = untyped_columns(path, wanted.delimiter or "\t", drop_bad=wanted.drop_bad, work=wanted.work)
        wanted = _untyped(wanted)
        return read_rows(grid, wanted, lambda grid: self._read(path, grid, wanted))

    def _read(self, path: Path, grid: Grid, wanted: Wanted) -> Raw:
        roles = grid.roles(wanted)
        users, items = checked_ids(grid, roles, wanted)
        times, warnings = times_of(grid, roles.time, wanted.time_format)
        items_file = None if wanted.items is not None else _items_file(path)
        return Raw(
            source=str(path),
            users=users,
            items=items,
            times=times,
            catalog=None if items_file is None else self.read_items(items_file, wanted),
            warnings=[*warnings, *repeats(path, users, items, times)],
        )

    def reads_items(self, path: Path) -> bool:
        return is_atomic(path)

    def items_head(self, path: Path, count: int) -> Head:
        head = head_of(path, "\t", quoting=False, count=count)
        return replace(head, names=_typed(names_only(path, head.names)).names)

    def read_items(self, path: Path, wanted: Wanted, *, only: set[str] | None = None) -> Catalog:
        grid = untyped_columns(path, drop_bad=wanted.drop_bad, work=wanted.work)
        named = _plain(wanted.item)
        item = grid.need(named if named in grid.names else None, USUAL_ITEM, "--item-column")
        title = grid.pick(_plain(wanted.title), USUAL_TITLE, "--title-column")
        return item_file(grid, item, title, drop_bad=wanted.drop_bad)


def is_atomic(path: Path, delimiter: str = "\t") -> bool:
    """Whether a file's first line is a header of `name:type`."""
    cells = [cell.strip().rpartition(":") for cell in first_line(path).split(delimiter)]
    return all(name and kind in TYPES for name, _, kind in cells)


def untyped_columns(path: Path, delimiter: str = "\t", *, drop_bad: bool = False, work: Workspace = TEMPORARY) -> Grid:
    """The columns of an atomic file by name alone; `drop_bad` as for `read_delimited`.

    Raises:
        DataError: it cannot be read, or a header cell is not `name:type`.
    """
    return _typed(read_delimited(path, delimiter, quoting=False, drop_bad=drop_bad, work=work))


def _untyped(wanted: Wanted) -> Wanted:
    """The named columns without types, and without a title: titles are in the `.item` file."""
    only = tuple((_plain(column) or column, value) for column, value in wanted.only)
    user, item, time = _plain(wanted.user), _plain(wanted.item), _plain(wanted.time)
    return replace(wanted, user=user, item=item, time=time, title=None, only=only)


def _plain(column: str | None) -> str | None:
    """A column's name without its type."""
    return None if column is None else column.partition(":")[0]


def _items_file(path: Path) -> Path | None:
    """The item file of the same name, if there is one."""
    names = {f"{stem_of(path)}.item", f"{stem_of(path)}.item.gz"}
    return next((other for other in sorted(path.parent.iterdir()) if other.name.lower() in names), None)


def _typed(grid: Grid) -> Grid:
    """The same columns by name alone.

    Raises:
        DataError: a name has no type, or one that the format does not have.
    """
    for cell in grid.names:
        name, _, kind = cell.rpartition(":")
        if not name or kind not in TYPES:
            raise DataError(
                f"the header cell {cell!r} is not name:type", where=grid.head, hint=f"Types: {', '.join(TYPES)}."
            )
    names = [cell.rpartition(":")[0] for cell in grid.names]
    return replace(grid, names=names, arrays=lambda name: grid.arrays(grid.names[names.index(name)]))
