"""A home with rows in every table that a journal fills, a data set, a person's own table and a backup."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from sracl_tui.runs.dataset_access import to_record
from store.home import Home
from store.journal.journal import Journal
from store.maintenance.backups import backup
from store.maintenance.check import check_home
from store.maintenance.placing import state_of
from store.opening import open_store
from store.publishing import turns
from store.publishing.publish import publish, write_sql
from store.queries import datasets

Counts = dict[tuple[str, str], int]
"""Rows by table and by whose they are."""
_OWNED = {
    "run_id": ("runs", "metrics", "user_ranks", "synthesizer_weights", "machine_samples", "user_epochs", "api_calls"),
    "dataset_id": ("datasets", "users", "items", "interactions", "anchors"),
    "list_id": ("neighbors", "neighbor_lists"),
    "set_id": ("summary_sets", "summary_links"),
    "'all'": ("summaries", "prompts", '"my notes"', "vectors.vectors"),
}


def write_run(journal: Journal, name: str, dataset_id: str, *, ended: bool = True) -> None:
    """Rows in every table, some in the lines and some in files."""
    journal.append("dataset_used", {"dataset_id": dataset_id, "dataset_sha256": "f" * 64, "dataset_name": "small"})
    columns = {"sha256": [f"{name}-{n}" for n in range(3)], "vector": np.ones((3, 4), np.float32)}
    journal.append("vectors_made", {"encoder": "e", "dimension": 4}, columns=columns)
    made = {
        "set_id": f"set-{name}",
        "dataset_id": dataset_id,
        "kind": "user",
        "provider": "p",
        "model": "m",
        "unit": "user",
    }
    journal.append("summary_set_made", {**made, "prompt_version": "1", "template": "t", "parameters": {}})
    numbers = {key: [1, 1] for key in ("tokens_in", "tokens_out", "tokens_cached")}
    texts = {"key": [f"{name}-k1", f"{name}-k2"], "text": ["a", "b"], "usd": [0.5, 0.5], "finish_reason": ["stop"] * 2}
    journal.append("summaries_made", {}, columns={**texts, **numbers, "fallback": [False, False]}, durable=True)
    call = {"key": [f"{name}-k1"], "attempt": [1], "sent_at": [1.0], "status": [200], "usd": [0.5]}
    journal.append("api_called", {"provider": "p", "model": "m"}, columns=call, durable=True)
    journal.append("summaries_linked", {"set_id": f"set-{name}"}, columns={"owner_id": [1, 2], "key": texts["key"]})
    found = {"anchor_id": [1, 2], "rank": [1, 1], "neighbor_id": [2, 1], "similarity": [0.5, 0.5]}
    facts = {"list_id": f"list-{name}", "dataset_id": dataset_id, "kind": "user", "parameters": {}, "recall": None}
    journal.append("neighbors_found", facts, columns=found)
    for epoch in (1, 2, 3):
        metrics = [{"split": "valid", "subgroup": "all", "name": f"m{n}", "value": epoch / (n + 1)} for n in range(4)]
        times = {"seconds": 1.0, "evaluate_seconds": 0.5, "improved": True}
        journal.append("epoch_finished", {"epoch": epoch, "step": 10 * epoch, "metrics": metrics, **times})
    weights = {"anchor_id": [1, 1], "neighbor_id": [2, 3], "weight": np.array([0.25, 0.75], np.float32)}
    journal.append("weights_sampled", {"phase": "best", "epoch": 3, "step": 30}, columns=weights)
    tested = [{"split": "test", "subgroup": "all", "name": "hr@5", "value": 0.104}]
    ranks = {"user_id": np.arange(1, 7), "rank": np.arange(6) * 7}
    journal.append("evaluated", {"split": "test", "epoch": 3, "step": 30, "metrics": tested}, columns=ranks)
    over = {"user_id": [1, 2], "rank": [4, 2], "weights": np.array([[0.25, 0.75], [1, 0]], np.float32)}
    journal.append("epoch_recorded", {"epoch": 0, "step": 0}, columns=over)
    for seconds in (2.0, 4.0):
        journal.append("machine_sampled", {"seconds": seconds, "cores": seconds / 4, "memory_bytes": 1 << 30})
    if ended:
        journal.append("run_ended", {"state": "finished", "reason": None, "best_epoch": 3})
    journal.close()


@pytest.fixture(scope="session")
def rich(
    tmp_path_factory: pytest.TempPathFactory,
    fresh_home: Callable[[Path], Home],
    begin_run: Callable[..., Journal],
    small_dataset: Any,
) -> Path:
    """The home, made once; nobody writes into it."""
    home = fresh_home(tmp_path_factory.mktemp("rich") / "home")
    datasets.add(home, to_record(small_dataset))
    with duckdb.connect(str(home.database), read_only=True) as connection:
        dataset_id = connection.execute("SELECT dataset_id FROM datasets").fetchall()[0][0]
    write_run(begin_run(home, "one", name="one"), "one", dataset_id)
    write_sql(
        home,
        "CREATE TABLE \"my notes\" (day DATE PRIMARY KEY, text VARCHAR); INSERT INTO \"my notes\" VALUES ('2026-01-01', 'x')",
    )
    backup(home)
    write_run(begin_run(home, "two", name="two"), "two", dataset_id)
    edits = Journal(home.edits)
    edits.append("run_tagged", {"run_id": "one", "add": ["paper"], "remove": []})
    edits.close()
    publish(home)
    assert check_home(home).problems == []
    return home.path


@pytest.fixture(scope="session")
def small_dataset() -> Any:
    """Six users of eight items."""
    from engine.data.dataset import Dataset, Items

    offsets = np.arange(0, 31, 5).astype(np.int64)
    return Dataset(
        name="small",
        user_raw_ids=[f"u{n}" for n in range(6)],
        items=Items(
            raw_ids=[f"i{n}" for n in range(8)],
            titles=[f"Title {n}" for n in range(8)],
            attributes=[{"brand": ["b"]} for _ in range(8)],
        ),
        sequence=(np.arange(30) % 8 + 1).astype(np.int32),
        offsets=offsets,
        timestamps=1_600_000_000 + np.arange(30, dtype=np.int64) * 86_400,
        options={"format": "table", "k_core": 0},
    )


@pytest.fixture
def place(rich: Path, tmp_path: Path) -> Home:
    """A copy of it to damage."""
    return Home(shutil.copytree(rich, tmp_path / "place"))


@pytest.fixture(scope="module")
def small_files() -> Iterator[None]:
    """Lets small files take turns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "SMALL_BYTES", 0)
        patch.setattr(turns, "COPIED_PER_TAKEN", 0)
        yield


@pytest.fixture(scope="module")
def turning(rich: Path, small_files: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it in which each database has a standby; nobody writes into it."""
    home = Home(shutil.copytree(rich, tmp_path_factory.mktemp("turning") / "home"))
    publish(home, both=True)
    publish(home, both=True)
    assert len([*home.path.glob("*.duckdb.standby-*")]) == 2
    return home.path


def copy_turning(home: Path, to: Path) -> Home:
    """A copy of a home whose standbys stay what they are: their names hold inodes, which a copy changes."""
    copied = Home(shutil.copytree(home, to))
    for path in (copied.database, copied.vectors):
        for left in path.parent.glob(f"{path.name}.standby-*"):
            marks = ["-".join(f"{n:x}" for n in state_of(file)[""]) for file in (path, left)]
            left.rename(f"{path}.standby-{'-'.join(marks)}")
    return copied


def dataset_of(home: Home) -> str:
    """Id of its data set."""
    with open_store(home) as store:
        return store.tuples("SELECT dataset_id FROM datasets")[0][0]


def counts_of(home: Home) -> Counts:
    """Rows of every table that can be read, by whose they are; read in copies of the files."""
    found: Counts = {}
    for path, prefix in ((home.database, ""), (home.vectors, "vectors.")):
        if not path.is_file():
            continue
        log = path.with_name(f"{path.name}.wal")
        if log.exists() and not log.is_file():  # DuckDB itself would wait for a pipe
            path = Path(shutil.copy(path, f"{home.path}.without-log"))
        try:
            connection = duckdb.connect(str(path), read_only=True)
        except duckdb.Error:
            continue
        for owner, tables in _OWNED.items():
            for table in tables:
                if table.startswith("vectors.") != bool(prefix):
                    continue
                try:
                    name = table.removeprefix("vectors.")
                    connection.execute(f"SELECT bit_xor(hash(t)) FROM {name} t").fetchall()
                    rows = connection.execute(f"SELECT {owner}, count(*) FROM {name} GROUP BY ALL").fetchall()
                except duckdb.Error:
                    continue
                found |= {(table, key): count for key, count in rows if count}
        connection.close()
    return found


def fewer(before: Counts, after: Counts) -> Counts:
    """What was more before."""
    return {key: count for key, count in before.items() if after.get(key, 0) < count}
