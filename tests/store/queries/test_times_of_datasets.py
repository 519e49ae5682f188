"""Times keep their microseconds in the store."""

from __future__ import annotations

from pathlib import Path

from engine.data.importing import ImportOptions, import_dataset
from sracl_tui.runs.dataset_access import from_record, to_record
from store.home import Home
from store.opening import open_store
from store.queries import datasets
from store.queries.dataset_statistics import statistics


def test_a_dataset_with_milliseconds_comes_back_as_it_was_imported(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    times = ["1600000000000", "1600000000100", "1600000000200"]
    rows = [f"u{user},i{item},{time}\n" for user in range(2) for item, time in enumerate(times)]
    path.write_text("user,item,timestamp\n" + "".join(rows))
    dataset, _ = import_dataset(path, name="quick", options=ImportOptions(k_core=0))
    home = Home(tmp_path / "home")
    open_store(home).close()
    datasets.add(home, to_record(dataset, source=str(path), synthetic=False))
    with open_store(home) as store:
        again = from_record(datasets.load(store, "quick"))
        row = datasets.get(store, "quick")
        ties = statistics(store, row)["ties"]
    assert again.sha256 == dataset.sha256
    assert again.microseconds is not None
    assert again.microseconds.tolist() == [0, 100_000, 200_000] * 2
    assert row["tied_users"] == 0
    assert ties == [{"value": 1, "count": 6}], "no two interactions of a user share a time"
