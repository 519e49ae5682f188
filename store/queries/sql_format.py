"""Lays out SQL: keywords in upper case, a line for each clause. No token is changed, added or lost, by DuckDB's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

WIDTH = 88
"""Letters of a line; a longer clause goes on in the next line, behind a comma, or before AND or OR."""
INDENT = "  "
_CLAUSES = frozenset(
    [
        "WITH",
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
        "QUALIFY",
        "WINDOW",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "RETURNING",
    ]
)
_SIDES = frozenset(["LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL", "ASOF", "SEMI", "ANTI", "POSITIONAL"])
_JOINED = frozenset({"JOIN", "OUTER", *_SIDES})
_QUERIES = frozenset(["SELECT", "FROM", "WITH", "VALUES"])
"""With what a query in parentheses begins."""
_UPPER = _CLAUSES | frozenset(
    [
        "ON",
        "USING",
        "AS",
        "AND",
        "OR",
        "NOT",
        "IN",
        "IS",
        "NULL",
        "LIKE",
        "ILIKE",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "ALL",
        "ANY",
        "DISTINCT",
        "ASC",
        "DESC",
        "TRUE",
        "FALSE",
    ]
)
"""Words that no column is named by without quotes, so that no column of the result is renamed."""


@dataclass(frozen=True)
class Token:
    """A token as it was written."""

    text: str
    kind: str
    """As DuckDB's tokenizer calls it: keyword, identifier, operator, string_const, numeric_const, comment."""
    spaced: bool
    """Whether blanks stand before it."""

    @property
    def word(self) -> str:
        """A keyword in upper case; empty for other tokens."""
        return self.text.upper() if self.kind == "keyword" else ""


def tokens(query: str) -> list[Token]:
    """The tokens of a text, whether or not it is SQL."""
    data = query.encode("utf-8", "surrogatepass")
    places = duckdb.tokenize(query)
    ends = [*(start for start, _ in places[1:]), len(data)][: len(places)]
    found: list[Token] = []
    spaced = False
    for (start, kind), end in zip(places, ends, strict=True):
        text = data[start:end].decode("utf-8", "surrogatepass")
        kept = text.rstrip()
        found.append(Token(kept, kind.name, spaced))
        spaced = kept != text
    return found


def format_sql(query: str) -> str:
    """The query with a line for each clause; as it was where DuckDB's tokenizer would read another one."""
    try:
        found = tokens(query)
        text = _Layout(found).text()
        return text if _same(found, tokens(text)) else query
    except (UnicodeError, duckdb.Error):
        return query


def _same(before: Sequence[Token], after: Sequence[Token]) -> bool:
    """Whether all tokens are the same, apart from the case of keywords."""
    return [(one.word or one.text, one.kind) for one in before] == [(one.word or one.text, one.kind) for one in after]


class _Layout:
    """Writes tokens line by line."""

    def __init__(self, found: Sequence[Token]) -> None:
        self._tokens = found
        self._queries = [True]
        """For each open parenthesis, and for the whole, whether a query stands in it."""
        self._lines: list[str] = [""]

    def text(self) -> str:
        """All tokens."""
        for place, token in enumerate(self._tokens):
            self._add(place, token)
        return "\n".join(line.rstrip() for line in self._lines).strip("\n")

    def _add(self, place: int, token: Token) -> None:
        before = self._tokens[place - 1] if place else None
        closes = token.text in (")", "]", "}")
        closed = closes and len(self._queries) > 1 and self._queries.pop()
        text = token.word if self._is_upper(place) else token.text
        if before is not None:
            if before.kind == "comment" and before.text.startswith("--"):
                self._line(0)
            elif before.text == ";":
                self._line(0)
                self._lines.append("")
            elif closed or self._begins_clause(place, token):
                self._line(0)
            elif self._is_long(place, token, text):
                self._line(1)
            elif token.spaced:
                self._lines[-1] += " "
        self._lines[-1] += text
        if token.text in ("(", "[", "{"):
            query = token.text == "(" and self._word(place + 1) in _QUERIES
            self._queries.append(query)
            if query:
                self._line(0)

    def _line(self, deeper: int) -> None:
        """Begin a line, unless one has just begun."""
        depth = sum(self._queries) - 1 + deeper
        if self._lines[-1].strip():
            self._lines.append("")
        self._lines[-1] = INDENT * depth

    def _word(self, place: int) -> str:
        return self._tokens[place].word if 0 <= place < len(self._tokens) else ""

    def _is_upper(self, place: int) -> bool:
        word, before = self._word(place), self._word(place - 1)
        if word == "BY":
            return before in ("GROUP", "ORDER", "PARTITION")
        return (word in _UPPER and not self._is_name(place)) or self._joins(place)

    def _is_name(self, place: int) -> bool:
        """Whether a keyword names a column or field."""
        return place > 0 and (self._tokens[place - 1].text.endswith(".") or self._word(place - 1) == "AS")

    def _joins(self, place: int) -> bool:
        """Whether a token is part of `LEFT OUTER JOIN` or the like."""
        words = [self._word(place + step) for step in range(3)]
        return words[0] in _JOINED and "JOIN" in words and not self._is_name(place)

    def _begins_clause(self, place: int, token: Token) -> bool:
        before = self._word(place - 1)
        if not self._queries[-1] or (token.word == "FROM" and before in ("DISTINCT", "DELETE")):
            return False
        if self._joins(place):
            return before not in _JOINED
        return token.word in _CLAUSES and not self._is_name(place)

    def _is_long(self, place: int, token: Token, text: str) -> bool:
        """Whether the line ends here: it would get too long with what follows up to the next place where it may end."""
        before = self._tokens[place - 1]
        if not self._queries[-1] or not (before.text == "," or token.word in ("AND", "OR")):
            return False
        length, depth = len(self._lines[-1]), 0
        for later in self._tokens[place:]:
            if depth == 0 and later is not token and (later.word in ("AND", "OR") or later.word in _CLAUSES):
                break
            length += len(later.text.partition("\n")[0]) + later.spaced
            depth += (later.text in ("(", "[", "{")) - (later.text in (")", "]", "}"))
            if depth < 0 or (depth == 0 and later.text in (",", ";")):
                break
        return length > WIDTH
