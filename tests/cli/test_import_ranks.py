"""`sracl import-ranks`: a model trained elsewhere stands beside runs of ours, and survives a rebuilt database."""

from __future__ import annotations

import json

import numpy as np
import pytest

LISTED = 20


@pytest.fixture
def targets(query):
    """Raw user, raw target, rank of every test user in the backbone run of the shared home."""
    return query(
        'SELECT u.raw_id AS "user", i.raw_id AS item, k.rank AS rank FROM user_ranks k JOIN runs r USING (run_id) '
        "JOIN users u ON u.dataset_id = r.dataset_id AND u.user_id = k.user_id JOIN anchors a ON a.dataset_id = r.dataset_id "
        "AND a.user_id = k.user_id AND a.role = 'test' JOIN items i ON i.dataset_id = r.dataset_id AND i.item_id = a.item_id "
        "WHERE r.name = 'plain' AND k.split = 'test' ORDER BY k.user_id"
    )


def data_name(query) -> str:
    return query("SELECT dataset_name AS name FROM runs WHERE name = 'plain'")[0]["name"]


def write(path, heads, rows, delimiter=","):
    path.write_text("\n".join(delimiter.join(map(str, row)) for row in (heads, *rows)) + "\n")
    return str(path)


def test_equal_ranks_give_the_metrics_of_the_run_that_they_are_from(sracl, home, query, targets, tmp_path):
    rows = [(row["user"], row["item"], row["rank"]) for row in targets]
    file = write(tmp_path / "ranks.csv", ("user_id", "item_id", "rank"), rows)
    words = ("import-ranks", file, "--dataset", data_name(query), "--name", "elsewhere")
    made = json.loads(sracl(*words, "--json", home=home).stdout)
    plain = query("SELECT m.name, value FROM run_metrics m JOIN runs r USING (run_id) WHERE r.name = 'plain' AND split = 'test'")  # fmt: skip
    ranked = {row["name"]: row["value"] for row in plain if row["name"] in made["test"]}
    assert made["state"] == "finished"
    assert made["test"] == pytest.approx(ranked)
    assert {"hr@20", "ndcg@20", "mrr@20"} <= set(made["test"])

    found = json.loads(sracl("compare", "plain", "elsewhere-1", "--split", "test", "--json", home=home).stdout)
    assert [s["label"] for s in found["sets"]] == ["plain", "elsewhere"]
    assert found["settings"]["method.name"] == ["sracl", None]  # how it was trained is not known
    assert all(p.startswith(("data.", "evaluate.")) or own[1] is None for p, own in found["settings"].items())
    again = sracl(*words, home=home, code=2)
    assert "elsewhere-1 is there already" in again.stderr
    sracl(*words, "--seed", "2", home=home)
    sets = json.loads(sracl("compare", "plain", "elsewhere-1", "elsewhere-2", "--json", "--split", "test", home=home).stdout)["sets"]  # fmt: skip
    assert [s["n"] for s in sets] == [1, 2]

    before = query("SELECT run_id, name, kind, config_hash FROM runs ORDER BY run_id")
    sracl("db", "repair", home=home)
    assert query("SELECT run_id, name, kind, config_hash FROM runs ORDER BY run_id") == before


def test_scored_lists_as_recbole_names_their_columns(sracl, home, query, targets, tmp_path):
    items = [row["raw_id"] for row in query("SELECT DISTINCT i.raw_id FROM items i JOIN runs r USING (dataset_id) WHERE r.name = 'plain'")]  # fmt: skip
    rng = np.random.default_rng(0)
    rows, hits = [], 0
    for row in targets:
        others = [item for item in items if item != row["item"]]
        top = list(rng.permutation(others)[:LISTED])
        if rng.random() < 0.5:
            top[int(rng.integers(LISTED))] = row["item"]
            hits += 1
        rows += [(row["user"], item, 100 - place) for place, item in enumerate(top)]
    file = write(tmp_path / "top.tsv", ("user_id:token", "item_id:token", "score:float"), rows, "\t")
    done = sracl("import-ranks", file, "--dataset", data_name(query), "--name", "recbole", "--json", home=home)
    made = json.loads(done.stdout)
    assert made["test"]["hr@20"] == pytest.approx(hits / len(targets))
    assert f"{len(targets) - hits} of {len(targets)} targets stand in no list" in done.stderr

    short = write(tmp_path / "short.tsv", ("user_id:token", "item_id:token", "score:float"), [r for r in rows if r[2] > 90], "\t")  # fmt: skip
    refused = sracl("import-ranks", short, "--dataset", data_name(query), "--name", "short", home=home, code=2)
    assert "only 10 scored items, but metrics are measured up to 20" in refused.stderr


def test_settings_say_how_it_was_tested_and_not_how_it_was_trained(sracl, home, query, targets, tmp_path):
    file = write(tmp_path / "r.csv", ("user_id", "rank"), [(row["user"], row["rank"]) for row in targets])
    words = ("import-ranks", file, "--dataset", data_name(query), "--name", "masked")
    assert "lr says how a model is trained" in sracl(*words, "--set", "lr=0.1", home=home, code=2).stderr
    sracl(*words, "--set", "mask_seen=true", home=home)
    refused = sracl("compare", "plain", "masked-1", "--split", "test", home=home, code=2)
    assert "different protocols: evaluate.mask_seen is False or True" in refused.stderr
    assert "no dataset" in sracl(*words[:2], "--dataset", "none", "--name", "x", home=home, code=2).stderr
