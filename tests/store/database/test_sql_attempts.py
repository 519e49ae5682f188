"""Statements by which a query would reach files, the network, the environment or the store itself: none of them does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.database.connection import open_for_writing
from store.database.database import Store, signature
from store.database.person_sql import change, python_values
from store.errors import QueryFailed
from store.home import Home
from store.opening import open_store

ATTEMPTS = [line for line in Path(__file__).with_name("sql_attempts.txt").read_text("utf-8").splitlines() if line]
SECRET = "a-key-that-nobody-may-read"


@pytest.fixture
def target(home: Home, new_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with a run, a secret in the environment, and an empty folder `out` beside it."""
    new_run("one").append("run_ended", {"state": "finished", "reason": None})
    open_store(home).close()
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/{SECRET}")
    monkeypatch.chdir(tmp_path / "out")
    return home


def told(result: Any) -> str:
    return "" if result is None else str([python_values(column) for column in result.columns])


def unharmed(home: Home, out: Path, names: list[str]) -> None:
    """Nothing was written anywhere."""
    assert not list(out.iterdir())
    assert sorted(path.name for path in home.path.iterdir()) == names


def secrets() -> list[str]:
    return [SECRET, Path("/etc/passwd").read_text().splitlines()[0]]


def test_readers(target: Home, tmp_path: Path) -> None:
    out, names, before = tmp_path / "out", sorted(path.name for path in target.path.iterdir()), signature(target)
    refused = 0
    with open_store(target) as store:
        for attempt in ATTEMPTS:
            text = ""
            try:
                text = told(store.user_sql(attempt.format(out=out, home=target.path), limit=50))
            except QueryFailed:
                refused += 1
            assert not any(secret in text for secret in secrets()), attempt
            unharmed(target, out, names)
            healthy(store)
    assert signature(target) == before
    assert refused > 0.75 * len(ATTEMPTS), "the others say what the database is, and change nothing"


def healthy(store: Store) -> None:
    """The next query of any other part of the program finds what it should."""
    assert store.tuples("SELECT run_id, state FROM runs") == [("one", "finished")]
    assert store.tuples("SELECT current_setting('enable_external_access'), current_setting('lock_configuration')") == [
        (False, True)
    ]


def test_writers(target: Home, tmp_path: Path) -> None:
    """`sracl sql --write` on the copy that it would publish: no file, and nothing that the program itself needs."""
    out, names = tmp_path / "out", sorted(path.name for path in target.path.iterdir())
    copied = tmp_path / "copy.duckdb"
    shutil.copy(target.database, copied)
    for attempt in (one for one in ATTEMPTS if not one.startswith(("SELECT", "FROM", "WITH", "EXPLAIN"))):
        connection, text = open_for_writing(copied), ""
        try:
            connection.begin()
            text = told(change(connection, attempt.format(out=out, home=target.path), files=False, started=None))
        except QueryFailed:
            pass
        finally:
            connection.close()
        assert not any(secret in text for secret in secrets()), attempt
        unharmed(target, out, names)
    with open_for_writing(copied) as connection:
        assert connection.execute("SELECT run_id, state FROM runs").fetchall() == [("one", "finished")]
