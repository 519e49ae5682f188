"""Parts of one's own in a whole run: what is stored, found again, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import RetrievalConfig
from engine.config_files import build_config, load_config
from engine.errors import ConfigError, SemanticsError
from engine.events import Event, StageFinished
from engine.retrieval.backends import build_backend
from sracl_tui.runs.execute import execute
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.runs.stages.needs import Needs
from sracl_tui.services import semantic_search
from store.home import Home
from store.opening import open_store
from store.queries.runs import find_run
from tests.support.installed import install

SMALL = ("max_users=40", "encoder=tfidf", "epochs=1", "threads=1", "k=4", "item_k=4")

BACKEND = '''
import json
import numpy as np
from engine.retrieval.backend import Backend, Index
from engine.retrieval.topk import dots, first_k

class Projected(Backend):
    """Compares projections to a few numbers."""

    similarities = ("cosine",)
    settings = ("search_k",)

    @classmethod
    def index(cls):
        return Matrix

    def search(self, candidates, queries, skip, *, k, step):
        projection = np.random.default_rng(1).normal(size=(candidates.shape[1], 6))
        scores = (queries @ projection) @ (candidates @ projection).T
        for row, (start, stop) in enumerate(skip):
            scores[row, start:stop] = -np.inf
        columns = np.argsort(-scores, axis=1, kind="stable")[:, : 2 * k]
        rows = np.repeat(np.arange(len(queries)), columns.shape[1])
        columns = columns.ravel()
        kept = np.isfinite(scores[rows, columns])
        rows, columns = rows[kept], columns[kept]
        step(len(queries))
        return first_k(rows, columns, dots(queries, candidates, rows, columns), count=len(queries), k=k)


class Matrix(Index):
    suffix = ".npy"

    def __init__(self, units):
        self.units = units

    @classmethod
    def build(cls, units, config):
        return cls(units)

    @classmethod
    def open(cls, path, dimension):
        return cls(np.load(path))

    @classmethod
    def library(cls):
        return f"numpy {np.__version__}"

    def save(self, path):
        with path.open("wb") as file:
            np.save(file, self.units)

    def nearest(self, query, k, search_k):
        return np.argsort(-(self.units @ query), kind="stable")[:k]

    def vectors(self, rows):
        return self.units[rows].astype(np.float64)
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


def run(home: Home, *assignments: str) -> tuple[dict[str, Any], dict[str, bool | None], BaseException | None]:
    """The row of a run with these settings, whether each of its stages was cached, and its error."""
    config, _ = load_config(assignments=(*SMALL, *assignments), settings={"dataset": "demo"})
    events: list[Event] = []
    result = execute(home, RunRequest(run_id=new_run_id(), config=config), listener=events.append)
    with open_store(home) as store:
        row = dict(find_run(store, result.request.run_id))
    return row, {event.stage: event.cached for event in events if isinstance(event, StageFinished)}, result.error


def stored(home: Home, query: str, *values: Any) -> list[dict[str, Any]]:
    with open_store(home) as store:
        return [dict(row) for row in store.rows(query, list(values))]


def list_key(*assignments: str) -> dict[str, Any]:
    """What a stored neighbor list of a run with these settings is found by."""
    config, _ = load_config(assignments=(*SMALL, *assignments))
    nothing: Any = None
    return Needs(config, nothing, nothing, users=True, items=True).list_key("user", "set", "encoder")


def test_a_backend_of_ones_own_finds_the_neighbors_of_a_run(home: Home, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BACKEND)
    named = f"backend={path}:Projected"
    row, cached, error = run(home, named)
    assert error is None
    assert not cached["neighbors"]
    (known,) = stored(home, "SELECT * FROM neighbor_lists WHERE list_id = ?", row["user_list_id"])
    assert 0 < known["recall"] < 1, "it is measured, as the class does not say that it is exact"
    assert list_key(named) == list_key(named, "alpha=0.2")
    assert list_key(named, "trees=3") == list_key(named), "it does not read this setting"
    assert list_key(named, "search_k=5") != (before := list_key(named))
    path.write_text(BACKEND.replace("size=(candidates.shape[1], 6)", "size=(candidates.shape[1], 7)"))
    assert list_key(named) != before, "its code is part of the key"
    points = {"sracl.retrieval:projected": "Projected"}
    install(tmp_path / "site", monkeypatch, module="sracl_projected", code=BACKEND, points=points)
    row, _, error = run(home, "backend=projected")
    assert error is None
    assert row["user_list_id"] is not None


def test_a_backend_of_ones_own_keeps_the_index_of_a_search(home: Home, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BACKEND)
    monkeypatch.setattr(semantic_search, "SMALL", 10)
    run(home)
    with open_store(home) as store:
        target = semantic_search.choose(store)
        exact = semantic_search.search(store, "camping gear", target, n=5, backend="exact")
        first, second = (
            semantic_search.search(store, "camping gear", target, n=5, backend=f"{path}:Projected") for _ in range(2)
        )
    assert exact.index == {"method": "exact"}
    assert first.index["method"].startswith("Projected@")
    assert (first.index["built"], second.index["built"], first.index["recall"]) == (True, False, 1.0)
    assert Path(first.index["path"]).suffix == ".npy"
    assert first.hits == second.hits == exact.hits


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("np.zeros((len(queries), k + 1), np.int64), np.zeros((len(queries), k), np.float32)", "shape"),
        ("np.full((len(queries), k), 99), np.zeros((len(queries), k), np.float32)", "outside -1..5"),
        ("np.full((len(queries), k), 2), np.zeros((len(queries), k), np.float32)", "must not find"),
    ],
)
def test_lists_that_break_the_rules_are_refused(tmp_path: Path, returned: str, words: str) -> None:
    path = tmp_path / "wrong.py"
    head = "import numpy as np\nfrom engine.retrieval.backend import Backend\nclass Wrong(Backend):\n"
    path.write_text(f"{head}    def search(self, candidates, queries, skip, *, k, step):\n        return {returned}\n")
    backend = build_backend(RetrievalConfig(backend=f"{path}:Wrong"))
    vectors = np.eye(6, dtype=np.float32)
    skip = np.array([[row, row + 1] for row in range(6)])
    with pytest.raises(SemanticsError, match=words):
        backend.find(vectors, vectors, skip, k=2, step=lambda done: None)


def test_a_backend_says_by_what_it_searches(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BACKEND)
    with pytest.raises(ConfigError, match="searches by cosine here; use exact with dot"):
        build_config({"backend": f"{path}:Projected", "similarity": "dot"})
    path.write_text("1 / 0")
    with pytest.raises(ConfigError, match=r"retrieval.backend: .* cannot be imported: ZeroDivisionError"):
        build_config({"backend": f"{path}:Projected", "similarity": "dot"})
