"""Keywords and functions of the SQL that people write here, as DuckDB itself lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from store.database.database import Store


@dataclass(frozen=True)
class SqlWords:
    """What an editor completes and colors, besides tables and columns."""

    keywords: tuple[str, ...] = ()
    """Upper case: words that no table or column can be named without quotes."""
    soft_keywords: tuple[str, ...] = ()
    """Upper case: keywords that may also name a table or column, such as NAME."""
    functions: tuple[str, ...] = ()
    """Aggregates and window functions first."""

    def quoted(self, name: str) -> str:
        """A name as a query writes it: in quotation marks where it is no plain word."""
        if _PLAIN.fullmatch(name) and name.upper() not in self.keywords:
            return name
        return '"' + name.replace('"', '""') + '"'


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KNOWN: dict[str, SqlWords] = {}
"""By version of DuckDB: the words are those of the program, not of one database."""


def sql_words(store: Store) -> SqlWords:
    """The words, read once per process (0.2 s).

    Raises:
        StoreError: the database cannot be read.
    """
    if duckdb.__version__ not in _KNOWN:
        keywords = store.rows(
            "SELECT upper(keyword_name) AS word, keyword_category AS kind FROM duckdb_keywords() ORDER BY 1"
        )
        functions = store.rows(
            "SELECT function_name AS word FROM duckdb_functions() "
            "WHERE function_type <> 'pragma' AND regexp_full_match(function_name, '[a-z][a-z0-9_]*') "
            "GROUP BY 1 ORDER BY bool_or(function_type IN ('aggregate', 'window')) DESC, 1"
        )
        _KNOWN[duckdb.__version__] = SqlWords(
            tuple(row["word"] for row in keywords if row["kind"] != "unreserved"),
            tuple(row["word"] for row in keywords if row["kind"] == "unreserved"),
            tuple(row["word"] for row in functions),
        )
    return _KNOWN[duckdb.__version__]
