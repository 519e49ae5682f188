"""Whose a column of interactions is: the item's, the user's, or the single interaction's.

A review's headline is no title of its product, and a user's name none of the items. What belongs to an item is the same in its rows.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from engine.data.readers.base import REVIEW_TEXT, Coded, Roles
from engine.data.readers.columns import as_text, coded
from engine.data.readers.grid import Grid
from engine.errors import DataError

MOST = 0.1
"""Share of the items with several rows whose rows may disagree in a text, as where a title was changed."""
SAMPLE = 200
"""Cells that tell whether a column holds histories."""
_HISTORY_NAME = re.compile(r"(^|_)(hist\w*|seq\w*|list|session\w*|click\w*|impressions?|items?)(_|$)", re.IGNORECASE)


def variation(grid: Grid, name: str, owners: Coded) -> float | None:
    """Share of the owners with several filled rows whose rows differ in a column; none where no owner has several.

    Lists are not compared: none for a column of them.
    """
    column = grid.column(name)
    kind = column.type
    if pa.types.is_nested(kind.value_type if pa.types.is_dictionary(kind) else kind):
        return None
    values = coded(as_text(column))
    filled = np.array([value != "" for value in values.values], bool)[values.codes]
    codes, owned = values.codes[filled], owners.codes[filled]
    rows = np.bincount(owned, minlength=len(owners.values))
    pairs = np.unique(owned * max(1, len(values.values)) + codes) // max(1, len(values.values))
    different = np.bincount(pairs, minlength=len(owners.values))
    several = rows > 1
    return float((different[several] > 1).mean()) if several.any() else None


def refuse_histories(grid: Grid, name: str, items: Coded) -> None:
    """Refuse a table whose rows hold ready-made histories: read as interactions, all but the targets would be lost.

    Raises:
        DataError: most cells of a column of that name are lists, and the most of their parts are items.
    """
    if _HISTORY_NAME.search(name) is None:
        return
    column = grid.column(name).slice(0, SAMPLE)
    cells = column.to_pylist()
    if not pa.types.is_nested(column.type):
        cells = [re.split(r"[\s,|;]+", cell.strip(" []()")) for cell in as_text(column).to_pylist()]
    lists = [[str(part) for part in cell] for cell in cells if isinstance(cell, list)]
    parts = [part for cell in lists for part in cell if part]
    known = set(items.values)
    if 2 * sum(len(cell) > 1 for cell in lists) > len(cells) and 2 * sum(part in known for part in parts) > len(parts):
        raise DataError(
            f"the column {name!r} holds ready-made histories: each row is a case to train on, not one interaction",
            where=grid.head,
            hint="Import the interactions themselves, one in each row; training prefixes are made here.",
        )


def refuse_headers(grid: Grid, roles: Roles, users: Coded, items: Coded) -> None:
    """Refuse rows that repeat the names of the columns, as files have that were put together.

    Raises:
        DataError: with the line of the first such row, and their number.
    """
    headers = np.ones(len(users.codes), bool)
    for column, name in ((users, roles.user), (items, roles.item)):
        named = [code for code, value in enumerate(column.values) if value.partition(":")[0] == name]
        headers &= np.isin(column.codes, named)
    if headers.any():
        raise grid.bad_rows(headers, lambda row: "the row repeats the names of the columns", "Remove the line.")


def why_not_of_items(grid: Grid, name: str, users: Coded, items: Coded) -> str | None:
    """Why a column does not describe the items, in words; none where nothing speaks against it."""
    if name.lower() == "title" and not REVIEW_TEXT.isdisjoint(other.lower() for other in grid.names):
        return "it stands beside the text of a review"
    of_items = variation(grid, name, items)
    if of_items is not None:
        return f"it differs between the rows of {of_items:.0%} of the items" if of_items > MOST else None
    of_users = variation(grid, name, users)
    if of_users == 0 and len(coded(as_text(grid.column(name))).values) > 1:
        return "it is the same in all rows of a user"
    return None
