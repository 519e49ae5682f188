"""Item texts: which columns are text, and text made fit to show on a terminal."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.data.readers.base import Catalog, Coded
from engine.data.readers.columns import as_text, coded, ids_of
from engine.data.readers.grid import BadRows, Grid
from engine.data.scratch import give_back

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
_MISSING = frozenset(
    ["", "nan", "nat", "null", "(null)", "none", "nil", "n/a", "n.a.", "na", "<na>", "\\n", "undefined", "-", "—"]
).union(["#n/a", "#name?", "#value!", "#ref!", "#div/0!", "#num!", "#null!"])
"""Cells that stand for none, in lower case: of pandas, databases and spreadsheets."""
_STROKES = re.compile(r"[\s.…_–—-]+")
"""Dots and strokes alone."""
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


def catalog_of(
    grid: Grid, ids: Coded, own: Container[str], title: str | None, chosen: Callable[[str], bool]
) -> Catalog:
    """The items of a table; of several rows of an item the first non-empty cell of each column counts.

    Args:
        ids: the items of the rows.
        own: columns of ids.
        chosen: which other columns may become attributes, by name.
    """
    names = [name for name in dict.fromkeys(grid.names) if name not in own and name != title and chosen(name)]
    fields = ((name, field_lists(name, _firsts(grid, name, ids))) for name in names)
    kept = {name: lists for name, lists in fields if is_text(name, lists)}
    titles = [""] * len(ids.values)
    if title is not None:
        titles = [clean(" ".join(map(without_tags, values_of(cell)))) for cell in _firsts(grid, title, ids)]
    return Catalog(
        ids=ids.values,
        titles=titles,
        attributes=[{name: lists[row] for name, lists in kept.items() if lists[row]} for row in range(len(titles))],
        source=str(grid.path),
    )


def item_file(grid: Grid, item_column: str, title_column: str | None, *, drop_bad: bool = False) -> Catalog:
    """The items of a file that has a row for each; every column that is no id by its name may be text.

    Args:
        drop_bad: leave out rows without an item id, instead of raising.

    Raises:
        DataError: an item id is missing.
    """
    bad = grid.malformed
    try:
        ids = ids_of(grid, item_column, "item")
    except BadRows as error:
        if not drop_bad or error.rows.all():
            raise
        bad, grid = bad + int(error.rows.sum()), grid.kept(~error.rows)
        ids = ids_of(grid, item_column, "item")
    catalog = catalog_of(grid, ids, (item_column,), title_column, lambda name: ID_NAME.fullmatch(name) is None)
    warnings = left_out(grid.path, bad)
    more = grid.rows - len(catalog.ids)
    if more:
        warnings.append(f"{more:,} rows of {grid.path} repeat an item; the first cell that is not empty counts")
    return replace(catalog, warnings=warnings)


def left_out(path: Path, count: int) -> list[str]:
    """A warning about `count` rows of a file of items that were left out; empty for 0."""
    return [f"{count:,} bad rows of {path} are left out"] if count else []


def _firsts(grid: Grid, name: str, ids: Coded) -> list[Any]:
    """The first non-empty cell of each item."""
    cells: list[Any] = [None] * len(ids.values)
    empty, at = np.ones(len(cells), bool), 0
    for column in grid.parts(name):
        codes, at = ids.codes[at : at + len(column)], at + len(column)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_nested(column.type):
            filled = np.asarray(column.is_valid())
        else:
            column = as_text(column)
            distinct = coded(column)
            filled = np.array([is_filled(value) for value in distinct.values], bool)[distinct.codes]
        kept = np.flatnonzero(filled & empty[codes])
        items, firsts = np.unique(codes[kept], return_index=True)
        empty[items] = False
        for item, cell in zip(items.tolist(), column.take(pa.array(kept[firsts])).to_pylist(), strict=True):
            cells[item] = cell
    give_back(ids.codes)
    return cells


def is_missing(text: str) -> bool:
    """Whether a cell's text stands for none."""
    return text.strip().lower() in _MISSING or _STROKES.fullmatch(text) is not None


def is_filled(cell: Any) -> bool:
    """Whether a cell of any type says something once it is cleaned."""
    return any(not is_missing(clean(without_tags(text))) for text in values_of(cell))


def without_tags(text: str) -> str:
    """A text without HTML tags, each a blank."""
    return _TAG.sub(" ", text) if "<" in text else text


def values_of(cell: Any) -> list[str]:
    """The texts in a cell: a text, or a list of texts, of lists or of objects with a name, also one written as text."""
    cell = parsed(cell)
    if isinstance(cell, list | tuple):
        return [text for part in cell for text in values_of(part.get("name") if isinstance(part, dict) else part)]
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


def is_text(name: str, lists: Iterable[list[str]]) -> bool:
    """Whether a column says something in words: not only numbers, save prices and years, and not only links."""
    wording = Wording()
    for values in lists:
        wording.look(values)
    return wording.is_text(name)


class Wording:
    """What the values of a column are like, seen one item after the other."""

    def __init__(self) -> None:
        self._any = self._words = self._no_link = False

    def look(self, values: list[str]) -> None:
        """Take the values of an item in."""
        self._any = self._any or bool(values)
        for value in values:
            if self._words and self._no_link:
                return
            self._words = self._words or not all(_NUMERIC.fullmatch(token) for token in value.split())
            self._no_link = self._no_link or _LINK.fullmatch(value) is None

    def is_text(self, name: str) -> bool:
        """Whether the column of this name is text."""
        return self._any and (name.lower().endswith(_NUMBER_FIELDS) or (self._words and self._no_link))
