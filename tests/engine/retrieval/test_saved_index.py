"""The saved index: it finds what exact search finds, says so, and is made anew when it cannot be trusted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from engine.retrieval import saved_index as saved
from engine.retrieval.annoy_index import AnnoyTrees
from engine.retrieval.saved_index import build_index, exact_nearest, fingerprint_of, open_index


def taste(count: int, size: int = 24) -> np.ndarray:
    """Vectors in clusters around a common direction, as those of summaries are."""
    rng = np.random.default_rng(7)
    centers = rng.normal(size=(30, size)) + 0.8
    return (centers[rng.integers(0, 30, count)] + 0.6 * rng.normal(size=(count, size))).astype(np.float32)


def found(index: saved.SavedIndex) -> float:
    """Its measured recall."""
    assert index.facts.recall is not None
    return index.facts.recall


def test_exact_search_is_its_definition():
    vectors = taste(50)
    query = vectors[3] * 5 + 0.1
    cosines = [float(v @ query / np.linalg.norm(v) / np.linalg.norm(query)) for v in vectors]
    rows, found = exact_nearest(vectors, query, 7)
    assert rows.tolist() == sorted(range(50), key=lambda row: -cosines[row])[:7]
    assert found == pytest.approx(sorted(cosines, reverse=True)[:7], abs=1e-6)


def test_equal_vectors_stand_in_order_of_their_rows():
    vectors = np.ones((6, 4), np.float32)
    assert exact_nearest(vectors, vectors[0], 3)[0].tolist() == [0, 1, 2]


def test_an_index_finds_what_exact_search_finds(tmp_path):
    vectors = taste(3000)
    index = build_index(tmp_path / "some" / "x.ann", vectors, "print", AnnoyTrees)
    assert found(index) >= 0.99
    assert (index.facts.count, index.facts.dimension, index.facts.settings) == (3000, 24, {"trees": 50})
    assert index.facts.search_k == 20_000
    hits = 0
    for query in np.random.default_rng(1).normal(size=(50, 24)).astype(np.float32) + 0.5:
        rows, cosines = index.nearest(query, 10)
        true_rows, true_cosines = exact_nearest(vectors, query, 10)
        hits += len(set(rows.tolist()) & set(true_rows.tolist()))
        assert cosines[0] == pytest.approx(true_cosines[0], abs=1e-6)
    assert hits >= 0.99 * 500


def test_more_than_there_are_is_all_of_them(tmp_path):
    vectors = taste(15)
    rows, _ = build_index(tmp_path / "x.ann", vectors, "print", AnnoyTrees).nearest(vectors[0], 100)
    assert sorted(rows.tolist()) == list(range(15))


def test_the_same_vectors_make_the_same_file(tmp_path):
    vectors = taste(500)
    first, second = (
        build_index(tmp_path / name, vectors, "print", AnnoyTrees, trees=8).facts for name in ("a.ann", "b.ann")
    )
    assert (first.sha256, first.recall) == (second.sha256, second.recall)
    assert (tmp_path / "a.ann").read_bytes() == (tmp_path / "b.ann").read_bytes()


def test_a_saved_index_is_opened_again(tmp_path):
    vectors = taste(500)
    built = build_index(tmp_path / "x.ann", vectors, "print", AnnoyTrees, trees=8)
    opened = open_index(tmp_path / "x.ann", "print", AnnoyTrees)
    assert opened is not None
    assert opened.facts == built.facts
    assert opened.nearest(vectors[7], 5)[0].tolist() == built.nearest(vectors[7], 5)[0].tolist()
    assert {path.name for path in tmp_path.iterdir()} == {"x.ann", "x.json"}


def test_a_poor_index_says_so_and_a_larger_search_mends_it(tmp_path):
    vectors = taste(3000)
    poor = build_index(tmp_path / "x.ann", vectors, "print", AnnoyTrees, trees=2, search_k=20, doublings=0)
    assert found(poor) < 0.5
    better = build_index(tmp_path / "x.ann", vectors, "print", AnnoyTrees, trees=2, search_k=20, doublings=3)
    assert better.facts.search_k == 160
    assert found(better) > found(poor)


def test_the_measured_recall_is_that_of_the_sample(tmp_path):
    vectors = taste(800)
    index = build_index(tmp_path / "x.ann", vectors, "print", AnnoyTrees, trees=3, search_k=60, doublings=0)
    rows = np.random.default_rng(saved.SEED).choice(800, saved.SAMPLE, replace=False)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    trees: Any = index._index
    trees, hits = trees._index, 0
    for row in rows:
        others = [other for other in np.argsort(-(units @ units[row]), kind="stable") if other != row][:10]
        found = [other for other in trees.get_nns_by_item(int(row), 11, 60) if other != row][:10]
        hits += len(set(others) & set(found))
    assert index.facts.recall == pytest.approx(hits / (10 * len(rows)), abs=0.002)


@pytest.mark.parametrize(
    "damage",
    ["missing", "no facts", "truncated", "changed", "facts damaged", "facts of another shape", "another library"],
)
def test_what_cannot_be_trusted_is_not_opened(damage, tmp_path):
    path, facts = tmp_path / "x.ann", tmp_path / "x.json"
    build_index(path, taste(200), "print", AnnoyTrees, trees=4)
    if damage == "missing":
        path.unlink()
    elif damage == "no facts":
        facts.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "changed":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(bytes(data))
    elif damage == "facts damaged":
        facts.write_text(facts.read_text()[:50])
    elif damage == "facts of another shape":
        facts.write_text(json.dumps({"fingerprint": "print"}))
    else:
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"library": "annoy 0.1"}))
    assert open_index(path, "print", AnnoyTrees) is None


def test_an_index_of_something_else_is_not_opened(tmp_path):
    build_index(tmp_path / "x.ann", taste(100), fingerprint_of("minilm", ["a", "b"]), AnnoyTrees, trees=2)
    assert open_index(tmp_path / "x.ann", fingerprint_of("minilm", ["a", "b"]), AnnoyTrees) is not None
    for other in (fingerprint_of("minilm", ["b", "a"]), fingerprint_of("other", ["a", "b"])):
        assert open_index(tmp_path / "x.ann", other, AnnoyTrees) is None


def test_a_build_that_fails_leaves_the_old_index(tmp_path, monkeypatch):
    built = build_index(tmp_path / "x.ann", taste(100), "old", AnnoyTrees, trees=2)

    def fail(path):
        raise OSError("no space left")

    monkeypatch.setattr(saved, "_sha256", fail)
    with pytest.raises(OSError, match="no space"):
        build_index(tmp_path / "x.ann", taste(120), "new", AnnoyTrees, trees=2)
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"x.ann", "x.json"}
    opened = open_index(tmp_path / "x.ann", "old", AnnoyTrees)
    assert opened is not None
    assert opened.facts == built.facts
