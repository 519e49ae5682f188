"""Choosing a second run of the same data."""

from __future__ import annotations

from collections.abc import Callable

from sracl_tui import formatting
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.table import Column, Row
from store.run_row import RunRow

COLUMNS = (Column("name", "run", flex=True), Column("preset", "preset"), Column("state", "state"))


def choose_second(
    page: BaseScreen, run: RunRow, second_run: str | None, title: str, answer: Callable[[str | None], None]
) -> None:
    """Ask for another run of the data of `run`; `answer` gets its id, or none where the reader wants none any more."""
    others = [
        row for row in page.sracl.runs if row["dataset_name"] == run["dataset_name"] and row["run_id"] != run["run_id"]
    ]
    others.sort(key=lambda row: row["best_epoch"] is None)  # a run without an epoch has little to show
    rows = [
        Row(
            row["run_id"],
            (formatting.line(page.sracl.called(row)), row["preset"] or "", formatting.state(row["state"])),
        )
        for row in others
    ]
    if not rows:
        page.notify("There is no other run of this data.", severity="warning")
        return
    if second_run:
        rows.insert(0, Row("", ("(none: this run alone)", "", "")))
    page.app.push_screen(
        ChoiceDialog(title, COLUMNS, rows), lambda key: None if key is None else answer(str(key) or None)
    )
