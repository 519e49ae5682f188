"""Item texts: which columns are text, and text made fit to show on a terminal."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.data.readers.base import Catalog
from engine.data.readers.columns import as_text, coded, ids_of
from engine.data.readers.grid import Grid

ITEM_FIELDS = frozenset(
    [
        "artist",
        "author",
        "brand",
        "categories",
        "category",
        "color",
        "description",
        "director",
        "features",
        "genre",
        "genres",
        "main_category",
        "manufacturer",
        "material",
        "price",
        "publisher",
        "release_year",
        "store",
        "subcategory",
        "subtitle",
        "tags",
        "year",
    ]
)
"""Columns of a table of interactions that describe the item; others may describe the single interaction."""
LIST_FIELDS = frozenset({"categories", "genres", "tags"})
"""Columns whose cells are lists, separated by `|` or a comma and a blank."""
BAR_FIELDS = LIST_FIELDS | {"category", "genre"}
"""Columns whose cells may be lists separated by `|`."""
_NUMBER_FIELDS = ("price", "year")
_MISSING = frozenset({"", "nan", "nat", "null", "none", "n/a", "na", "<na>", "\\n", "#n/a", "#name?", "-", "—"})
"""Cells that stand for none, in lower case: of pandas, databases and spreadsheets."""
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)
_SIDE_BY_SIDE = re.compile(r"(['\"])\s+(?=['\"])")
"""Between two texts in numpy's way to write a list, `['a' 'b']`."""
ID_NAME = re.compile(r".*_id|id|asin|parent_asin|.*[a-z]I[dD]|isbn|sku|ean|upc", re.ASCII)
_NUMERIC = re.compile(r"[-+]?[\d.,:/]+%?")
_LINK = re.compile(r"https?://\S+")
_ESCAPE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# C0 and C1, zero-width marks that hide, and the marks that turn the direction of a whole line.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def clean(text: str) -> str:
    """One line that is safe to show: entities resolved, control characters out, blanks collapsed."""
    for _ in range(2):  # some sources escape twice: `&amp;amp;`
        if "&" not in text:
            break
        text = html.unescape(text)
    if not text.isprintable():
        text = _CONTROL.sub("", _ESCAPE.sub("", text))
    return " ".join(text.split())


def catalog_of(grid: Grid, item_column: str, title_column: str | None, chosen: Callable[[str], bool]) -> Catalog:
    """The items of a table; of several rows of an item the first non-empty cell of each column counts.

    Args:
        chosen: which other columns may become attributes, by name.

    Raises:
        DataError: an item id is missing.
    """
    ids = ids_of(grid, item_column, "item")
    order = np.argsort(ids.codes, kind="stable")
    names = [name for name in dict.fromkeys(grid.names) if name not in (item_column, title_column) and chosen(name)]
    fields = {name: field_lists(name, _firsts(grid.column(name), ids.codes, order)) for name in names}
    fields = {name: lists for name, lists in fields.items() if is_text(name, lists)}
    titles = [""] * len(ids.values)
    if title_column is not None:
        cells = _firsts(grid.column(title_column), ids.codes, order)
        titles = [clean(" ".join(map(without_tags, values_of(cell)))) for cell in cells]
    return Catalog(
        ids=ids.values,
        titles=titles,
        attributes=[
            {name: lists[row] for name, lists in fields.items() if lists[row]} for row in range(len(ids.values))
        ],
        source=str(grid.path),
    )


def item_file(grid: Grid, item_column: str, title_column: str | None) -> Catalog:
    """The items of a file that has a row for each; every column that is no id by its name may be text.

    Raises:
        DataError: an item id is missing.
    """
    catalog = catalog_of(grid, item_column, title_column, lambda name: ID_NAME.fullmatch(name) is None)
    more = grid.rows - len(catalog.ids)
    if not more:
        return catalog
    warning = f"{more:,} rows of {grid.path} repeat an item; the first cell that is not empty counts"
    return replace(catalog, warnings=[warning])


def _firsts(column: pa.ChunkedArray, codes: NDArray[np.int64], order: NDArray[np.int64]) -> list[Any]:
    """The first non-empty cell of each item."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type):
        filled = np.asarray(column.is_valid())
    else:
        column = as_text(column)
        distinct = coded(column)
        filled = np.array([not is_missing(value) for value in distinct.values], bool)[distinct.codes]
    kept = order[filled[order]]
    cells: list[Any] = [None] * (int(codes.max()) + 1 if len(codes) else 0)
    items, firsts = np.unique(codes[kept], return_index=True)
    for item, cell in zip(items.tolist(), column.take(pa.array(kept[firsts])).to_pylist(), strict=True):
        cells[item] = cell
    return cells


def is_missing(text: str) -> bool:
    """Whether a cell's text stands for none."""
    return text.strip().lower() in _MISSING


def without_tags(text: str) -> str:
    """A text without HTML tags, each a blank."""
    return _TAG.sub(" ", text) if "<" in text else text


def values_of(cell: Any) -> list[str]:
    """The texts in a cell: a text, or a list of texts or of lists, also one that a program has written as text."""
    cell = parsed(cell)
    if isinstance(cell, list | tuple):
        return [text for part in cell for text in values_of(part)]
    if cell is None or isinstance(cell, dict) or cell != cell:
        return []
    return [] if is_missing(str(cell)) else [str(cell)]


def parsed(cell: Any) -> Any:
    """The list or dictionary that a text is, such as pandas' `['Office', 'Pens']`; any other cell as it is."""
    if not isinstance(cell, str) or cell[:1] + cell[-1:] not in ("[]", "{}"):
        return cell
    try:
        found = ast.literal_eval(_SIDE_BY_SIDE.sub(r"\1, ", cell))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return cell
    return found if isinstance(found, list | dict) else cell


def field_lists(name: str, cells: list[Any]) -> list[list[str]]:
    """Each item's list of values, cleaned and each once."""
    low = name.lower()
    splitter = re.compile(r"\s*\|\s*|,\s+") if low in LIST_FIELDS else re.compile(r"\s*\|\s*")
    lists: list[list[str]] = []
    for cell in map(parsed, cells):
        parts = [without_tags(text) for text in values_of(cell)]
        if low in BAR_FIELDS and isinstance(cell, str):
            parts = [piece for part in parts for piece in splitter.split(part)]
        lists.append(list(dict.fromkeys(text for part in parts if (text := clean(part)))))
    return lists


def is_text(name: str, lists: list[list[str]]) -> bool:
    """Whether a column says something in words: not only numbers, save prices and years, and not only links."""
    values = [value for some in lists for value in some]
    if not values:
        return False
    if name.lower().endswith(_NUMBER_FIELDS):
        return True
    numeric = all(_NUMERIC.fullmatch(token) for value in values for token in value.split())
    return not numeric and not all(_LINK.fullmatch(value) for value in values)
