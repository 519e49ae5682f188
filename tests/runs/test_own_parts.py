"""Parts of one's own in a whole run: what is stored, found again, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import RetrievalConfig
from engine.config_files import build_config, load_config
from engine.data.vector_rows import as_rows
from engine.errors import ConfigError, SemanticsError
from engine.events import Event, StageFinished
from engine.extension_points import ENCODERS, PROVIDERS
from engine.retrieval.backends import build_backend
from engine.semantics.encoders.registry import build_encoder, needs_corpus
from engine.semantics.encoders.remote import names_endpoint
from engine.semantics.encoders.text_vectors import text_sha256
from sracl_tui.runs.execute import execute
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.runs.stages.needs import Needs
from sracl_tui.services import semantic_search
from sracl_tui.services.run_plan import plan
from store.home import Home
from store.opening import open_store
from store.queries.caches import known_vectors
from store.queries.runs import find_run
from tests.support.installed import install

SMALL = ("max_users=25", "encoder=tfidf", "epochs=1", "threads=1", "k=4", "item_k=4")

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
    config, _ = load_config(assignments=(*SMALL, *assignments), settings={"dataset": "goods"})
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
        exact = semantic_search.search(store, "keeps coming back to Garden and Growing", target, n=5, backend="exact")
        first, second = (
            semantic_search.search(
                store, "keeps coming back to Garden and Growing", target, n=5, backend=f"{path}:Projected"
            )
            for _ in range(2)
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
    vectors = as_rows(np.eye(6, dtype=np.float32))
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


ENCODER = '''
import numpy as np
from engine.semantics.encoders.encoder import TextEncoder

class Letters(TextEncoder):
    """Counts of letters."""

    def encode(self, texts):
        return np.array([[text.lower().count(letter) for letter in "aeiourstln"] for text in texts], np.float32).reshape(-1, 10)
'''
PROVIDER = '''
from engine.data.histories import window_items
from engine.semantics.summaries.provider import RuleProvider

class Newest(RuleProvider):
    """The newest item's title alone."""

    def texts(self, kind, owner_ids):
        titles = self.dataset.items.titles
        if kind == "item":
            return [titles[item - 1] for item in owner_ids.tolist()]
        windows = window_items(self.dataset, owner_ids, self.max_length)
        return [titles[windows.newest_first(row)[0] - 1] for row in range(len(windows))]
'''


def test_an_encoder_and_a_provider_of_ones_own_give_a_run_its_vectors_and_texts(
    home: Home, tmp_path: Path, monkeypatch
) -> None:
    encoder, provider = tmp_path / "encoder.py", tmp_path / "provider.py"
    encoder.write_text(ENCODER)
    provider.write_text(PROVIDER)
    named = (f"encoder={encoder}:Letters", f"provider={provider}:Newest")
    row, cached, error = run(home, *named)
    assert error is None
    assert (cached["summaries"], cached["vectors"]) == (False, False)
    label = ENCODERS.label_of(f"{encoder}:Letters")
    assert label.startswith("Letters@")
    (summary_set,) = stored(home, "SELECT * FROM summary_sets WHERE set_id = ?", row["item_set_id"])
    assert (summary_set["provider"], summary_set["model"]) == (PROVIDERS.label_of(f"{provider}:Newest"), None)
    texts = stored(
        home, "SELECT text FROM summary_links JOIN summaries USING (key) WHERE set_id = ?", row["item_set_id"]
    )
    titles = {item["title"] for item in stored(home, "SELECT title FROM items")}
    assert {text["text"] for text in texts} <= titles
    some = next(text["text"] for text in texts if "e" in text["text"])
    with open_store(home) as store:
        _, vectors = known_vectors(store, label, [text_sha256(some)])
        target = semantic_search.choose(store)
        assert semantic_search.search(store, some, target, n=1).encoder == label
        plans = plan(home, RunRequest.read(home.run_folder(row["run_id"])).config)
    assert vectors[0].tolist() == [some.lower().count(letter) for letter in "aeiourstln"]
    assert [stage["cached"] for stage in plans["stages"]] == [True, True, True, True, False]
    folder = home.run_folder(row["run_id"])
    assert (folder / "own_encoder.py").read_text() == ENCODER
    assert (folder / "own_provider.py").read_text() == PROVIDER
    encoder.write_text(ENCODER.replace("aeiou", "bcdfg"))
    again, cached, _ = run(home, *named)
    assert (cached["summaries"], cached["vectors"]) == (True, False), "other code, other vectors"
    assert again["config_hash"] != row["config_hash"]
    points = {"sracl.encoders:letters": "Letters", "sracl.providers:newest": "Newest"}
    install(tmp_path / "site", monkeypatch, module="sracl_words", code=ENCODER + PROVIDER, points=points)
    third, _, error = run(home, "encoder=letters", "provider=newest")
    assert error is None
    assert third["user_list_id"] not in (None, row["user_list_id"])
    (summary_set,) = stored(home, "SELECT * FROM summary_sets WHERE set_id = ?", third["user_set_id"])
    assert summary_set["provider"] == "newest"


def test_an_encoder_that_is_fitted_to_the_texts_has_a_name_for_each_corpus(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        ENCODER.replace("class Letters(TextEncoder):", "class Letters(TextEncoder):\n    needs_corpus = True\n")
    )
    name = f"{path}:Letters"
    names = [build_encoder(name, corpus).name for corpus in (["a", "b"], ["b", "a", "a"], ["a"])]
    assert names[0] == names[1] != names[2]
    assert [needs_corpus(each) for each in (name, "tfidf", "minilm", "openai:x")] == [True, True, False, False]
    assert [names_endpoint(each) for each in (name, "openai:x")] == [False, True]


def test_a_broken_encoder_ends_a_run_before_a_summary_is_written(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_this_name\n")
    _, cached, error = run(home, f"encoder={path}:Broken", "provider=titles", "max_length=7")
    assert isinstance(error, ConfigError)
    assert "ModuleNotFoundError" in error.message
    assert set(cached) == {"import"}
