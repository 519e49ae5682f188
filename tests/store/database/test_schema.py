"""The page about the database is the one that the migrations make, and says everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from store.database.schema import schema_page
from store.home import Home
from store.opening import open_store
from tests.support.commands import ROOT


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    page = tmp_path / "schema.md"
    subprocess.run([sys.executable, "-m", "store.database.schema", str(page)], cwd=ROOT, check=True)
    assert page.read_text("utf-8") == (ROOT / "docs" / "schema.md").read_text("utf-8"), "run `make docs`"


def test_every_relation_and_column_is_on_the_page(home: Home) -> None:
    page = schema_page()
    with open_store(home) as store:
        columns = store.rows(
            "SELECT table_name AS relation, column_name AS name, data_type AS kind FROM duckdb_columns() WHERE NOT internal"
        )
    assert len({column["relation"] for column in columns}) >= 20
    for column in columns:
        heading = f"\n### {column['relation']}"
        assert heading in page
        section = page.split(heading)[1].split("\n### ")[0]
        assert f"| `{column['name']}` | {column['kind']} |" in section


def test_the_page_is_one_table_per_relation_without_holes() -> None:
    page = schema_page()
    assert "None" not in page
    assert "|  |" not in page
    for line in page.splitlines():
        assert not line.startswith("|") or line.count("|") in {3, 4}
