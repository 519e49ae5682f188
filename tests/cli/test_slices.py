"""`sracl slices` on real runs: each slice is measured again by hand, and what cannot be is refused."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from store.home import Home
from store.opening import open_store
from store.publishing.publish import write_sql


def sliced(sracl, home, *words):
    return json.loads(sracl("slices", *words, "--json", home=home).stdout)


@pytest.fixture(scope="module")
def by_hand(home):
    """What a user is like, by user id, from plain rows of the tables."""
    with open_store(Home(home)) as store:
        run = store.rows("SELECT run_id, dataset_id, user_list_id FROM runs WHERE name = 'full'")[0]
        data = [run["dataset_id"]]
        history = defaultdict(list)
        for row in store.rows("SELECT * FROM interactions WHERE dataset_id = ? ORDER BY user_id, position", data):
            history[row["user_id"]].append((row["item_id"], row["ts"]))
        anchors = store.rows("SELECT * FROM anchors WHERE dataset_id = ?", data)
        pairs = store.rows("SELECT * FROM neighbors WHERE list_id = ?", [run["user_list_id"]])
        gains = {
            name: {
                row["user_id"]: 1 / math.log2(row["rank"] + 1) if row["rank"] <= 20 else 0.0
                for row in store.rows(
                    "SELECT k.user_id, k.rank FROM user_ranks k JOIN runs r USING (run_id) WHERE r.name = ? AND k.split = 'test'",
                    [name],
                )
            }
            for name in ("full", "plain")
        }
    follows = {row["anchor_id"]: row["item_id"] for row in anchors}
    lists = Counter(row["neighbor_id"] for row in pairs)
    own = defaultdict(list)
    for row in pairs:
        own[row["anchor_id"]].append((row["neighbor_id"], row["similarity"]))
    represents = {row["user_id"]: row["anchor_id"] for row in anchors if row["represents"]}
    popular = Counter(item for items in history.values() for item, _ in items[:-2])
    ranked = sorted(popular, key=lambda item: (-popular[item], item))
    users = {}
    for user, items in history.items():
        target = items[-1][0]
        near = own[represents[user]]
        place = ranked.index(target) / len(ranked) if target in popular else 1.0
        users[user] = {
            "length": len(items) - 1,
            "popularity": "head" if place < 0.2 else "middle" if place < 0.5 else "tail",
            "tied": "yes" if items[-1][1] == items[-2][1] else "no",
            "similarity": np.mean([similarity for _, similarity in near]),
            "next": "yes" if any(follows[neighbor] == target for neighbor, _ in near) else "no",
            "occurrence": np.mean([lists[neighbor] for neighbor, _ in near]),
        }
    return users, gains


def members(users, key):
    """Users of each slice, in order."""
    names = {"popularity": ("head", "middle", "tail"), "tied": ("yes", "no"), "next": ("yes", "no")}
    if key in names:
        return [[user for user, one in users.items() if one[key] == name] for name in names[key]]
    values = np.array([one[key] for one in users.values()])
    bounds = [-np.inf, *np.quantile(values, (0.25, 0.5, 0.75)), np.inf]
    parts = itertools.pairwise(bounds)
    return [[user for user, one in users.items() if low < one[key] <= high] for low, high in parts]


def test_every_slice_is_what_its_users_give(sracl, home, by_hand):
    users, gains = by_hand
    found = sliced(sracl, home, "full", "plain")
    assert (found["b"], found["a"], found["metric"], found["split"]) == ("full", "plain", "ndcg@20", "test")
    assert found["users"] == found["everyone"]["users"] == len(users) == 80
    assert [by["key"] for by in found["by"]] == ["length", "popularity", "tied", "similarity", "next", "occurrence"]
    for by in found["by"]:
        expected = [some for some in members(users, by["key"]) if some]
        assert [one["users"] for one in by["slices"]] == [len(some) for some in expected], by["key"]
        for one, some in zip(by["slices"], expected, strict=True):
            a, b = ([gains[name][user] for user in some] for name in ("plain", "full"))
            assert one["a"] == pytest.approx(np.mean(a))
            assert one["b"] == pytest.approx(np.mean(b))
            assert one["difference"] == pytest.approx(np.mean(b) - np.mean(a))
            assert one["small"] == (len(some) < 30)
            if np.ptp(np.subtract(b, a)):
                test = stats.ttest_rel(b, a)
                assert one["p_value"] == pytest.approx(test.pvalue)
                assert (one["ci_low"], one["ci_high"]) == pytest.approx(tuple(test.confidence_interval()))
    slices = [one for by in found["by"] for one in by["slices"]]
    assert all(one["p_value"] <= one["p_holm"] for one in slices)
    assert min(one["p_holm"] for one in slices) == pytest.approx(
        min(1, len(slices) * min(o["p_value"] for o in slices))
    )
    assert any(f"over all {len(slices)}" in note for note in found["notes"])


def test_all_users_are_those_of_compare(sracl, home):
    found = sliced(sracl, home, "full", "plain", "--metric", "HR@10", "--split", "valid")
    sets = json.loads(sracl("compare", "full", "plain", "--json", home=home).stdout)["sets"]
    means = {one["label"]: one["mean"]["hr@10"] for one in sets}
    assert (found["everyone"]["b"], found["everyone"]["a"]) == (means["full"], means["plain"])
    assert found["everyone"]["p_holm"] is None


def test_formats_have_a_row_for_each_slice(sracl, home):
    slices = [one for by in sliced(sracl, home, "full", "plain")["by"] for one in by["slices"]]
    rows = list(csv.DictReader(io.StringIO(sracl("slices", "full", "plain", "--format", "csv", home=home).stdout)))
    assert [row["slice"] for row in rows] == ["all users", *(one["label"] for one in slices)]
    text = sracl("slices", "full", "plain", home=home).stdout
    assert "NDCG@20 on test of full (run) minus plain (baseline)" in text
    assert sum("●" in line or "<──" in line or "──>" in line for line in text.splitlines()) >= len(slices) * 0.9
    assert sracl("slices", "full", "plain", "--format", "latex", home=home).stdout.startswith("\\begin{tabular}")


@pytest.mark.parametrize(
    ("change", "run", "sentences"),
    [
        ("UPDATE runs SET user_list_id = NULL", "full", ["full has no stored neighbors of users."] * 3),
        ("UPDATE runs SET user_list_id = NULL", "plain", ["plain has no inter-user contrast (alpha = 0): it has no neighbors of users."] * 3),
        ("UPDATE runs SET user_list_id = NULL, kind = 'ranks'", "full", ["full was trained elsewhere: its neighbors are not known."] * 3),
        ("UPDATE interactions SET ts = NULL", "full", ["The data set has no times."]),
        ("UPDATE users SET tied = false", "full", ["All users are in one slice: no."]),
    ],
)  # fmt: skip
def test_where_there_are_no_slices_a_sentence_says_why(sracl, home, tmp_path, change, run, sentences):
    changed = Path(shutil.copytree(home, tmp_path / "home"))
    write_sql(Home(changed), change)
    found = sliced(sracl, changed, run, "plain" if run == "full" else "full")
    assert [by["why"] for by in found["by"] if not by["slices"]] == sentences
    assert [by["why"] for by in found["by"] if by["slices"]] == [""] * (6 - len(sentences))
    assert found["everyone"]["users"] == 80


def test_neighbors_of_the_baseline_serve_where_the_run_has_none(sracl, home):
    found = sliced(sracl, home, "plain", "full")
    assert all(by["slices"] for by in found["by"])
    assert "neighbors are those that full found for the longest training prefix of each user" in found["notes"]


def test_users_without_neighbors_are_a_slice_of_their_own(sracl, home, tmp_path):
    changed = Path(shutil.copytree(home, tmp_path / "home"))
    write_sql(
        Home(changed),
        "DELETE FROM neighbors WHERE anchor_id IN (SELECT anchor_id FROM anchors WHERE represents LIMIT 3)",
    )
    by = {one["key"]: one["slices"] for one in sliced(sracl, changed, "full", "plain")["by"]}
    for key in ("similarity", "next", "occurrence"):
        assert (by[key][-1]["label"], by[key][-1]["users"]) == ("no neighbors", 3)
        assert sum(one["users"] for one in by[key]) == 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("full", "nobody"), "there is no run 'nobody'"),
        (("full", "full"), "is on both sides"),
        (("full", "plain", "--metric", "coverage@20"), "users have no values of Coverage@20"),
        (("full", "plain", "--metric", "ndcg@7"), "NDCG@7"),
        (("full,plain", "plain"), "has 2 configurations"),
        (("full", "plain", "--split", "train"), "--split"),
        (("full",), "BASELINE"),
    ],
)
def test_wrong_input_is_refused(sracl, home, words, said):
    assert said in sracl("slices", *words, home=home, code=2).stderr


def test_seeds_of_one_configuration_are_one_side(sracl, home, tmp_path):
    changed = Path(shutil.copytree(home, tmp_path / "home"))
    write_sql(
        Home(changed),
        "INSERT INTO runs BY NAME SELECT * REPLACE ('twin' AS run_id, 'twin' AS name, 9 AS seed) FROM runs WHERE name = 'plain';"
        "INSERT INTO user_ranks BY NAME SELECT k.* REPLACE ('twin' AS run_id, k.rank + 1 AS rank) FROM user_ranks k "
        "JOIN runs r USING (run_id) WHERE r.name = 'plain'",
    )
    found = sliced(sracl, changed, "full", "plain,twin")
    assert len(found["a_runs"]) == 2
    assert any("borrows the seed variance" in note for note in found["notes"])
    single = [sliced(sracl, changed, "full", name)["everyone"]["a"] for name in ("plain", "twin")]
    assert found["everyone"]["a"] == pytest.approx(np.mean(single))
    assert sliced(sracl, changed, "twin", "plain")["b"] == "twin"  # two seeds are called by their names
