"""A preview of an import from the first lines alone: the format, the columns, some rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.data.importing import ImportOptions, check_options, wanted_of
from engine.data.readers import items_head, items_in, locate, unreadable
from engine.data.readers.base import USUAL_TITLE, Head
from engine.data.readers.grid import names_only
from engine.errors import DataError

ROWS = 50


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A source as far as its first lines show it."""

    format: str
    file: Path
    """File with the interactions."""
    size: int
    """Its bytes."""
    head: Head
    items: Path | None = None
    """File with the items' texts; none where there is none, or where the rows of `file` have a title."""
    items_head: Head | None = None
    title: str | None = None
    """The column of the titles, in whichever file has them."""
    items_candidate: Path | None = None
    """A file in the same folder that may have the items' texts, where no such file is read."""
    warnings: list[str] = field(default_factory=list)


def preview(path: Path, *, options: ImportOptions = ImportOptions(), rows: int = ROWS) -> Preview:
    """The first rows of the file that an import would read; later rows may still be refused.

    Raises:
        DataError: as an import would, as far as the first lines tell.
    """
    check_options(options)
    try:
        found = locate(path, format=options.format, wanted=wanted_of(options))
        head = found.reader.head(found.file, found.wanted, rows)
        items = found.wanted.items or head.items
        texts = items_head(items, rows, found.reader) if items is not None else None
        size = found.file.stat().st_size
    except OSError as error:
        raise unreadable(error, path) from None
    if head.roles is None:
        raise DataError("its columns are not known", where=str(found.file))
    title = head.roles.title
    if texts is not None and items is not None:
        title = names_only(items, texts.names).pick(options.title_column, USUAL_TITLE, "--title-column")
    warnings, candidate = list(found.warnings), None
    if items is None and title is None:
        candidate = None if path.is_dir() else items_in(path.parent, path, found.wanted, found.reader)[0]
        which = f"{candidate.name} may have some" if candidate else "name a file with item texts"
        warnings.append(f"no item has text; {which}: --items")
    if head.roles.time is None:
        warnings.append("there is no column of times, so the order of the rows is taken as the order in time")
    return Preview(
        format=found.reader.name,
        file=found.file,
        size=size,
        head=head,
        items=items,
        items_head=texts,
        title=title,
        items_candidate=candidate,
        warnings=warnings,
    )


def glance(path: Path, *, rows: int = ROWS) -> Head | None:
    """The first rows of a table whose columns are not recognized, for choosing columns; none where it is no table."""
    try:
        head = items_head(path, rows)
    except (DataError, OSError):
        return None
    return head if len(head.names) > 1 else None
