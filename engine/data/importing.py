"""From files to a dataset: order, duplicates, filters, numbering, texts; every dropped row is counted.

Order of the steps: a user's rows by time, ties by option; repeated pairs; k-core; minimum length; maximum length. Raw
ids that are exactly the integers 1..n of the source stay in numerical order, so that they are the ids here too where
nothing is dropped; other users and items are numbered by their first kept row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset, Items
from engine.data.readers import read_source
from engine.data.readers.base import Catalog, Coded, Raw, Wanted
from engine.data.readers.time_formats import format_problem
from engine.data.readers.times import SECOND
from engine.errors import DataError
from engine.events import Report, StageFinished, StageProgress, StageStarted, Warned, ignore
from engine.extension_points import READERS

REPEATED = "repeated interactions"
OUTSIDE_CORE = "interactions outside the k-core"
TOO_SHORT = "interactions of users below the minimum length"
TOO_OLD = "interactions beyond the maximum length"
UNUSED_ITEMS = "items without interactions"
"""The one reason that counts items; all others count interactions."""

STAGE, STEPS = "import", 5
"""Name of the stage, and its steps; the last one, the storing, is the caller's."""

Rows = NDArray[np.int64]
"""Row indices of interactions in the source, in order of user and time."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of reading and filtering a source; by default nothing is dropped."""

    format: str | None = None
    """A name of `READERS` (engine/extension_points.py), or `path.py:Class`; none detects it."""
    user_column: str | None = None
    """None takes the first usual name: user_id, user, userId, reviewerID, uid."""
    item_column: str | None = None
    """None: item_id, item, itemId, asin, iid, movieId, parent_asin."""
    time_column: str | None = None
    """None: timestamp, ts, time, unixReviewTime, date; without any of them the order of the rows counts."""
    title_column: str | None = None
    """None: title, name."""
    items: Path | None = None
    """File with the items' texts: a table or RecBole's `.item`."""
    delimiter: str | None = None
    """One character between the cells of a text table, or `tab`; none takes that of the format."""
    time_format: str | None = None
    """`s`, `ms`, `us` or `ns` for Unix times, or a form such as `%d/%m/%Y %H:%M`; none recognizes it."""
    only: tuple[str, ...] = ()
    """`COLUMN=VALUE`: rows with these values alone; several values of a column are alternatives."""
    min_rating: float | None = None
    """Lowest rating of an interaction; none takes every row, whatever its rating."""
    bad_rows: Literal["refuse", "drop"] = "refuse"
    """Whether a bad row refuses the source, or is left out and counted."""
    k_core: int = 0
    """Minimum number of interactions of a user and of an item, applied until every one has it; 0 keeps all."""
    min_length: int = 0
    """Minimum number of interactions of a user."""
    max_length: int | None = None
    """Maximum number of interactions of a user, the newest; none keeps all."""
    duplicates: Literal["keep", "first", "last"] = "keep"
    """What to do with a user's further interactions with the same item."""
    ties: Literal["source", "item", "random"] = "source"
    """Order of a user's interactions at the same time: as in the source, by raw item id, or shuffled."""
    tie_seed: int = 0
    """Seed of the shuffle."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """Counts and warnings of an import."""

    source: str
    format: str
    rows_read: int
    """Interactions in the source."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Count by reason, where it is not 0."""
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rows_dropped(self) -> int:
        """Number of interactions that were read and are not in the dataset."""
        return sum(count for reason, count in self.dropped.items() if reason != UNUSED_ITEMS)


def import_dataset(
    path: Path, *, name: str, options: ImportOptions = ImportOptions(), report: Report = ignore
) -> tuple[Dataset, ImportReport]:
    """A dataset from a file or folder: all of it or, by an error, nothing.

    Args:
        name: what the dataset is called.
        report: called at the start, at each step, for each warning, and at the end; what it raises ends the import.

    Raises:
        DataError: a file is missing, not recognized, or has bad rows; an option is out of range; nothing is left.
    """
    started = time.perf_counter()
    report(StageStarted(stage=STAGE, total=STEPS))
    check_options(options)
    _step(report, 0, f"reading {Path(path).name}")
    raw, format = read_source(Path(path), format=options.format, wanted=wanted_of(options))
    _step(report, 1, f"ordering {len(raw.users.codes):,} interactions")
    order, warnings = _in_order(raw, options)
    _step(report, 2, "filtering")
    rows, dropped = _filtered(raw, order, options)
    _step(report, 3, f"numbering {len(rows):,} interactions, taking in texts")
    dataset, unused, text_warnings = _assembled(raw, rows, name=name, options=_plain(options, format))
    if unused:
        dropped[UNUSED_ITEMS] = unused
    warnings = [*raw.warnings, *warnings, *text_warnings]
    for warning in warnings:
        report(Warned(message=warning))
    seconds = time.perf_counter() - started
    detail = f"{dataset.users:,} users, {len(dataset.items):,} items, {len(dataset.sequence):,} interactions"
    report(StageFinished(stage=STAGE, seconds=seconds, detail=detail))
    return dataset, ImportReport(
        source=raw.source,
        format=format,
        rows_read=len(raw.users.codes) + sum(raw.dropped.values()),
        dropped={**raw.dropped, **dropped},
        warnings=warnings,
        seconds=seconds,
    )


def _step(report: Report, done: int, detail: str) -> None:
    report(StageProgress(stage=STAGE, done=done, total=STEPS, detail=detail))


def check_options(options: ImportOptions) -> None:
    """Raises DataError about an option that is out of range."""
    problem = None if options.format is None else READERS.problem_of(options.format)
    if problem is not None:
        raise DataError(problem, where="--format")
    longest = options.max_length
    for value, least, flag in (
        (options.k_core, 0, "--k-core"),
        (options.min_length, 0, "--min-length"),
        (1 if longest is None else longest, 1, "--max-length"),
        (options.tie_seed, 0, "--tie-seed"),
    ):
        if value < least:
            raise DataError(f"must be at least {least}, not {value}", where=flag)
    for value, known, flag in (
        (options.duplicates, ("keep", "first", "last"), "--duplicates"),
        (options.ties, ("source", "item", "random"), "--ties"),
        (options.bad_rows, ("refuse", "drop"), "--bad-rows"),
    ):
        if value not in known:
            raise DataError(f"must be one of {', '.join(known)}, not {value!r}", where=flag)
    delimiter = wanted_of(options).delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii()):
        raise DataError(f"must be one character or `tab`, not {options.delimiter!r}", where="--delimiter")
    if options.time_format is not None and (why := format_problem(options.time_format)) is not None:
        raise DataError(why, where="--time-format")


def wanted_of(options: ImportOptions) -> Wanted:
    """The columns and files that a person named."""
    return Wanted(
        user=options.user_column,
        item=options.item_column,
        time=options.time_column,
        title=options.title_column,
        items=options.items,
        delimiter={"tab": "\t", "\\t": "\t"}.get(options.delimiter or "", options.delimiter),
        time_format=options.time_format,
        only=tuple(_column_and_value(text) for text in options.only),
        min_rating=options.min_rating,
        drop_bad=options.bad_rows == "drop",
    )


def _column_and_value(text: str) -> tuple[str, str]:
    column, sign, value = text.partition("=")
    if not sign or not column.strip():
        raise DataError(f"must be COLUMN=VALUE, not {text!r}", where="--only")
    return column.strip(), value.strip()


def _plain(options: ImportOptions, format: str) -> dict[str, object]:
    """The options that shape the content, as JSON values; those that choose rows where they are given."""
    standard = ImportOptions()
    chosen = {name: getattr(options, name) for name in ("delimiter", "time_format", "only", "min_rating", "bad_rows")}
    given = {name: value for name, value in chosen.items() if value != getattr(standard, name)}
    return {
        "format": format,
        "k_core": options.k_core,
        "min_length": options.min_length,
        "max_length": options.max_length,
        "duplicates": options.duplicates,
        "ties": options.ties,
        "tie_seed": options.tie_seed,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in given.items()},
    }


def _in_order(raw: Raw, options: ImportOptions) -> tuple[Rows, list[str]]:
    """Row indices by user and time, ties by `options.ties`; and warnings."""
    users, times = raw.users.codes, raw.times
    as_given = np.argsort(users, kind="stable")
    if times is None:
        useless = f"there are no times, so there are no ties to order by {options.ties}"
        return as_given, [useless] * (options.ties != "source")
    backwards = (np.diff(times[as_given]) < 0) & (np.diff(users[as_given]) == 0)
    late = int(backwards.sum())
    warnings = [f"{late:,} of {len(users):,} rows are earlier than their user's row before and were sorted"] * bool(
        late
    )
    if options.ties == "item":
        return np.lexsort((_ranks(raw.items)[raw.items.codes], times, users)), warnings
    if options.ties == "random":
        shuffled = np.random.Generator(np.random.PCG64(options.tie_seed)).permutation(len(users))
        return np.lexsort((shuffled, times, users)), warnings
    return np.lexsort((times, users)), warnings


def _ranks(ids: Coded) -> NDArray[np.int64]:
    """Rank of each distinct raw id: by number where all are integers, else alphabetically."""
    values = ids.values
    numeric = all(value.isascii() and value.isdigit() for value in values)
    key: Callable[[int], tuple[int, str]] = lambda at: (int(values[at]) if numeric else 0, values[at])  # noqa: E731
    ranks = np.empty(len(values), np.int64)
    ranks[sorted(range(len(values)), key=key)] = np.arange(len(values))
    return ranks


def _filtered(raw: Raw, order: Rows, options: ImportOptions) -> tuple[Rows, dict[str, int]]:
    """The rows that are kept, in the same order, and the number dropped by each filter."""
    steps: list[tuple[str, str, Callable[[Rows], Rows]]] = [
        (REPEATED, "--duplicates", lambda rows: _without_repeats(raw, rows, options.duplicates)),
        (OUTSIDE_CORE, f"--k-core {options.k_core}", lambda rows: _core(raw, rows, options.k_core)),
        (TOO_SHORT, f"--min-length {options.min_length}", lambda rows: _long_enough(raw, rows, options.min_length)),
        (TOO_OLD, f"--max-length {options.max_length}", lambda rows: _newest(raw, rows, options.max_length)),
    ]
    dropped: dict[str, int] = {}
    rows = order
    for reason, flag, step in steps:
        kept = step(rows)
        if len(kept) == 0:
            raise DataError(
                f"nothing is left of {len(rows):,} interactions after {flag}", where=raw.source, hint="Lower it."
            )
        if len(kept) < len(rows):
            dropped[reason] = len(rows) - len(kept)
        rows = kept
    return rows, dropped


def _without_repeats(raw: Raw, rows: Rows, duplicates: str) -> Rows:
    if duplicates == "keep":
        return rows
    pairs = raw.users.codes[rows] * len(raw.items.values) + raw.items.codes[rows]
    if duplicates == "first":
        return rows[np.sort(np.unique(pairs, return_index=True)[1])]
    from_end = np.unique(pairs[::-1], return_index=True)[1]
    return rows[np.sort(len(rows) - 1 - from_end)]


def _core(raw: Raw, rows: Rows, least: int) -> Rows:
    while least > 1 and len(rows):
        users, items = raw.users.codes[rows], raw.items.codes[rows]
        keep = (np.bincount(users)[users] >= least) & (np.bincount(items)[items] >= least)
        if keep.all():
            break
        rows = rows[keep]
    return rows


def _long_enough(raw: Raw, rows: Rows, least: int) -> Rows:
    users = raw.users.codes[rows]
    return rows[np.bincount(users)[users] >= least]


def _newest(raw: Raw, rows: Rows, most: int | None) -> Rows:
    if most is None:
        return rows
    users = raw.users.codes[rows]
    ends = np.cumsum(np.bincount(users))
    return rows[ends[users] - np.arange(len(rows)) <= most]


def _assembled(raw: Raw, rows: Rows, *, name: str, options: dict[str, object]) -> tuple[Dataset, int, list[str]]:
    """The dataset, how many items of the catalog have no interaction in it, and warnings about texts."""
    users = _numbered(raw.users, rows, also=[])
    numbered = _numbered(raw.items, rows, also=raw.catalog.ids if raw.catalog else [])
    number_of = np.empty(len(raw.users.values), np.int64)
    number_of[users] = np.arange(len(users))
    rows = rows[np.argsort(number_of[raw.users.codes[rows]], kind="stable")]
    lengths = np.bincount(number_of[raw.users.codes[rows]], minlength=len(users))
    ids = np.zeros(len(raw.items.values), np.int32)
    ids[numbered] = np.arange(1, len(numbered) + 1)
    raw_ids = [raw.items.values[code] for code in numbered.tolist()]
    items, unused, warnings = _described(raw.catalog, raw_ids)
    dataset = Dataset(
        name=name,
        user_raw_ids=[raw.users.values[code] for code in users.tolist()],
        items=items,
        sequence=ids[raw.items.codes[rows]],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        timestamps=None if raw.times is None else raw.times[rows] // SECOND,
        microseconds=_beyond_seconds(raw, rows),
        options=options,
    )
    return dataset, unused, warnings


def _beyond_seconds(raw: Raw, rows: Rows) -> NDArray[np.int64] | None:
    """The microseconds of the rows' times, where some are no whole seconds."""
    beyond = None if raw.times is None else raw.times[rows] % SECOND
    return beyond if beyond is not None and beyond.any() else None


def _numbered(ids: Coded, rows: Rows, also: list[str]) -> NDArray[np.int64]:
    """The codes that still have a row, in the order of their numbers in the dataset.

    Args:
        also: further ids of the source, included when testing whether the ids are exactly 1..n.
    """
    codes, first = np.unique(ids.codes[np.sort(rows)], return_index=True)
    if _is_count(ids.values) or _is_count(list({*ids.values, *also})):
        numbers = np.array([int(value) for value in ids.values])
        return codes[np.argsort(numbers[codes], kind="stable")]
    return codes[np.argsort(first, kind="stable")]


def _is_count(values: list[str]) -> bool:
    """Whether different ids are exactly 1..n, written plainly."""
    return set(values) == {str(number) for number in range(1, len(values) + 1)}


def _described(catalog: Catalog | None, raw_ids: list[str]) -> tuple[Items, int, list[str]]:
    """Texts of the items by number, how many catalog entries are unused, and warnings."""
    if catalog is None:
        empty = [dict[str, list[str]]() for _ in raw_ids]
        warning = f"no item has text: {len(raw_ids):,} items have no title; name a file with item texts with --items"
        return Items(raw_ids, [""] * len(raw_ids), empty), 0, [warning]
    rows = {raw_id: row for row, raw_id in enumerate(catalog.ids)}
    found = [rows.get(raw_id) for raw_id in raw_ids]
    titles = ["" if row is None else catalog.titles[row] for row in found]
    attributes = [{} if row is None else catalog.attributes[row] for row in found]
    missing = found.count(None)
    if missing == len(raw_ids) and catalog.ids:
        raise DataError(
            f"none of the {missing:,} items has a row here",
            where=catalog.source,
            hint=f"Are these the items' texts? Ids are such as {catalog.ids[0]!r}; the interactions have {raw_ids[0]!r}.",
        )
    untitled = titles.count("") - missing
    warnings = list(catalog.warnings)
    if missing:
        warnings.append(f"{missing:,} of {len(raw_ids):,} items are not in {catalog.source}; they have no text")
    if untitled:
        warnings.append(f"{untitled:,} of {len(raw_ids):,} items have no title in {catalog.source}")
    unused = len(catalog.ids) - (len(raw_ids) - missing)
    return Items(raw_ids, titles, attributes), unused, warnings
