"""`sracl search` on real homes: what it finds, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.config_files import load_config
from engine.errors import ConfigError
from engine.events import Event, StageFinished
from engine.retrieval import saved_index as saved
from engine.semantics.encoders.text_vectors import text_sha256
from sracl_tui.runs.execute import execute
from sracl_tui.runs.jobs import encode
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.services import semantic_search
from store.errors import LookupFailed
from store.home import Home
from store.opening import open_store
from store.queries import caches
from store.queries.runs import find_run, list_runs


def ask(sracl, home: Path, *arguments: str) -> dict:
    return json.loads(sracl("search", *arguments, "--json", home=home).stdout)


@pytest.fixture(scope="module")
def copy(home, tmp_path_factory) -> Path:
    """The shared home, to write into."""
    return Path(shutil.copytree(home, tmp_path_factory.mktemp("search") / "home"))


@pytest.fixture
def big(copy, monkeypatch) -> Home:
    """The same home, where every set is large enough for an index."""
    monkeypatch.setattr(semantic_search, "SMALL", 2)
    return Home(copy)


def summaries(home: Path, kind: str) -> dict[int, str]:
    with open_store(Home(home)) as store:
        rows = store.rows(
            "SELECT owner_id, text FROM summary_links JOIN summaries USING (key) JOIN summary_sets USING (set_id) "
            "WHERE kind = ?",
            [kind],
        )
    return {row["owner_id"]: row["text"] for row in rows}


def test_a_users_own_summary_finds_the_user(sracl, copy, query):
    (own,) = query(
        "SELECT a.anchor_id, u.user_id, u.raw_id, t.text FROM runs r JOIN anchors a USING (dataset_id) JOIN users u "
        "USING (dataset_id, user_id) JOIN summary_links l ON l.set_id = r.user_set_id AND l.owner_id = a.anchor_id "
        "JOIN summaries t USING (key) WHERE r.name = 'full' AND a.represents AND a.user_id = 7"
    )
    found = ask(sracl, copy, own["text"], "-n", "5")
    first = found["hits"][0]
    assert (first["user"], first["user_id"], first["summary"]) == (own["raw_id"], 7, own["text"])
    assert first["similarity"] == pytest.approx(1.0, abs=1e-5)
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3, 4, 5]
    assert all(a["similarity"] >= b["similarity"] for a, b in zip(found["hits"], found["hits"][1:], strict=False))
    assert len({hit["user_id"] for hit in found["hits"]}) == 5
    assert 1 <= len(first["titles"]) <= 3
    assert (found["kind"], found["dataset"], found["index"]) == ("user", "demo[:80]", {"method": "exact"})
    assert found["encoder"].startswith("tfidf-")


def test_prefixes_are_found_on_request(sracl, copy):
    text = summaries(copy, "user")[3]
    found = ask(sracl, copy, text, "--prefixes", "-n", "1000")
    assert len(found["hits"]) > 80
    assert found["hits"][0]["summary"] == text
    assert len({hit["user_id"] for hit in found["hits"]}) < len(found["hits"])


def test_items_are_found_and_printed(sracl, copy):
    item, text = next(iter(summaries(copy, "item").items()))
    found = ask(sracl, copy, text, "--items", "-n", "3")
    assert found["kind"] == "item"
    assert text in [hit["summary"] for hit in found["hits"]]
    assert item in [hit["item_id"] for hit in ask(sracl, copy, text, "--items", "-n", "50")["hits"]]
    done = sracl("search", text, "--items", "-n", "3", home=copy).stdout
    assert found["hits"][0]["title"] in done
    assert "every text compared" in done


def test_exact_order_is_that_of_the_stored_vectors(copy):
    with open_store(Home(copy)) as store:
        target = semantic_search.choose(store, run="full")
        first = semantic_search.search(store, "camping", target, n=80)
        text = first.hits[17]["summary"]
        found = semantic_search.search(store, text, target, n=80)
        texts = list({hit["summary"] for hit in found.hits})
        shas, vectors = caches.known_vectors(store, found.encoder, [text_sha256(t) for t in texts])
    row = {sha: vector / np.linalg.norm(vector) for sha, vector in zip(shas, vectors, strict=True)}
    own = row[text_sha256(text)]
    for hit in found.hits:
        assert hit["similarity"] == pytest.approx(float(own @ row[text_sha256(hit["summary"])]), abs=1e-5)
    assert len(found.hits) == 80


def test_the_index_is_built_once_finds_the_same_and_is_mended(big):
    with open_store(big) as store:
        target = semantic_search.choose(store)
        text = next(iter(summaries(big.path, "user").values()))
        first = semantic_search.search(store, text, target, n=10)
        assert (first.index["method"], first.index["built"]) == ("annoy", True)
        assert first.index["recall"] >= 0.99
        again = semantic_search.search(store, text, target, n=10)
        assert not again.index["built"]
        assert again.hits == first.hits
        path = Path(first.index["path"])
        path.write_bytes(path.read_bytes()[:-50])
        mended = semantic_search.search(store, text, target, n=10)
        assert mended.index["built"]
        assert mended.hits == first.hits
        assert sorted(p.suffix for p in path.parent.iterdir()) == [".ann", ".json"]


def test_a_low_recall_is_warned_of(big, monkeypatch):
    with open_store(big) as store:
        target = semantic_search.choose(store, items=True)
        assert semantic_search.search(store, "garden tools", target).warnings == []
        monkeypatch.setattr(saved, "TARGET", 1.01)
        (warning,) = semantic_search.search(store, "garden tools", target).warnings
    assert "%" in warning


def test_missing_vectors_are_encoded_once_by_a_run_that_is_not_the_last(tmp_path):
    home = Home(tmp_path)
    settings = ("max_users=60", "encoder=tfidf", "vector=item-mean", "epochs=1", "threads=1")
    config, _ = load_config(assignments=settings, settings={"dataset": "goods"})
    trained = execute(home, RunRequest(run_id=new_run_id(), config=config)).request.run_id
    events: list[Event] = []
    with open_store(home) as store:
        target = semantic_search.choose(store)
        first = semantic_search.search(store, "garden tools for mud", target, listener=events.append)
        assert [event.stage for event in events if isinstance(event, StageFinished)] == ["vectors"]
        again = semantic_search.search(store, "garden tools for mud", target, listener=events.append)
        assert [event.stage for event in events if isinstance(event, StageFinished)] == ["vectors"]
        assert again.hits == first.hits
        assert first.run_id == trained
        kinds = sorted((row["kind"], row["state"]) for row in list_runs(store))
        assert kinds == [("search", "finished"), ("train", "finished")]
        assert find_run(store, "last")["run_id"] == trained


def test_an_encoding_that_is_stopped_goes_on_and_encodes_nothing_twice(copy, monkeypatch):
    from engine.semantics.encoders import text_vectors

    monkeypatch.setattr(text_vectors, "CHUNK", 16)
    home = Home(copy)
    encoded: list[int] = []

    class Letters:
        name = "letters"
        dimension = 26

        def encode(self, texts: list[str]) -> np.ndarray:
            if len(texts) > 1 and len(encoded) == 2:
                encoded.append(0)
                raise KeyboardInterrupt
            encoded.append(len(texts))
            return np.array(
                [[text.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32
            )

    for module in (semantic_search, encode):
        monkeypatch.setattr(module, "set_encoder", lambda *_, **__: Letters())
    with open_store(home) as store:
        target = semantic_search.choose(store)
        with pytest.raises(semantic_search.SearchStopped):
            semantic_search.search(store, "abc", target)
        kept = len(store.rows("SELECT 1 FROM vectors.vectors WHERE encoder = 'letters'"))
        assert kept == 16
        (stopped,) = (row["run_id"] for row in list_runs(store) if row["kind"] == "search")
        assert execute(home, RunRequest.read(home.run_folder(stopped)), resume=True).state == "finished"
        found = semantic_search.search(store, "abc", target)
        assert len([row for row in list_runs(store) if row["kind"] == "search"]) == 1
        assert sum(encoded) == found.texts + 2  # each text once, and the query twice
        assert len(found.hits) == 10


@pytest.mark.parametrize(
    ("chosen", "error", "words"),
    [
        ({"run": "plain"}, LookupFailed, "no summaries of users"),
        ({"run": "nothing"}, LookupFailed, "no run"),
        ({"set_id": "ffff"}, LookupFailed, "summary_sets"),
        ({"set_id": ""}, LookupFailed, "2 summary sets"),
        ({"dataset": "nowhere"}, LookupFailed, "no dataset"),
        ({"dataset": "demo[:80]", "run": "full"}, ConfigError, "name one"),
        ({"items": True, "prefixes": True}, ConfigError, "--prefixes"),
    ],
)
def test_what_cannot_be_searched_is_refused(chosen, error, words, home):
    with open_store(Home(home)) as store, pytest.raises(error, match=words):
        semantic_search.choose(store, **chosen)


@pytest.mark.parametrize("chosen", [{}, {"run": "full"}, {"dataset": "demo[:80]"}, {"items": True}])
def test_a_set_is_chosen_by_run_dataset_or_its_own_id(chosen, home):
    with open_store(Home(home)) as store:
        target = semantic_search.choose(store, **chosen)
        run = find_run(store, "full")
        assert target.found["set_id"] == run["item_set_id" if chosen.get("items") else "user_set_id"]
        assert target.encoder == "tfidf"
        assert semantic_search.choose(store, set_id=target.found["set_id"][:9]) == target
        assert semantic_search.choose(store, encoder="minilm", **chosen).encoder == "minilm"


@pytest.mark.parametrize(("text", "words"), [(" ", "nothing to search"), ("xqzw vvkj", "no word")])
def test_a_text_that_says_nothing_is_refused(text, words, home):
    with open_store(Home(home)) as store, pytest.raises(ConfigError, match=words):
        semantic_search.search(store, text, semantic_search.choose(store))


def test_an_empty_home_is_told_what_makes_summaries(sracl, tmp_path):
    assert "sracl run" in sracl("search", "anything", home=tmp_path, code=2).stderr
