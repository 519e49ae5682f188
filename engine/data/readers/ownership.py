"""Whose a column of interactions is: the item's, the user's, or the single interaction's.

A review's headline is no title of its product, and a user's name none of the items. What belongs to an item is the same in its rows.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from engine.data.readers.base import REVIEW_TEXT, Coded, Roles, Wanted
from engine.data.readers.columns import as_text, coded, ids_of, marked
from engine.data.readers.grid import Grid, plain_name
from engine.data.readers.times import SAMPLE as TIMES
from engine.data.readers.times import looks_like_times
from engine.data.scratch import give_back
from engine.errors import DataError

MOST = 0.1
"""Share of the items with several rows whose rows may disagree in a text, as where a title was changed."""
SAMPLE = 200
"""Cells that tell whether a column holds histories."""
_HISTORY_NAME = re.compile(r"(^|_)(hist\w*|seq\w*|list|session\w*|click\w*|impressions?|items?)(_|$)", re.IGNORECASE)
_HISTORY = re.compile(r"(^|_)(hist\w*|past|prev\w*)(_|$)|item\w*_(list|seq)", re.IGNORECASE)
"""Names that say it, whatever the parts are."""
_LIST = re.compile(r"\[.*\]|\d+(?:[ ,|;]+\d+)+")
_TIME_NAME = re.compile(r"time|date|epoch|(^|_)(ts|dt|at|when|day|hour|created|updated)(_|$)|[a-z]At$", re.IGNORECASE)


def variation(grid: Grid, name: str, owners: Coded) -> float | None:
    """Share of the owners with several filled rows whose rows differ in a column; none where no owner has several.

    Lists are not compared: none for a column of them.
    """
    kind = grid.begin(name, 1).type
    if pa.types.is_nested(kind.value_type if pa.types.is_dictionary(kind) else kind):
        return None
    count = len(owners.values)
    rows, different = np.zeros(count, np.int64), np.zeros(count, bool)
    first: list[str | None] = [None] * count
    at = 0
    for part in grid.parts(name):
        values = coded(as_text(part))
        filled = np.array([value != "" for value in values.values], bool)[values.codes]
        owned, codes = owners.codes[at : at + len(part)][filled], values.codes[filled]
        at += len(part)
        rows += np.bincount(owned, minlength=count)
        here, begun = np.unique(owned, return_index=True)
        own = np.zeros(count, np.int64)
        own[here] = codes[begun]
        different[owned[codes != own[owned]]] = True
        for owner, code in zip(here.tolist(), own[here].tolist(), strict=True):
            if first[owner] is None:
                first[owner] = values.values[code]
            elif first[owner] != values.values[code]:
                different[owner] = True
    give_back(owners.codes)
    several = rows > 1
    return float(different[several].mean()) if several.any() else None


def refuse_histories(grid: Grid, name: str, items: Coded) -> None:
    """Refuse a table whose rows hold ready-made histories: read as interactions, all but the targets would be lost.

    Raises:
        DataError: most cells of a column of that name are lists, and the most of their parts are items.
    """
    if _HISTORY_NAME.search(name) is None and _HISTORY.search(name) is None:
        return
    column = grid.begin(name, SAMPLE)
    cells = column.to_pylist()
    if not pa.types.is_nested(column.type):
        cells = [re.split(r"[\s,|;\"']+", cell.strip(" []()\"'")) for cell in as_text(column).to_pylist()]
    lists = [[str(part) for part in cell] for cell in cells if isinstance(cell, list)]
    parts = [part for cell in lists for part in cell if part]
    known = set(items.values)
    of_items = _HISTORY.search(name) is not None or 2 * sum(part in known for part in parts) > len(parts)
    if 2 * sum(len(cell) > 1 for cell in lists) >= len(cells) and any(lists) and of_items:
        raise DataError(
            f"the column {name!r} holds ready-made histories: each row is a case to train on, not one interaction",
            where=grid.head,
            hint="Import the interactions themselves, one in each row; training prefixes are made here.",
        )


def checked_ids(grid: Grid, roles: Roles, wanted: Wanted) -> tuple[Coded, Coded]:
    """The users and the items of a table whose rows are interactions.

    Raises:
        DataError: an id is missing or a list, a row repeats the names of the columns, or `refuse_others`.
    """
    users, items = ids_of(grid, roles.user, "user"), ids_of(grid, roles.item, "item")
    refuse_headers(grid, roles, wanted, users, items)
    lists = sum(_LIST.fullmatch(value) is not None for value in items.values[:SAMPLE])
    if 2 * lists > len(items.values[:SAMPLE]):
        raise DataError(
            f"the column {roles.item!r} holds lists, such as {items.values[0][:40]!r}, not one item in each row",
            where=grid.head,
            hint="Write one interaction in each row; training prefixes are made here.",
        )
    refuse_others(grid, roles, users, items)
    return users, items


def refuse_others(grid: Grid, roles: Roles, users: Coded, items: Coded) -> None:
    """Refuse a table of whose other columns one holds histories or, where none has the times, looks like times.

    Raises:
        DataError: a column does.
    """
    others = [name for name in dict.fromkeys(grid.names) if name not in (roles.user, roles.item, roles.time)]
    for name in others:
        refuse_histories(grid, name, items)
    for name in others if roles.time is None else ():
        seen = looks_like_times(grid.begin(name, TIMES), numbers=_TIME_NAME.search(name) is not None)
        if seen and variation(grid, name, items) != 0 and variation(grid, name, users) != 0:
            raise DataError(
                f"no column has a usual name for the times, but {name!r} looks like them",
                where=grid.head,
                hint=f"Name the column of the times: --time-column {name}.",
            )


def refuse_headers(grid: Grid, roles: Roles, wanted: Wanted, users: Coded, items: Coded) -> None:
    """Refuse rows that repeat the names of the columns, as files have that were put together.

    Raises:
        DataError: with the line of the first such row, and their number; or a column was named after one of its ids.
    """
    names = {plain_name(roles.user), plain_name(roles.item)}
    named = [
        [code for code, value in enumerate(column.values) if plain_name(value.partition(":")[0]) in names]
        for column in (users, items)
    ]
    headers = marked(users, named[0]) & marked(items, named[1]) if all(named) else np.zeros(0, bool)
    if headers.any():
        raise grid.bad_rows(headers, lambda row: "the row repeats the names of the columns", "Remove the line.")
    for given, column, flag in ((wanted.user, users, "--user-column"), (wanted.item, items, "--item-column")):
        if given is not None and given in column.values:
            raise DataError(
                f"the first line looks like a row: {given!r} is one of the ids of its column, too",
                where=grid.head,
                hint=f"Put a line with the names of the columns on top. With {flag} {given} the first row would be lost.",
            )


def why_not_of_items(grid: Grid, name: str, users: Coded, items: Coded) -> str | None:
    """Why a column does not describe the items, in words; none where nothing speaks against it."""
    if name.lower() == "title" and not REVIEW_TEXT.isdisjoint(other.lower() for other in grid.names):
        return "it stands beside the text of a review"
    of_items = variation(grid, name, items)
    if of_items is not None:
        return f"it differs between the rows of {of_items:.0%} of the items" if of_items > MOST else None
    of_users = variation(grid, name, users)
    if of_users == 0 and len({text for part in grid.parts(name) for text in coded(as_text(part)).values}) > 1:
        return "it is the same in all rows of a user"
    return None
