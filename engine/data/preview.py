"""What an import would read, from the first lines alone: the format, the columns, some rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.data.importing import ImportOptions, check_options, wanted_of
from engine.data.readers import items_head, locate, unreadable
from engine.data.readers.base import Head
from engine.errors import DataError

ROWS = 50


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What is known of a source without reading all of it."""

    format: str
    file: Path
    """File with the interactions."""
    size: int
    """Its bytes."""
    head: Head
    items: Path | None = None
    """File with the items' texts; none where there is none, or where the rows of `file` have a title."""
    items_head: Head | None = None
    warnings: list[str] = field(default_factory=list)


def preview(path: Path, *, options: ImportOptions = ImportOptions(), rows: int = ROWS) -> Preview:
    """How the file that an import would read begins; rows further down may still be refused.

    Raises:
        DataError: as an import would, as far as the first lines tell.
    """
    check_options(options)
    try:
        found = locate(path, format=options.format, wanted=wanted_of(options))
        head = found.reader.head(found.file, found.wanted, rows)
        items = found.wanted.items or head.items
        texts = items_head(items, rows) if items is not None else None
        size = found.file.stat().st_size
    except OSError as error:
        raise unreadable(error, path) from None
    if head.roles is None:
        raise DataError("its columns are not known", where=str(found.file))
    warnings = list(found.warnings)
    if items is None and head.roles.title is None:
        warnings.append("no item has text; name a file with item texts with --items")
    if head.roles.time is None:
        warnings.append("there is no column of times, so the order of the rows is taken as the order in time")
    return Preview(
        format=found.reader.name,
        file=found.file,
        size=size,
        head=head,
        items=items,
        items_head=texts,
        warnings=warnings,
    )
