"""From files to a dataset: order, duplicates, filters, numbering, texts; every dropped row is counted.

Order of the steps: a user's rows by time, ties by option; repeated pairs; k-core; minimum length; maximum length. Raw
ids that are exactly the integers 1..n of the source stay in numerical order, so that they are the ids here too where
nothing is dropped; other users and items are numbered by their first kept row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset, Items
from engine.data.matching_ids import difference
from engine.data.ordering import Ordered, in_core, late_rows, long_enough, newest, numbered, ordered
from engine.data.readers import read_source
from engine.data.readers.base import Catalog, Coded, Raw, Wanted
from engine.data.readers.time_formats import format_problem
from engine.data.readers.times import SECOND
from engine.data.scratch import Workspace, slices
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

TOLD_SECONDS = 0.3
"""Between two reports of a step."""


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
    path: Path,
    *,
    name: str,
    options: ImportOptions = ImportOptions(),
    report: Report = ignore,
    scratch: Callable[[], Path | None] = lambda: None,
) -> tuple[Dataset, ImportReport]:
    """A dataset from a file or folder: all of it or, by an error, nothing.

    Args:
        name: what the dataset is called.
        report: called at the start, at each step, as reading goes on, for each warning, and at the end; what it raises
            ends the import.
        scratch: folder for columns that do not fit in memory, which leave nothing there; asked only where it is needed.

    Raises:
        DataError: a file is missing, not recognized, or has bad rows; an option is out of range; nothing is left.
        ScratchFull: there is no room for what does not fit in memory.
    """
    started = time.perf_counter()
    report(StageStarted(stage=STAGE, total=STEPS))
    check_options(options)
    _step(report, 0, f"reading {Path(path).name}")
    reading = Workspace(scratch, Teller(report, 0))
    raw, format = read_source(Path(path), format=options.format, wanted=replace(wanted_of(options), work=reading))
    _step(report, 1, f"ordering {len(raw.users.codes):,} interactions")
    work = Workspace(scratch, Teller(report, 2))
    ties, warnings = _ties(raw, options, work)
    rows = ordered(raw, ties=ties, duplicates=options.duplicates, work=work)
    _step(report, 2, "filtering")
    rows, dropped = _filtered(raw, rows, options)
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


class Teller:
    """Reports how far a step is, a few times a second."""

    def __init__(self, report: Report, done: int) -> None:
        self._report, self._done, self._last = report, done, time.monotonic()

    def __call__(self, detail: str) -> None:
        now = time.monotonic()
        if now - self._last >= TOLD_SECONDS:
            self._last = now
            _step(self._report, self._done, detail)


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


def _ties(raw: Raw, options: ImportOptions, work: Workspace) -> tuple[NDArray[np.int64] | None, list[str]]:
    """The order of rows at the same time, none for that of the source; and warnings about the order."""
    if raw.times is None:
        useless = f"there are no times, so there are no ties to order by {options.ties}"
        return None, [useless] * (options.ties != "source")
    late, rows = late_rows(raw), len(raw.times)
    warnings = [f"{late:,} of {rows:,} rows are earlier than their user's row before and were sorted"] * bool(late)
    if options.ties == "item":
        ranks, codes = _ranks(raw.items), raw.items.codes
        return work.gathered((ranks[codes[part]] for part in slices(rows, codes)), np.int64), warnings
    if options.ties == "random":
        shuffled = np.random.Generator(np.random.PCG64(options.tie_seed)).permutation(rows)
        return work.gathered([shuffled], np.int64), warnings
    return None, warnings


def _ranks(ids: Coded) -> NDArray[np.int64]:
    """Rank of each distinct raw id: by number where all are integers, else alphabetically."""
    values = ids.values
    numeric = all(value.isascii() and value.isdigit() for value in values)
    key: Callable[[int], tuple[int, str]] = lambda at: (int(values[at]) if numeric else 0, values[at])  # noqa: E731
    ranks = np.empty(len(values), np.int64)
    ranks[sorted(range(len(values)), key=key)] = np.arange(len(values))
    return ranks


def _filtered(raw: Raw, rows: Ordered, options: ImportOptions) -> tuple[Ordered, dict[str, int]]:
    """The rows that are kept, in the same order, and the number dropped by each filter."""
    longest, items = options.max_length, len(raw.items.values)
    steps: list[tuple[bool, str, str, Callable[[Ordered], NDArray[np.bool_]]]] = [
        (
            options.k_core > 1,
            OUTSIDE_CORE,
            f"--k-core {options.k_core}",
            lambda rows: in_core(rows, items, options.k_core, rows.work.tell),
        ),
        (
            options.min_length > 1,
            TOO_SHORT,
            f"--min-length {options.min_length}",
            lambda rows: long_enough(rows, options.min_length),
        ),
        (longest is not None, TOO_OLD, f"--max-length {longest}", lambda rows: newest(rows, longest or 0)),
    ]
    repeated = len(raw.users.codes) - len(rows)
    dropped = {REPEATED: repeated} if repeated else {}
    for asked, reason, flag, step in steps:
        alive = step(rows) if asked else np.ones(1, bool)
        if not alive.any():
            raise DataError(
                f"nothing is left of {len(rows):,} interactions after {flag}", where=raw.source, hint="Lower it."
            )
        if not alive.all():
            dropped[reason] = int((~alive).sum())
            rows = rows.kept(alive)
    return rows, dropped


def _assembled(raw: Raw, rows: Ordered, *, name: str, options: dict[str, object]) -> tuple[Dataset, int, list[str]]:
    """The dataset, how many items of the catalog have no interaction in it, and warnings about texts."""
    work, (first_users, first_items) = rows.work, rows.firsts(len(raw.items.values))
    users = numbered(raw.users, first_users, also=[])
    codes = numbered(raw.items, first_items, also=raw.catalog.ids if raw.catalog else [])
    ids = np.zeros(len(raw.items.values), np.int32)
    ids[codes] = np.arange(1, len(codes) + 1)
    raw_ids = [raw.items.values[code] for code in codes.tolist()]
    items, unused, warnings = _described(raw.catalog, raw_ids)
    sequence = work.gathered((ids[part] for part in rows.by_users(users, rows.items)), np.int32)
    times = None if rows.times is None else work.gathered(rows.by_users(users, rows.times), np.int64)
    dataset = Dataset(
        name=name,
        user_raw_ids=[raw.users.values[code] for code in users.tolist()],
        items=items,
        sequence=sequence,
        offsets=np.concatenate([[0], np.cumsum(np.diff(rows.offsets)[users])]).astype(np.int64),
        timestamps=None if times is None else work.gathered((part // SECOND for part in _parts(times)), np.int64),
        microseconds=_beyond_seconds(times, work),
        options=options,
    )
    return dataset, unused, warnings


def _parts(column: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (column[rows] for rows in slices(len(column), column))


def _beyond_seconds(times: NDArray[np.int64] | None, work: Workspace) -> NDArray[np.int64] | None:
    """The microseconds of times, where some are no whole seconds."""
    if times is None or not any((part % SECOND).any() for part in _parts(times)):
        return None
    return work.gathered((part % SECOND for part in _parts(times)), np.int64)


_ARE_THESE = "Are these the items' texts?"


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
            hint=f"{difference(raw_ids, catalog.ids) or _ARE_THESE} Ids are such as {catalog.ids[0]!r}; the interactions have {raw_ids[0]!r}.",
        )
    untitled = titles.count("") - missing
    warnings = list(catalog.warnings)
    if missing:
        warnings.append(f"{missing:,} of {len(raw_ids):,} items are not in {catalog.source}; they have no text")
    if untitled:
        warnings.append(f"{untitled:,} of {len(raw_ids):,} items have no title in {catalog.source}")
    said = {title for title in titles if title}
    if len(said) == 1 and len(titles) - titles.count("") > 1:
        warnings.append(f"all items of {catalog.source} have the title {said.pop()[:60]!r}: no text tells them apart")
    unused = len(catalog.ids) - (len(raw_ids) - missing)
    return Items(raw_ids, titles, attributes), unused, warnings
