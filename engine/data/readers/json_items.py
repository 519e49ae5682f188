"""Items' texts from JSON lines: Amazon's metadata of 2014, 2018 and 2023, Yelp's businesses, and others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from engine.data.readers.base import USUAL_ITEM, USUAL_TITLE, Catalog, Wanted
from engine.data.readers.catalog import (
    ID_NAME,
    Wording,
    clean,
    field_lists,
    is_filled,
    left_out,
    values_of,
    without_tags,
)
from engine.data.readers.columns import is_missing_id, plain_number
from engine.data.readers.grid import DROPPED, many_bad, names_only
from engine.data.readers.json_rows import rows_of
from engine.data.readers.lines import Lines

FIELDS = {
    "asin": (
        "brand",
        "store",
        "main_cat",
        "main_category",
        "category",
        "categories",
        "price",
        "feature",
        "features",
        "description",
    ),
    "business_id": ("categories", "city", "state"),
}
"""Fields that become text, in this order, by the field with the id; of other files every field that reads like text."""
FIELDS["parent_asin"] = FIELDS["asin"]
_PRICE = re.compile(r"\$?\s*[\d.,]+(\s*-\s*\$?\s*[\d.,]+)?")
_LITERAL_ID = re.compile(r"\{'asin': '([^'\\]*)'")
_SCRIPT = ("getTime", "aPageStart")
"""Parts of page source that stands in place of a title (metadata of 2018)."""


def read_json_items(path: Path, wanted: Wanted, *, only: set[str] | None = None) -> Catalog:
    """Items, each once: of several lines of an item the first cell that is not empty counts.

    Args:
        only: ids whose texts are needed; of other items only the id is kept, and their Python literals are not parsed.

    Raises:
        DataError: it cannot be read, or a line has no item id.
    """
    lines = Lines(path, work=wanted.work)
    found = _Found(path)
    bad = first = 0
    item = title = ""
    fields: tuple[str, ...] | None = None
    for number, row in rows_of(path, _Skipping(path, lines, only, found.cells)):
        if not item:
            names = names_only(path, list(row))
            item = names.need(
                wanted.item if wanted.item in row else None, (*USUAL_ITEM, "business_id"), "--item-column"
            )
            title = names.pick(wanted.title if wanted.title in row else None, USUAL_TITLE, "--title-column") or "title"
            fields = FIELDS.get(item)
        key = _key(row.get(item), only)
        if is_missing_id(key):
            bad, first = bad + 1, first or number
            continue
        others = fields or [name for name in row if name not in (item, title) and not ID_NAME.fullmatch(name)]
        found.take(key, row if only is None or key in only else {}, title, others)
    if bad and not (wanted.drop_bad and found.cells):
        problem = f"there is no item id ({item or 'asin'})"
        raise many_bad(bad, where=f"{path}:{first}", problem=problem, hint=DROPPED)
    return found.catalog(fields, [*lines.warnings, *left_out(path, bad)])


def _key(found: Any, only: set[str] | None) -> str:
    """An item's id as the interactions write it: whole numbers without decimals; empty for a value that is none."""
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return ""
    key = str(found).strip()
    return key if only is not None and key in only else plain_number(key)


class _Found:
    """The items so far, with their texts cleaned: the first cell of a field that is not empty counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cells: dict[str, dict[str, Any]] = {}
        """By item its fields, each a list of texts, which may turn out to be empty."""
        self._titles: dict[str, str] = {}
        self._wording: defaultdict[str, Wording] = defaultdict(Wording)
        self._repeated = self._scripts = 0

    def take(self, key: str, row: dict[str, Any], title: str, names: Iterable[str]) -> None:
        """Add a line of an item."""
        self._repeated += key in self.cells
        kept = self.cells.setdefault(key, {})
        if key not in self._titles and is_filled(row.get(title)):
            self._titles[key] = self._title(row[title])
        for name in names:
            if name not in kept and is_filled(row.get(name)):
                (kept[name],) = field_lists(name, [_cell(name, row[name])])
                self._wording[name].look(kept[name])

    def _title(self, cell: Any) -> str:
        text = without_tags(" ".join(values_of(cell)))
        script = any(word in text for word in _SCRIPT) and len(text) > 200
        self._scripts += script
        return "" if script else clean(text)

    def catalog(self, fields: tuple[str, ...] | None, warnings: list[str]) -> Catalog:
        """The items with the fields that are text."""
        warnings = list(warnings)
        if self._repeated:
            warnings.append(
                f"{self._repeated:,} rows of {self._path} repeat an item; the first cell that is not empty counts"
            )
        if self._scripts:
            warnings.append(f"{self._scripts:,} titles in {self._path} are page source and are left out")
        names = fields or dict.fromkeys(name for row in self.cells.values() for name in row)
        names = [name for name in names if self._wording[name].is_text(name)]
        ids, titles, attributes = list(self.cells), list[str](), list[dict[str, list[str]]]()
        for key in ids:
            row = self.cells.pop(key)
            titles.append(self._titles.get(key, ""))
            attributes.append({name: row[name] for name in names if row.get(name)})
        return Catalog(ids=ids, titles=titles, attributes=attributes, source=str(self._path), warnings=warnings)


class _Skipping(Lines):
    """The lines of a file, without Python literals of items that are not needed: parsing them takes 50 times as long as JSON."""

    def __init__(self, path: Path, lines: Lines, only: set[str] | None, cells: dict[str, dict[str, Any]]) -> None:
        super().__init__(path)
        self._lines, self._only, self._cells = lines, only, cells

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for number, line in self._lines:
            match = _LITERAL_ID.match(line) if self._only is not None and number > 1 else None
            if match and self._only is not None and match[1] and match[1] not in self._only:
                self._cells.setdefault(match[1], {})
            else:
                yield number, line


def _cell(name: str, cell: Any) -> Any:
    """A cell without markup; a price that does not look like one (page source) is empty."""
    if name == "price":
        text = " ".join(values_of(cell)).strip()
        return text if _PRICE.fullmatch(text) else None
    return cell
