"""Datasets through the store and back."""

from __future__ import annotations

import numpy as np
import pytest

from engine.data.goods import make_goods
from engine.errors import DataError
from sracl_tui.runs.dataset_access import from_record, open_dataset, to_record
from store.home import Home
from store.opening import open_store
from store.publishing.publish import write_sql
from store.queries import datasets


def test_a_dataset_comes_back_as_it_was(tmp_path):
    home, demo = Home(tmp_path), make_goods()
    datasets.add(home, to_record(demo, source="generated", synthetic=True))
    with open_store(home) as store:
        back = from_record(datasets.load(store, "goods"))
        assert back.sha256 == demo.sha256
        assert back.items.texts == demo.items.texts
        assert np.array_equal(back.anchors.targets, demo.anchors.targets)
        anchors = store.table("SELECT user_id, position, item_id, role FROM anchors ORDER BY anchor_id")
        assert np.array_equal(anchors["item_id"].to_numpy(), demo.anchors.targets)


def test_rows_that_were_tampered_with_are_noticed(tmp_path):
    home = Home(tmp_path)
    with open_store(home) as store:
        open_dataset(store, "goods")
    write_sql(home, "UPDATE items SET title = 'other' WHERE item_id = 1")
    with open_store(home) as store, pytest.raises(DataError, match="differ from the imported ones"):
        open_dataset(store, "goods")


def test_a_part_of_the_users_is_a_dataset_of_its_own(tmp_path):
    home = Home(tmp_path)
    with open_store(home) as store:
        part = open_dataset(store, "goods", max_users=10)
        assert part.users == 10
        assert {row["name"] for row in datasets.listed(store)} == {"goods", "goods[:10]"}
        assert open_dataset(store, "goods", max_users=10).dataset_id == part.dataset_id
