"""The interface of a reader of one file format, and the types that it takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from engine.data.scratch import TEMPORARY, Workspace
from engine.errors import DataError

USUAL_USER = (
    "user_id",
    "user",
    "userId",
    "reviewerID",
    "uid",
    "visitorid",
    "customer_id",
    "user_idx",
    "query_id",
    "username",
)
USUAL_ITEM = (
    "item_id", "item", "itemId", "parent_asin", "asin", "iid", "movieId",
    "movie_id", "video_id", "product_id", "book_id", "business_id", "news_id", "track_id", "item_idx", "article_id",
)  # fmt: skip
"""The first that a table has: where both are there, `parent_asin` is the product and `asin` one of its variants."""
USUAL_TIME = (
    "timestamp", "ts", "time", "unixReviewTime", "date",
    "datetime", "event_time", "event_timestamp", "time_ms", "timestamp_ms", "unix_timestamp", "created_at", "reviewTime",
    "review_date", "last_watch_dt", "watch_date", "date_added", "rated_at", "t_dat",
)  # fmt: skip
"""One of them: where a table has several, the person says which."""
REVIEW_TEXT = frozenset({"text", "reviewtext", "review_text", "review", "review_body"})
"""Names, in lower case, of a column with what a review says; a `title` beside it is the review's."""
USUAL_TITLE = ("product_title", "movie_title", "item_name", "title", "name")
"""The first that a table has: beside `product_title`, a `title` is that of a review."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Columns and files named by the user; none means that the usual names are tried."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    title: str | None = None
    items: Path | None = None
    """File with the items' texts."""
    delimiter: str | None = None
    """One character between the cells; none takes that of the format."""
    time_format: str | None = None
    """`s`, `ms`, `us` or `ns` for Unix times, or a form such as `%d/%m/%Y`; none recognizes it."""
    only: tuple[tuple[str, str], ...] = ()
    """Columns and the values that rows must have; several values of one column are alternatives."""
    min_rating: float | None = None
    """The lowest rating of an interaction."""
    drop_bad: bool = False
    """Whether bad rows are left out and counted, instead of being an error."""
    work: Workspace = TEMPORARY
    """Where a reader keeps what does not fit in memory."""

    @property
    def choices(self) -> dict[str, str]:
        """Those of the last five that are given, each with its flag."""
        flags = ("--delimiter", "--time-format", "--only", "--min-rating", "--bad-rows")
        given = (self.delimiter, self.time_format, self.only or None, self.min_rating, self.drop_bad or None)
        names = ("delimiter", "time_format", "only", "min_rating", "drop_bad")
        return {name: flag for name, flag, value in zip(names, flags, given, strict=True) if value is not None}


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The names of the columns that are read; none where a file has no times or no titles."""

    user: str
    item: str
    time: str | None = None
    title: str | None = None


@dataclass(frozen=True, kw_only=True)
class Head:
    """The first rows of a file, for a preview."""

    names: list[str]
    """Column names."""
    rows: list[list[str]]
    """The first rows, as text."""
    total: int | None
    """Rows of the whole file; none where it would have to be read to count them."""
    about: int | None = None
    """An estimate of the total, from the length of the first rows."""
    roles: Roles | None = None
    """None for a file of items."""
    items: Path | None = None
    """File with the items' texts that belongs to this one."""


@dataclass(frozen=True)
class Coded:
    """A column of ids: N rows over M different ones."""

    codes: NDArray[np.integer[Any]]
    """(N,) index into `values`; of many rows it is in a file and read in `slices`."""
    values: list[str]
    """M raw ids in order of their first row."""


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Titles and attributes of items, each item once."""

    ids: list[str]
    titles: list[str]
    attributes: list[dict[str, list[str]]]
    source: str
    """File that they come from."""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """All interactions of a source, checked and in its own order, with the texts of the items where it has them."""

    source: str
    """File that they come from."""
    users: Coded
    items: Coded
    times: NDArray[np.int64] | None
    """(N,) microseconds since 1970; none where only the order of the rows is known."""
    catalog: Catalog | None = None
    warnings: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows that were left out, by reason."""


ROW_CHOICES = frozenset({"time_format", "only", "min_rating", "drop_bad"})
"""Choices of a reader whose rows have columns."""


class Reader(ABC):
    """One format; it is built without arguments."""

    name: str
    """What `--format` calls it."""
    suffixes: tuple[str, ...]
    """Endings of its files with interactions, without `.gz`; other files of a folder are ignored."""
    published: bool = False
    """Whether it is one publisher's format, recognized by its field names: such a file takes precedence in a folder."""
    exclusive: bool = False
    """Whether only this reader may read files with `suffixes`; their texts come from the file that belongs to them."""
    parted: bool = False
    """Whether it reads a folder of files with the same columns as one table."""
    choices: frozenset[str] = frozenset()
    """Of `Wanted.choices`, those that it follows; others are refused before it reads."""

    @abstractmethod
    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        """Whether a file begins like interactions in this format; a file that cannot be read does not."""

    @abstractmethod
    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        """The first `count` rows of a file, and which of its columns are read.

        Raises:
            DataError: it cannot be read, or lacks a column.
        """

    @abstractmethod
    def read(self, path: Path, wanted: Wanted) -> Raw:
        """All of a file's interactions, and the catalog where the file or one that belongs to it has one.

        Raises:
            DataError: with file and line of the first bad row, and how many there are.
        """

    def ambiguity(self, path: Path) -> DataError | None:
        """Why a file that this reader recognizes may be of another format: it is then read where its format is named."""
        return None

    def reads_items(self, path: Path) -> bool:
        """Whether this reader accepts a file that the user named as the items' texts."""
        return False

    def recognizes_items(self, path: Path, wanted: Wanted) -> bool:
        """Whether an unnamed file in the folder of the interactions is recognized as the items' texts."""
        return False

    def items_head(self, path: Path, count: int) -> Head:
        """The first `count` rows of a file of items' texts.

        Raises:
            DataError: it cannot be read, or the format has no such files.
        """
        self._refuse_items(path)

    def read_items(self, path: Path, wanted: Wanted, *, only: set[str] | None = None) -> Catalog:
        """A file of items' texts.

        Args:
            only: ids whose texts are needed; other items may be returned without text.

        Raises:
            DataError: it cannot be read, has no item ids, or the format has no such files.
        """
        self._refuse_items(path)

    def _refuse_items(self, path: Path) -> NoReturn:
        raise DataError(f"the format {self.name} has no files of item texts", where=str(path))
