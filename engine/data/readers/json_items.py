"""Items' texts from JSON lines: Amazon's metadata of 2014, 2018 and 2023, Yelp's businesses, and others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.data.readers.base import USUAL_ITEM, USUAL_TITLE, Catalog, Wanted
from engine.data.readers.catalog import ID_NAME, clean, field_lists, is_text, values_of, without_tags
from engine.data.readers.columns import MISSING_IDS
from engine.data.readers.grid import many_bad, names_only
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
    lines = Lines(path)
    cells: dict[str, dict[str, Any]] = {}
    repeated = bad = first = 0
    item = title = ""
    fields: tuple[str, ...] | None = None
    for number, row in rows_of(path, _Skipping(path, lines, only, cells)):
        if not item:
            names = names_only(path, list(row))
            item = names.need(
                wanted.item if wanted.item in row else None, (*USUAL_ITEM, "business_id"), "--item-column"
            )
            title = names.pick(wanted.title if wanted.title in row else None, USUAL_TITLE, "--title-column") or "title"
            fields = FIELDS.get(item)
        found = row.get(item)
        key = str(found).strip() if isinstance(found, str | int) and not isinstance(found, bool) else ""
        if key.lower() in MISSING_IDS:
            bad, first = bad + 1, first or number
            continue
        repeated += key in cells
        kept = cells.setdefault(key, {})
        if only is None or key in only:
            for name in (title, *(fields or [n for n in row if n != item and not ID_NAME.fullmatch(n)])):
                if name not in kept and values_of(row.get(name)):
                    kept[name] = row[name]
    if bad:
        raise many_bad(bad, where=f"{path}:{first}", problem=f"there is no item id ({item or 'asin'})")
    warnings = list(lines.warnings)
    if repeated:
        warnings.append(f"{repeated:,} rows of {path} repeat an item; the first cell that is not empty counts")
    return _catalog(path, cells, title, fields, warnings)


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


def _catalog(
    path: Path, cells: dict[str, dict[str, Any]], title: str, fields: tuple[str, ...] | None, warnings: list[str]
) -> Catalog:
    rows = list(cells.values())
    titles, scripts = [], 0
    for row in rows:
        text = without_tags(" ".join(values_of(row.get(title))))
        script = any(word in text for word in _SCRIPT) and len(text) > 200
        scripts += script
        titles.append("" if script else clean(text))
    if scripts:
        warnings.append(f"{scripts:,} titles in {path} are page source and are left out")
    names = fields or tuple(n for n in dict.fromkeys(n for row in rows for n in row) if n != title)
    lists = {name: field_lists(name, [_cell(name, row.get(name)) for row in rows]) for name in names}
    lists = {name: values for name, values in lists.items() if is_text(name, values)}
    attributes = [{name: values[row] for name, values in lists.items() if values[row]} for row in range(len(rows))]
    return Catalog(ids=list(cells), titles=titles, attributes=attributes, source=str(path), warnings=warnings)


def _cell(name: str, cell: Any) -> Any:
    """A cell without markup; a price that does not look like one (page source) is empty."""
    if name == "price":
        text = " ".join(values_of(cell)).strip()
        return text if _PRICE.fullmatch(text) else None
    return cell
