"""What is asked of the recorded home, and what of an answer must stay the same whichever code gives it."""

from __future__ import annotations

import json
import math
from typing import Any

VOLATILE = frozenset({"latency", "path", "folder", "home", "heartbeat_at", "schema_version"})
"""Keys of answers that tell of this machine, this moment or the number of migrations."""
TABLES = {
    "metrics": "SELECT run_id, epoch, step, split, subgroup, name, value FROM metrics WHERE name <> 'seconds' AND subgroup = 'all'",
    "user_ranks": "SELECT run_id, split, user_id, rank FROM user_ranks WHERE split = 'test'",
    "weights": "SELECT run_id, phase, anchor_id, neighbor_id, weight FROM synthesizer_weights WHERE phase = 'best'",
    "neighbors": "SELECT list_id, anchor_id, rank, neighbor_id, similarity FROM neighbors WHERE anchor_id <= 20",
    "summaries": "SELECT key, text, tokens_in, tokens_out, usd, fallback FROM summaries ORDER BY key LIMIT 40",
    "api_calls": "SELECT run_id, key, attempt, status, tokens_in, tokens_out, usd FROM api_calls",
    "run_results": "SELECT * FROM run_results",
    "texts": "SELECT encoder, sha256, vector[1:4]::FLOAT[] AS head FROM vectors.vectors ORDER BY ALL LIMIT 20",
}
"""A query for each kind of row; the answers are sorted."""
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("runs",),
    ("runs", "--group", "pair"),
    ("runs", "--tag", "paper"),
    ("show", "full"),
    ("show", "plain"),
    ("show", "stopped"),
    ("show", "told"),
    ("inspect", "full", "3"),
    ("inspect", "full", "7", "--anchor", "2"),
    ("compare", "full", "plain"),
    ("compare", "pair", "--split", "test"),
    ("costs",),
    ("costs", "--by", "model"),
    ("costs", "--by", "dataset"),
    ("data", "list"),
    ("data", "show", "demo"),
    ("prompts", "list"),
    ("queue", "list"),
    ("search", "notebook and pen", "--run", "full", "-n", "5"),
    ("search", "notebook", "--items", "--run", "full", "-n", "5"),
    ("recommend", "full", "3", "--at", "test", "-k", "10"),
    ("recommend", "plain", "3", "-k", "10", "--new-only"),
    ("db", "check"),
    *(("sql", query) for query in TABLES.values()),
)
"""Every command that reads; `--json` is added."""


def stable(value: Any) -> Any:
    """An answer without its volatile keys; rows of a query are sorted."""
    if isinstance(value, dict):
        return {key: stable(item) for key, item in value.items() if key not in VOLATILE}
    return [stable(item) for item in value] if isinstance(value, list) else value


LATER_PROMPTS = ("choices-1",)
"""Versions of prompts that came after the record."""


def answer_of(command: tuple[str, ...], document: Any) -> Any:
    """What of a command's JSON is compared."""
    found = stable(document)
    if command[0] == "search":
        del found["seconds"]
    if command == ("prompts", "list"):
        found["prompts"] = [row for row in found["prompts"] if row["version"] not in LATER_PROMPTS]
    return (
        sorted(found, key=lambda row: json.dumps(row, sort_keys=True))
        if command[0] == "sql" and "LIMIT" not in command[1]
        else found
    )


def difference(
    found: Any, recorded: Any, *, relative: float = 1e-4, absolute: float = 1e-6, place: str = ""
) -> str | None:
    """Where two answers differ first, floats by more than `relative` and `absolute`; none where they do not."""
    if isinstance(found, dict) and isinstance(recorded, dict):
        if missing := recorded.keys() - found.keys():  # a document may gain keys
            return f"{place}: keys {sorted(missing)}"
        parts = [(f"{place}.{key}", found[key], recorded[key]) for key in recorded]
    elif isinstance(found, list) and isinstance(recorded, list):
        if len(found) != len(recorded):
            return f"{place}: {len(found)} values, recorded are {len(recorded)}"
        parts = [(f"{place}[{n}]", *pair) for n, pair in enumerate(zip(found, recorded, strict=True))]
    elif isinstance(found, float) and isinstance(recorded, float):
        near = math.isclose(found, recorded, rel_tol=relative, abs_tol=absolute)
        return None if near else f"{place}: {found!r}, recorded is {recorded!r}"
    else:
        return None if found == recorded else f"{place}: {found!r}, recorded is {recorded!r}"
    return next(
        (
            told
            for where, a, b in parts
            if (told := difference(a, b, relative=relative, absolute=absolute, place=where)) is not None
        ),
        None,
    )
