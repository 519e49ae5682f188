"""The filter language of the list of runs: `state:running ndcg@20>0.05 tag:office alpha=0.1 -preset:paper text`.

Words are joined by and. `field:value` asks whether a text contains the value (any of `a|b`), `field=value`, `<`, `<=`,
`>`, `>=` and `!=` compare; a word alone looks in name, id, data set, preset, group, tags and note; a minus in front turns
a word around; quotes keep spaces together. Fields: those of the list, every setting by its leaf name or path, and metrics:
`hr@20` on test, `valid.hr@20`, and with `train.` or `valid.` whatever a method measures at its best epoch (`train.loss_rec`).
"""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from engine.config import flatten
from engine.errors import ConfigError
from engine.metric_registry import parse_field
from engine.setting_paths import leaf_paths, names_own_part
from store.run_row import ListedRun, MetricName, metric_column

Row = ListedRun
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_WORD = re.compile(r"(?P<field>[A-Za-z_][\w.@]*)(?P<sign><=|>=|!=|<|>|=|:)(?P<value>.*)", re.DOTALL)
TEXTS = {
    "state": "state",
    "preset": "preset",
    "data": "dataset_name",
    "dataset": "dataset_name",
    "group": "group_name",
    "name": "name",
    "id": "run_id",
    "run": "run_id",
    "note": "note",
    "kind": "kind",
    "reason": "reason",
}
NUMBERS = {"seed": "seed", "epoch": "epoch", "best": "best_epoch", "usd": "usd"}
ANYWHERE = ("name", "run_id", "dataset_name", "preset", "group_name", "note", "kind", "state")


@dataclass(frozen=True)
class Predicate:
    """One word of a filter: a field, an operator and a value, or a text to search for."""

    __test__ = False  # pytest: this is no test case

    negative: bool
    field: str
    """Empty for a word alone."""
    sign: str
    value: str

    def holds(self, row: Row) -> bool:
        """Whether the predicate is true of a run."""
        return self.test()(row)

    def test(self) -> Callable[[Row], bool]:
        """`holds` as a function that has looked up field and value once, for many rows."""
        if not self.field:
            wanted = self.value.lower()
            return lambda row: self._is_anywhere(row, wanted) != self.negative
        read, compare = reader_of(self.field), self._comparison()

        def holds(row: Row) -> bool:
            found = read(row)
            if isinstance(found, list | tuple) and found:
                return any(map(compare, found)) != self.negative
            return compare(None if isinstance(found, list | tuple) else found) != self.negative

        return holds

    @staticmethod
    def _is_anywhere(row: Row, wanted: str) -> bool:
        texts = [str(row.get(name) or "") for name in ANYWHERE] + list(row.get("tags") or ())
        return any(wanted in text.lower() for text in texts)

    def _comparison(self) -> Callable[[Any], bool]:
        """Whether a value found in a row is what the predicate asks for."""
        if self.sign == ":":
            parts = self.value.lower().split("|")
            return lambda found: any(part in _text(found) for part in parts)
        compare, theirs, wanted = _OPERATORS[self.sign], _number(self.value), self.value.lower()
        as_text = self.sign in ("=", "!=")

        def compared(found: Any) -> bool:
            ours = None if theirs is None else _number(found)
            if ours is not None and theirs is not None:
                return compare(ours, theirs)
            return as_text and compare(_text(found), wanted)  # nothing is not less than a number

        return compared


def _text(found: Any) -> str:
    return "none" if found is None else str(found).lower()


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def known_field(field: str) -> bool:
    """Whether a filter may use a field."""
    return (
        field in TEXTS
        or field in NUMBERS
        or field in ("tag", "tags", "time")
        or _setting(field) is not None
        or parse_field(field) is not None
    )


def _setting(field: str) -> str | None:
    """The path of the setting that a field names, also of a part that is not ours; none for any other field."""
    return leaf_paths().get(field, field if names_own_part(field) else None)


def metric_of(field: str) -> MetricName | None:
    """The metric that a field names; none for any other field."""
    named = field in TEXTS or field in NUMBERS or _setting(field) is not None
    return None if named else parse_field(field)


def value_of(row: Row, field: str) -> Any:
    """What a run has under a field; none where it has nothing."""
    return reader_of(field)(row)


def reader_of(field: str) -> Callable[[Row], Any]:
    """`value_of` of one field, looked up once for many rows."""
    if field in ("tag", "tags"):
        return lambda row: row.get("tags") or []
    if field == "time":
        return lambda row: (row.get("timings") or {}).get("total")
    column = TEXTS.get(field) or NUMBERS.get(field)
    metric = metric_of(field)
    if metric is not None:
        column = metric_column(*metric)
    if column is not None:
        return lambda row: row.get(column)
    path = _setting(field)
    return lambda row: flatten(row.get("config") or {}).get(path) if path else None


def parse(text: str) -> list[Predicate]:
    """Predicates of a filter.

    Raises:
        ConfigError: a field is unknown, a value is missing, or a quote is open; `where` is the word.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        words = shlex.split(text + '"') if text.count('"') % 2 else text.split()
    predicates: list[Predicate] = []
    for word in words:
        negative = word.startswith("-") and len(word) > 1
        body = word[1:] if negative else word
        match = _WORD.fullmatch(body)
        if match is None:
            predicates.append(Predicate(negative, "", "", body))
            continue
        field = match["field"].lower()
        if not known_field(field):
            raise ConfigError(f"there is no field {field!r}", where=word, hint="Such as state:, tag:, ndcg@20>, alpha=")
        if not match["value"]:
            raise ConfigError(f"{word!r} lacks a value", where=word)
        predicates.append(Predicate(negative, field, match["sign"], match["value"]))
    return predicates


def metrics_of(predicates: Iterable[Predicate]) -> list[MetricName]:
    """The metrics that a filter reads, each once: rows need columns of them."""
    named = (metric_of(predicate.field) for predicate in predicates if predicate.field)
    return list(dict.fromkeys(metric for metric in named if metric is not None))


def select(rows: list[Row], predicates: list[Predicate]) -> list[Row]:
    """Runs for which every predicate holds."""
    tests = [predicate.test() for predicate in predicates]
    return [row for row in rows if all(test(row) for test in tests)] if tests else rows
