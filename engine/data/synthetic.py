"""The data sets that are generated when a run names them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.data.dataset import Dataset

DEMO = "demo"
GENERATED = {DEMO: "engine.data.demo:make_demo", "goods": "engine.data.goods:make_goods"}
"""Names, and the functions that make them, which are imported when they are called."""


def generate(name: str) -> Dataset:
    """A generated data set by its name in `GENERATED`."""
    module, _, function = GENERATED[name].partition(":")
    return getattr(import_module(module), function)()
