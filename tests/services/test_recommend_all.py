"""Recommendations to all users keep ranks beyond what 16 bits hold."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from engine.data.dataset import Dataset, Items
from engine.recommend import Recommender
from sracl_tui.services.recommendations import recommend_all

COUNT = 40_000


class Everything:
    """Recommends every item, in order."""

    def top(self, histories: list[Any], *, k: int, mask_seen: bool) -> tuple[Any, Any]:
        ids = np.tile(np.arange(1, COUNT + 1), (len(histories), 1))
        return ids, -ids.astype(np.float64)


def test_ranks_of_a_large_catalog_are_whole() -> None:
    names = [str(number) for number in range(1, COUNT + 1)]
    dataset = Dataset(
        name="large",
        user_raw_ids=["u"],
        items=Items(names, [""] * COUNT, [{} for _ in names]),
        sequence=np.array([1, 2, 3], np.int32),
        offsets=np.array([0, 3], np.int64),
        timestamps=None,
        options={},
    )
    table = recommend_all(cast(Recommender, Everything()), dataset, k=COUNT, at="next", mask_seen=False)
    assert table["rank"].to_pylist() == list(range(1, COUNT + 1))
