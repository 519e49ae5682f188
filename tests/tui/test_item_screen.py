"""An item and its substitutes on a real home, wide and narrow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from textual.widgets import Input, Static

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.find_item import FindItem
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.item import ItemScreen
from sracl_tui.tui.screens.item_neighbor import SubstituteScreen
from sracl_tui.tui.widgets.table import Table
from tests.support.steady_pilot import drive

ROOT = Path(__file__).resolve().parents[2]


def text(app, name: str) -> str:
    return str(app.screen.query_one(name, Static).content)


async def opened(app, pilot) -> ItemScreen:
    await pilot.quiet()
    await pilot.press("i")
    await pilot.quiet()
    await pilot.press("I")
    await pilot.quiet()
    assert isinstance(app.screen, ItemScreen)
    return app.screen


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_an_item_with_its_substitutes(home, size):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        screen = await opened(app, pilot)
        found = screen.found
        assert found is not None
        table = screen.query_one("#substitutes-table", Table)
        assert len(table.data.rows) == len(found.substitutes) == 10
        similarities = [one["similarity"] for one in found.substitutes]
        assert similarities == sorted(similarities, reverse=True)
        assert f"item {found.item['item_id']} of" in text(app, "#facts")
        assert "provider" in text(app, "#summary-text")
        assert "no language model" in text(app, "#summary-text")
        assert "draws one of these at random" in text(app, "#agreement")
        assert "weight" not in [column.key for column in table.data.columns]
        holders = screen.query_one("#holders-table", Table)
        assert len(holders.data.rows) == found.item["interactions"]
        assert 1 in [row.key[0] for row in holders.data.rows]  # the user whom we came from
        second = found.substitutes[1]["neighbor_id"]
        await pilot.press("down", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, SubstituteScreen)
        assert "provider" in text(app, "#substitute-summary")
        await pilot.press("o")
        await pilot.quiet()
        assert screen.found is not None
        assert screen.found.item["item_id"] == second


async def test_items_are_found_by_title_and_lead_to_their_users(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        assert screen.found is not None
        title = screen.found.substitutes[0]["title"]
        await pilot.press("slash")
        await pilot.quiet()
        assert isinstance(app.screen, FindItem)
        assert len(app.screen.query_one(Table).data.rows) > 20
        app.screen.query_one(Input).value = title.upper()
        await pilot.press("enter")  # before the list is there: it waits for it
        await pilot.quiet()
        assert app.screen is screen
        assert screen.found.item["title"] == title
        holders = screen.query_one("#holders-table", Table)
        await pilot.press("tab")
        await pilot.quiet()
        await pilot.press("enter")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        assert app.screen.found is not None
        assert app.screen.found.user_id == holders.key[0]  # type: ignore[index]


async def test_learned_weights_of_substitutes_stand_beside_their_similarity(home):
    words = ["--set", "item_kind=synthesize", "--set", "max_users=60", "--set", "encoder=tfidf", "--set", "epochs=2"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sracl_tui.cli", "run", *words, "--set", "threads=1", "--headless"],
        capture_output=True,
        text=True,
        env={**os.environ, "SRACL_HOME": str(home.path), "PYTHONPATH": str(ROOT)},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        assert screen.found is not None
        kept = pq.read_table(home.run_folder(screen.run_id) / "item_weights.parquet").to_pylist()
        item = screen.found.item["item_id"]
        weights = {row["neighbor_id"]: row["weight"] for row in kept if row["item_id"] == item}
        assert sum(weights.values()) == pytest.approx(1.0, abs=1e-5)
        rows = screen.query_one("#substitutes-table", Table).data.rows
        assert [row.cells[4] for row in rows] == [f"{weights[row.key]:.4f}" for row in rows]
        order = sorted(weights, key=lambda one: -weights[one])
        assert [int(row.cells[2]) for row in rows] == [order.index(row.key) + 1 for row in rows]
        for row in rows:
            by = int(row.cells[0]) - int(row.cells[2])
            assert row.cells[3] == (f"▲{by}" if by > 0 else f"▼{-by}" if by else "=")
        assert f"entropy {screen.found.entropy:.3f} (uniform: 2.303)" in text(app, "#agreement")


async def test_a_backbone_run_has_no_substitutes_and_says_so(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("down", "i")
        await pilot.quiet()
        await pilot.press("I")
        await pilot.quiet()
        table = app.screen.query_one("#substitutes-table", Table)
        assert not table.data.rows
        assert "beta = 0" in table.render_line(1).text
        assert "no summary of this item" in text(app, "#summary-text")
