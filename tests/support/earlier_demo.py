"""Homes that have the demo set of an earlier version: small, and known to recorded runs and pictures."""

from __future__ import annotations

from dataclasses import replace

from engine.data.goods import make_goods
from sracl_tui.runs.dataset_access import to_record
from store.home import Home
from store.opening import open_store
from store.queries import datasets


def add_earlier_demo(home: Home) -> None:
    """Store what is `goods` today as `demo`, as earlier versions did."""
    home.create()
    with open_store(home):
        pass
    datasets.add(home, to_record(replace(make_goods(), name="demo"), source="generated", synthetic=True))
