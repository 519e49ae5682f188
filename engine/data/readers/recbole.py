"""RecBole's atomic files: tab-separated, a header of `name:type`, no quoting; `x.item` belongs to `x.inter`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.data.readers.base import USUAL_ITEM, USUAL_TITLE, Catalog, Head, Raw, Reader, Wanted
from engine.data.readers.catalog import item_file
from engine.data.readers.columns import ids_of, repeats
from engine.data.readers.grid import Grid, head_of, names_only, read_delimited
from engine.data.readers.ownership import refuse_headers, refuse_histories
from engine.data.readers.text import first_line, stem_of, suffix_of
from engine.data.readers.times import times_of
from engine.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")


class RecBole(Reader):
    """Reads `.inter`, and the `.item` of the same name."""

    name = "recbole"
    suffixes: tuple[str, ...] = (".inter",)
    exclusive = True

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        return suffix_of(path) not in (".item", ".user") and is_atomic(path)

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        head = head_of(path, "\t", quoting=False, count=count)
        names = _typed(names_only(path, head.names)).names
        roles = names_only(path, names).roles(_untyped(wanted))
        items = None if wanted.items is not None else _items_file(path)
        return replace(head, names=names, roles=replace(roles, title=None), items=items)

    def read(self, path: Path, wanted: Wanted) -> Raw:
        grid = untyped_columns(path)
        roles = grid.roles(_untyped(wanted))
        users, items = ids_of(grid, roles.user, "user"), ids_of(grid, roles.item, "item")
        refuse_headers(grid, roles, users, items)
        for name in grid.names:
            if name not in (roles.user, roles.item, roles.time):
                refuse_histories(grid, name, items)
        times, warnings = times_of(grid, roles.time)
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
        grid = untyped_columns(path)
        named = _plain(wanted.item)
        item = grid.need(named if named in grid.names else None, USUAL_ITEM, "--item-column")
        title = grid.pick(_plain(wanted.title), USUAL_TITLE, "--title-column")
        return item_file(grid, item, title)


def is_atomic(path: Path) -> bool:
    """Whether a file's first line is a header of `name:type`."""
    cells = [cell.strip().rpartition(":") for cell in first_line(path).split("\t")]
    return all(name and kind in TYPES for name, _, kind in cells)


def untyped_columns(path: Path) -> Grid:
    """The columns of an atomic file by name alone.

    Raises:
        DataError: it cannot be read, or a header cell is not `name:type`.
    """
    return _typed(read_delimited(path, "\t", quoting=False))


def _untyped(wanted: Wanted) -> Wanted:
    """The named columns without types, and without a title: titles are in the `.item` file."""
    return replace(wanted, user=_plain(wanted.user), item=_plain(wanted.item), time=_plain(wanted.time), title=None)


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
    return replace(grid, names=names, column=lambda name: grid.column(grid.names[names.index(name)]))
