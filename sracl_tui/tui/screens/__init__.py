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
DEEPER = {"everyone": "EveryoneScreen", "item": "ItemScreen", "study": "StudyScreen"}
"""The same of screens without a number of their own: they are opened from others, from the palette, and the study by 0."""
PALETTE = {
    "everyone": "all users of a run: histograms, maps",
    "item": "an item and its substitutes",
    "study": "claims with verdicts",
}
"""What the palette says of them."""
_MODULES = {"everyone": "population"}
"""Modules that have another name than their screen."""


def page_class(name: str) -> type[BaseScreen]:
    """The class of a screen, imported on first use."""
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, name)}"), (PAGES | DEEPER)[name])


def page_title(name: str) -> str:
    """Title of a screen in menus."""
    return name.upper() if name == "sql" else name.title()
