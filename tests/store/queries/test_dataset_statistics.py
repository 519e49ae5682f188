"""What is counted over a dataset's rows, against counts made by hand or by Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from engine.data.dataset import Dataset, Items
from sracl_tui.runs.dataset_access import to_record
from store.home import Home
from store.opening import open_store
from store.queries import datasets
from store.queries.dataset_statistics import statistics

MakeDataset = Callable[..., Dataset]
DAY = 86_400


def stated(home: Home, dataset: Dataset) -> dict[str, Any]:
    datasets.add(home, to_record(dataset))
    with open_store(home) as store:
        return statistics(store, datasets.get(store, dataset.name), popular=2)


def pairs(spread: list[dict[str, Any]]) -> dict[Any, int]:
    return {row["value"]: row["count"] for row in spread}


def test_by_hand(home: Home) -> None:
    items = Items(["a", "b", "c"], ["Pen", "", "Pad"], [{"brand": ["x"]}, {}, {"brand": ["y"], "color": ["red"]}])
    dataset = Dataset(
        name="three",
        user_raw_ids=["u", "v"],
        items=items,
        sequence=np.array([1, 1, 1, 2, 1, 2, 3], np.int32),
        offsets=np.array([0, 4, 7]),
        timestamps=np.array([0, 0, 0, DAY, DAY, DAY, 2 * DAY + 60]),
    )
    found = stated(home, dataset)
    assert pairs(found["lengths"]) == {3: 1, 4: 1}
    assert pairs(found["popularity"]) == {1: 1, 2: 1, 4: 1}
    assert pairs(found["ties"]) == {1: 2, 2: 1, 3: 1}
    assert pairs(found["years"]) == {1970: 7}
    assert found["unit"] == "day"
    assert pairs(found["times"]) == {"1970-01-01": 3, "1970-01-02": 3, "1970-01-03": 1}
    # `Pen. brand: x` and `Pad. brand: y. color: red`
    assert (found["titles"], found["characters"], found["fields"]) == (2, 19.0, {"brand": 2, "color": 1})
    assert (found["repeated"], found["untrained"], found["timed"]) == (2, 2, 1)
    assert [(row["title"], row["count"]) for row in found["popular"]] == [("Pen", 4), ("", 2)]


def test_against_python(home: Home, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(users=30, items=40)
    assert dataset.timestamps is not None
    dataset = replace(dataset, timestamps=1_600_000_000 + np.sort(dataset.timestamps - dataset.timestamps.min()) * 9)
    found = stated(home, dataset)
    assert pairs(found["lengths"]) == Counter(dataset.lengths.tolist())
    assert pairs(found["popularity"]) == Counter(Counter(dataset.sequence.tolist()).values())
    assert found["untrained"] == int((dataset.train_counts[np.unique(dataset.sequence)] == 0).sum())
    assert found["unit"] == "month"
    assert sum(pairs(found["times"]).values()) == len(dataset.sequence)
    assert all(len(row["value"]) == 7 for row in found["times"])


def test_without_times_and_texts(home: Home, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(times=False)
    empty = [""] * len(dataset.items)
    dataset = replace(dataset, items=Items(dataset.items.raw_ids, empty, [{} for _ in empty]))
    found = stated(home, dataset)
    assert (found["ties"], found["times"], found["years"]) == ([], [], [])
    assert (found["titles"], found["characters"], found["fields"], found["timed"]) == (0, None, {}, 0)
