"""Samples of the machine: rows of their run, over all its starts, in a bundle, and in the figures of the run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import publish
from store.queries.machine import MEASURES, machine_points, machine_use
from store.transfer.bundle import export_bundle, import_bundle

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
UNKNOWN = dict.fromkeys(MEASURES)


def sample(journal: Journal, seconds: object, **measured: object) -> None:
    journal.append("machine_sampled", UNKNOWN | {"seconds": seconds} | measured, at=1_767_259_200.0)


@pytest.fixture
def run(home: Home, new_run: NewRun) -> Home:
    """A run that was started twice, with samples at 2 and 10 s, and at 4 s."""
    first = new_run("one")
    (home.runs / "one" / "request.json").write_text("{}")
    sample(first, 2.0, cores=0.5, memory_bytes=3 << 30)
    sample(first, 10.0, cores=1.5, memory_bytes=5 << 30)
    second = Journal(home.runs / "one")
    second.append("run_started", {"pid": 7, "host": "h", "boot_id": "b"})
    second.append("run_resumed", {"epoch": 0, "step": 0})
    sample(second, 4.0, cores=1.0, memory_bytes=4 << 30, machine_gpu_percent=50.0)
    second.append("run_ended", {"state": "finished", "reason": None})
    publish(home)
    return home


def test_samples_of_every_start_are_kept(run: Home, rows: Rows) -> None:
    assert rows(
        "SELECT run_id, segment, seconds, epoch(sampled_at), cores, machine_cores, memory_bytes FROM machine_samples"
    ) == [
        ("one", 1, 2.0, 1_767_259_200.0, 0.5, None, 3 << 30),
        ("one", 1, 10.0, 1_767_259_200.0, 1.5, None, 5 << 30),
        ("one", 2, 4.0, 1_767_259_200.0, 1.0, None, 4 << 30),
    ]


def test_a_second_start_goes_on_where_the_first_was_sampled_last(run: Home) -> None:
    with open_store(run) as store:
        points = {name: found.tolist() for name, found in machine_points(store, "one").items()}
        assert machine_points(store, "none") == {}
        assert machine_use(store, "none") == {}
        use = machine_use(store, "one")
    assert points["cores"] == [[2.0, 0.5], [10.0, 1.5], [14.0, 1.0]]
    assert points["machine_gpu_percent"] == [[14.0, 50.0]]
    assert points.keys() == {"cores", "memory_bytes", "machine_gpu_percent"}
    assert use["cores"] == {"mean": pytest.approx((2 * 0.5 + 8 * 1.5 + 4 * 1.0) / 14), "peak": 1.5}
    assert use["memory_bytes"]["peak"] == 5 << 30
    assert use["machine_gpu_percent"] == {"mean": 50.0, "peak": 50.0}


@pytest.mark.parametrize(
    "fields",
    [{"seconds": None}, {}, {"seconds": "soon"}, {"seconds": 1.0, "cores": [1]}, {"seconds": 1.0, "memory_bytes": {}}],
)
def test_a_sample_that_is_none_keeps_no_other_event_away(
    home: Home, new_run: NewRun, rows: Rows, fields: dict[str, Any]
) -> None:
    journal = new_run("one")
    journal.append("machine_sampled", fields)
    sample(journal, 3.0, cores=1.0)
    journal.append("run_ended", {"state": "finished", "reason": None})
    assert any("machine_sampled" in warning for warning in publish(home).warnings)
    assert rows("SELECT seconds FROM machine_samples") == [(3.0,)]
    assert rows("SELECT state FROM runs") == [("finished",)]


def test_samples_travel_in_a_bundle(run: Home, new_run: NewRun, tmp_path: Path) -> None:
    plain = new_run("plain")
    (run.runs / "plain" / "request.json").write_text("{}")
    plain.append("run_ended", {"state": "finished", "reason": None})
    publish(run)
    with open_store(run) as store:
        assert export_bundle(store, "one", tmp_path / "one.zip")["machine_samples"] == 3
        export_bundle(store, "plain", tmp_path / "plain.zip")
        before = store.rows("FROM machine_samples ORDER BY ALL")
    assert "tables/machine_samples.parquet" not in zipfile.ZipFile(tmp_path / "plain.zip").namelist()
    other = Home(tmp_path / "other")
    for name in ("one", "plain"):
        import_bundle(other, tmp_path / f"{name}.zip")
    with open_store(other) as store:
        assert store.rows("FROM machine_samples ORDER BY ALL") == before
