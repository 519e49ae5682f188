"""Whose a column of interactions is: the item's, the user's, or the single interaction's.

A review's headline is no title of its product, and a user's name none of the items. What belongs to an item is the same in its rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from engine.data.readers.base import REVIEW_TEXT, Coded
from engine.data.readers.columns import as_text, coded
from engine.data.readers.grid import Grid

MOST = 0.1
"""Share of the items with several rows whose rows may disagree in a text, as where a title was changed."""


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
