"""The screens of the app, in the order of their number keys. Each is imported when it is first opened."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sracl_tui.tui.screens.base import BaseScreen

PAGES = {
    "runs": "RunsScreen",
    "run": "RunScreen",
    "inspector": "InspectorScreen",
    "launch": "LaunchScreen",
    "compare": "CompareScreen",
    "data": "DataScreen",
    "sql": "SqlScreen",
    "costs": "CostsScreen",
    "queue": "QueueScreen",
}
"""Module in this folder, and the class in it."""
DEEPER = {
    "charts": "ChartsScreen",
    "everyone": "EveryoneScreen",
    "item": "ItemScreen",
    "slices": "SlicesScreen",
    "study": "StudyScreen",
    "findings": "FindingsScreen",
    "settings": "SettingsScreen",
}
"""The same of screens without a number of their own: they are opened from others, by their name, and the study by 0."""
ABOUT = {
    "runs": "all runs: filter, sort, compare, edit",
    "run": "progress, curves, log and settings of a run",
    "charts": "every metric of a run by epoch, in a grid",
    "inspector": "a user: items, summary, neighbors",
    "launch": "settings and start of a new run",
    "compare": "marked runs with paired tests",
    "data": "data sets, and import",
    "sql": "queries on the database",
    "costs": "costs of LLM calls",
    "queue": "queued runs and workers",
    "everyone": "all users of a run: histograms, maps",
    "item": "an item and its substitutes",
    "slices": "whom it helps: a run and its baseline by slices of users",
    "study": "claims with verdicts",
    "findings": "what was pinned with N, with notes; export",
    "settings": "colors, columns, panes, notifications of the app",
}
"""What is on each screen, for lists of screens."""
OF_A_RUN = ("run", "charts", "inspector", "everyone", "item", "slices", "launch")
"""Screens that `:NAME RUN` opens on a run."""
KEYS = {name: str(number) for number, name in enumerate(PAGES, start=1)} | {"study": "0"}
"""The number keys."""
_MODULES = {"everyone": "population"}
"""Modules that have another name than their screen."""


def page_class(name: str) -> type[BaseScreen]:
    """The class of a screen, imported on first use."""
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, name)}"), (PAGES | DEEPER)[name])


def page_name(screen: object) -> str:
    """The name of a screen that is open; empty for a dialog and for a screen that only another one opens."""
    kind = type(screen).__name__
    return next((name for name, cls in (PAGES | DEEPER).items() if cls == kind), "")


def page_title(name: str) -> str:
    """Title of a screen in menus."""
    return name.upper() if name == "sql" else name.title()
