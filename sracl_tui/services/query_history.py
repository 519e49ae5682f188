"""The queries that were run, in `sql_history.jsonl` of the home: a line each, the newest last."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from sracl_tui import formatting
from store.home import Home
from store.regular_file import read_regular

FILE = "sql_history.jsonl"
MOST = 500


@dataclass(frozen=True)
class Past:
    """A query, when it ran, and how it ended."""

    query: str
    at: float
    rows: int = 0
    seconds: float = 0.0
    failed: bool = False

    @property
    def when(self) -> str:
        """Day and minute in UTC."""
        return formatting.moment(self.at)


def read(home: Home) -> list[Past]:
    """Newest first, each query once. A damaged line is left out."""
    found: dict[str, Past] = {}
    with suppress(OSError):
        for line in reversed(read_regular(home.path / FILE).decode(errors="replace").splitlines()):
            with suppress(ValueError, TypeError):
                past = Past(**json.loads(line))
                found.setdefault(past.query, past)
    return list(found.values())


def add(home: Home, query: str, *, rows: int = 0, seconds: float = 0.0, failed: bool = False) -> None:
    """Keep a query; a home that cannot be written is no trouble."""
    past = Past(query, time.time(), rows, seconds, failed)
    path = home.path / FILE
    with suppress(OSError):
        if path.exists() and not path.is_file():  # a pipe in its place would block for ever
            return
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(past)) + "\n")
        if path.stat().st_size > 2_000 * MOST:
            kept = [json.dumps(asdict(one)) for one in reversed(read(home)[:MOST])]
            path.write_text("\n".join(kept) + "\n", "utf-8")
