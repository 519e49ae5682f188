"""Servers on loopback, and homes that name them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import openai_server
from tests.support.commands import sracl_inside, sracl_process
from tests.support.quick_homes import quick_homes

KEY = "-".join(("sk", "test", "4f1d0c9b7a"))
"""In parts: a run records what is changed in the checkout, also this file."""


@pytest.fixture(scope="module", autouse=True)
def _quick_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick_homes(tmp_path_factory.getbasetemp() / "quick"):
        yield


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """Starts a server that behaves as told; all are stopped in the end."""
    started: list[Any] = []

    def start(**behavior: Any) -> Any:
        started.append(openai_server.Server(openai_server.Behavior(**behavior)).start())
        return started[-1]

    yield start
    for server in started:
        server.stop()


def entry(server: Any, **fields: Any) -> str:
    """`providers.toml` with one endpoint, `fake`, priced at $1, $2 and, cached, $0.1."""
    given = {
        "base_url": server.url,
        "model": "m",
        "structured": "schema",
        "prices": {"input": 1.0, "output": 2.0, "cached": 0.1},
        "limits": {"concurrency": 16, "timeout": 60.0},  # not reached on a busy machine: an answer is paid for once
    } | fields
    lines = []
    for name, value in given.items():
        if isinstance(value, dict):
            value = "{" + ", ".join(f"{key} = {json.dumps(item)}" for key, item in value.items()) + "}"
            lines.append(f"{name} = {value}")
        elif value is not None:
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(["[fake]", *lines, ""])


def sql(home: Path, query: str) -> list[dict[str, Any]]:
    """Rows of a query."""
    return json.loads(sracl_inside(home, "sql", query, "--json").stdout)


def shop(home: Path, *, users: int, items: int, length: int = 13, seed: int = 1) -> None:
    """Import a made-up data set, `shop`: `users` times `length` - 3 training prefixes."""
    dice = random.Random(seed)
    rows = (f"u{user},i{dice.randrange(items)},{place}" for user in range(users) for place in range(length))
    (home / "ratings.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    titles = (f"i{item},Article number {item} in color {dice.randrange(10**6)}" for item in range(items))
    (home / "items.csv").write_text("item_id,title\n" + "\n".join(titles) + "\n")
    sracl_process(home, "data", "import", "ratings.csv", "--items", "items.csv", "--name", "shop")
