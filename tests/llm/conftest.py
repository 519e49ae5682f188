"""Servers on loopback, homes that name them, and `sracl` in processes of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-test-4f1d0c9b7a"


def _module() -> Any:
    spec = importlib.util.spec_from_file_location(
        "loopback_server", Path(__file__).parents[1] / "support" / "openai_server.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["loopback_server"] = module
    spec.loader.exec_module(module)
    return module


SERVER = _module()


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """Starts a server that behaves as told; all are stopped in the end."""
    started: list[Any] = []

    def start(**behavior: Any) -> Any:
        started.append(SERVER.Server(SERVER.Behavior(**behavior)).start())
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
        "limits": {"concurrency": 16, "timeout": 2.0},
    } | fields
    lines = []
    for name, value in given.items():
        if isinstance(value, dict):
            value = "{" + ", ".join(f"{key} = {json.dumps(item)}" for key, item in value.items()) + "}"
            lines.append(f"{name} = {value}")
        elif value is not None:
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(["[fake]", *lines, ""])


def command(home: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """A `sracl` command line and its environment."""
    environment = {**os.environ, "SRACL_HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return [sys.executable, "-P", "-m", "sracl_tui.cli", *arguments], environment


def sracl(home: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `sracl` to its end and check its exit code."""
    line, environment = command(home, *arguments)
    done = subprocess.run(line, capture_output=True, text=True, timeout=240, cwd=home, env=environment)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def inside(home: Path, *arguments: str, code: int = 0) -> Any:
    """Run `sracl` in this process, which saves the start of another, and check its exit code."""
    from typer.testing import CliRunner

    from sracl_tui.cli.main import app

    done = CliRunner().invoke(app, arguments, env={"SRACL_HOME": str(home), "COLUMNS": "200"})
    assert done.exit_code == code, f"exit code {done.exit_code}\n{done.stdout}\n{done.stderr}\n{done.exception!r}"
    assert "Traceback" not in done.stderr
    return done


def sql(home: Path, query: str) -> list[dict[str, Any]]:
    """Rows of a query."""
    return json.loads(inside(home, "sql", query, "--json").stdout)


def shop(home: Path, *, users: int, items: int, length: int = 13, seed: int = 1) -> None:
    """Import a made-up data set, `shop`: `users` times `length` - 3 training prefixes."""
    dice = random.Random(seed)
    rows = (f"u{user},i{dice.randrange(items)},{place}" for user in range(users) for place in range(length))
    (home / "ratings.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    titles = (f"i{item},Article number {item} in color {dice.randrange(10**6)}" for item in range(items))
    (home / "items.csv").write_text("item_id,title\n" + "\n".join(titles) + "\n")
    sracl(home, "data", "import", "ratings.csv", "--items", "items.csv", "--name", "shop")
