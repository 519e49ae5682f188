"""Exports and recommendations of real runs, held against what the runs themselves measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.support.commands import ROOT, environment, sracl_inside
from tests.support.shared_homes import written_once

EXAMPLE = ROOT / "examples" / "load_model.py"
FRESH = """
import json, sys
from engine.recommend import load_model
model = load_model(sys.argv[1])
for module in ("duckdb", "textual", "typer", "openai", "sentence_transformers", "sracl_tui", "store"):
    assert module not in sys.modules, module
print(json.dumps(model.recommend(json.load(sys.stdin), k=20)))
"""


def table(sracl, home, what, *, run="full", name="x.parquet"):
    sracl("export", run, "--what", what, "--out", home / name, home=home)
    return pq.read_table(home / name)


def query_of(sracl, home, text):
    return json.loads(sracl("sql", text, "--json", home=home).stdout)


def fresh(*arguments, home, stdin=""):
    done = subprocess.run(
        [sys.executable, "-P", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=stdin,
        cwd=home,
        env=environment(home),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The model


@pytest.fixture(scope="module")
def others(made, tmp_path_factory):
    """A copy of the home with a GRU4Rec and a BERT4Rec, each trained with both contrasts."""
    small = ("--set", "max_users=110", "--set", "encoder=tfidf", "--set", "epochs=1", "--set", "threads=1")

    def write(folder):
        shutil.copytree(made, folder, dirs_exist_ok=True)
        for name in ("gru4rec", "bert4rec"):
            named = ("--set", f"backbone={name}", "--set", "inner=32", "--name", name)
            sracl_inside(folder, "run", *small, *named, "--headless")

    return shutil.copytree(
        written_once(tmp_path_factory, "other-backbones", write), tmp_path_factory.mktemp("others") / "home"
    )


@pytest.mark.parametrize("run", ["full", "plain", "gru4rec", "bert4rec"])
def test_a_fresh_process_gives_the_top_20_of_the_runs_own_evaluation(sracl, others, run):
    home, folder = others, others / f"model-{run}"
    sracl("export", run, "--what", "model", "--out", folder, home=home)
    found = query_of(
        sracl,
        home,
        "SELECT u.user_id, u.rank, list(i.raw_id ORDER BY n.position) AS items, first(r.config) AS config FROM user_ranks u "
        "JOIN runs r USING (run_id) JOIN interactions n ON n.dataset_id = r.dataset_id AND n.user_id = u.user_id JOIN items i "
        f"ON i.dataset_id = r.dataset_id AND i.item_id = n.item_id WHERE r.name = '{run}' AND u.split = 'test' GROUP BY ALL "
        "ORDER BY u.user_id LIMIT 100",
    )
    assert len(found) == (80 if run in ("full", "plain") else 100)
    lists = json.loads(fresh("-c", FRESH, folder, home=home, stdin=json.dumps([row["items"][:-1] for row in found])))
    for row, top in zip(found, lists, strict=True):
        names = [item for item, _ in top]
        target = row["items"][-1]
        assert len(set(names)) == 20
        if row["rank"] <= 20:
            assert names[row["rank"] - 1] == target, row["user_id"]
        else:
            assert target not in names, row["user_id"]
    whole = own_top(home, run, [row["user_id"] for row in found])
    assert [[item for item, _ in top] for top in lists] == whole


def own_top(home, run, users):
    """The 20 items that the run's evaluation scores highest, from its trainer and its checkpoint."""
    import torch

    from engine.data.dataset import TEST
    from engine.evaluation.ranking import encode
    from engine.events import ignore
    from engine.training import checkpoint
    from engine.training.trainer import BEST, Trainer
    from sracl_tui.runs.dataset_access import open_dataset
    from sracl_tui.runs.request import RunRequest
    from store.home import Home
    from store.opening import open_store
    from store.queries.runs import find_run

    with open_store(Home(home)) as store:
        row = find_run(store, run)
        dataset = open_dataset(store, row["dataset_id"])
        folder = store.home.run_folder(row["run_id"])
    config = RunRequest.read(folder).config
    loss = config.loss.model_copy(update={"alpha": 0.0, "beta": 0.0})
    trainer = Trainer(config.model_copy(update={"loss": loss}), dataset, None, folder=folder, report=ignore)
    trainer.model.backbone.load_state_dict(checkpoint.read_weights(folder / BEST, "backbone."))
    ids = dataset.anchors.ids(TEST)
    ids = ids[np.isin(dataset.anchors.user_ids[ids - 1], users)]
    scores = trainer.model.backbone.scores(encode(trainer.model.backbone, trainer.windows, ids))
    return [[dataset.items.raw_ids[n] for n in row] for row in torch.topk(scores, 20).indices.tolist()]


def test_the_example_of_loading_runs(sracl, home):
    sracl("export", "full", "--what", "model", "--out", home / "example", home=home)
    out = fresh(EXAMPLE, home / "example", home=home)
    assert out.startswith("sasrec of ")
    assert len(out.splitlines()) == 11
    code = [
        line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.startswith(('"""', "`", "no d"))
    ]
    assert len(code) <= 20


def test_a_model_of_a_users_own_backbone_comes_with_its_code(sracl, tmp_path):
    (tmp_path / "mine.py").write_text((ROOT / "examples" / "own_backbone.py").read_text())
    small = ("--set", "max_users=60", "--set", "encoder=tfidf", "--set", "epochs=1", "--set", "threads=1")
    sracl("run", *small, "--set", "backbone=mine.py:Decay", "--headless", home=tmp_path)
    (tmp_path / "mine.py").unlink()
    sracl("export", "last", "--what", "model", "--out", tmp_path / "m", home=tmp_path)
    code = "import sys; from engine.recommend import load_model; m = load_model(sys.argv[1], own_code=True); print(len(m.recommend([m.item_ids[:2]])[0]))"
    assert fresh("-c", code, tmp_path / "m", home=tmp_path).strip() == "20"


# Tables


@pytest.mark.parametrize("ending", ["csv", "parquet", "json", "tex", "md"])
def test_results(sracl, home, query, ending):
    out = home / f"results.{ending}"
    done = sracl("export", "full", "plain", "--out", out, "--json", home=home)
    assert json.loads(done.stdout) == {"path": str(out), "what": "results", "rows": 2}
    value = query("SELECT test_ndcg_20 FROM run_results WHERE name = 'full'")[0]["test_ndcg_20"]
    if ending in ("csv", "parquet"):
        rows = (pyarrow.csv.read_csv(out) if ending == "csv" else pq.read_table(out)).to_pylist()
        assert {row["name"]: row["test_ndcg_20"] for row in rows}["full"] == pytest.approx(value, rel=1e-9)
    else:
        assert f"{value:.4f}"[1:5] in out.read_text()
    if ending == "tex":
        assert out.read_text().startswith("\\begin{tabular}")
        assert "NDCG@20" in out.read_text()


def test_neighbors_and_weights(sracl, home, query):
    lists = table(sracl, home, "neighbors").to_pylist()
    assert {row["kind"] for row in lists} == {"user", "item"}
    counts = query(
        "SELECT count(*) AS n FROM neighbors n JOIN runs r ON n.list_id IN (r.user_list_id, r.item_list_id) WHERE r.name = 'full'"
    )
    assert len(lists) == counts[0]["n"]
    known = {(row["id"], row["neighbor_id"]): row for row in lists if row["kind"] == "user"}
    weights = table(sracl, home, "weights").to_pylist()
    sums: dict[int, float] = {}
    for row in weights:
        sums[row["anchor_id"]] = sums.get(row["anchor_id"], 0.0) + row["weight"]
        twin = known[row["anchor_id"], row["neighbor_id"]]
        assert (twin["rank"], twin["raw_id"], twin["similarity"]) == (row["rank"], row["raw_id"], row["similarity"])
    assert all(total == pytest.approx(1, abs=1e-4) for total in sums.values())
    stored = query(
        "SELECT w.anchor_id, w.neighbor_id, w.weight FROM synthesizer_weights w JOIN runs r USING (run_id) WHERE r.name = 'full' AND phase = 'best'"
    )
    ours = {(row["anchor_id"], row["neighbor_id"]): row["weight"] for row in weights}
    assert all(ours[row["anchor_id"], row["neighbor_id"]] == pytest.approx(row["weight"], abs=1e-5) for row in stored)


def test_vectors(sracl, home, query):
    users = table(sracl, home, "users").to_pylist()
    count = query(
        "SELECT count(*) AS n FROM anchors a JOIN runs r USING (dataset_id) WHERE a.represents AND r.name = 'full'"
    )[0]["n"]
    assert len(users) == count
    assert all(len(row["h"]) == len(row["h_plus"]) == 64 for row in users)
    items = table(sracl, home, "items").to_pylist()
    assert [row["item_id"] for row in items] == list(range(1, len(items) + 1))
    assert all(len(row["vector"]) == 64 for row in items)
    texts = table(sracl, home, "texts").to_pylist()
    assert {row["kind"] for row in texts} == {"user", "item"}
    assert all(row["text"] and len(row["vector"]) == len(texts[0]["vector"]) for row in texts)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plain", "--what", "neighbors", "--out", "none.parquet"), "has no neighbor lists"),
        (("plain", "--what", "weights", "--out", "none.parquet"), "has no weights.parquet"),
        (("plain", "--what", "texts", "--out", "none.parquet"), "has no vectors of texts"),
        (("plain", "full", "--what", "weights", "--out", "none.parquet"), "these are 2"),
        (("nobody", "--out", "x.csv"), "there is no run 'nobody'"),
        (("full", "--out", "nowhere/x.csv"), "there is no folder"),
    ],
)
def test_what_cannot_be_exported(sracl, home, words, said):
    done = sracl("export", *words, home=home, code=2)
    assert said in done.stderr
    assert not (home / words[-1]).exists()


def test_an_ending_that_names_no_format(sracl, home):
    assert "does not say the format" in sracl("export", "full", "--out", "x.xlsx", home=home, code=4).stderr


# Recommendations


def test_recommend_one_user(sracl, home, query):
    done = sracl("recommend", "full", "3", "--at", "test", "-k", "10", "--json", home=home)
    document = json.loads(done.stdout)
    scores = [item["score"] for item in document["items"]]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert document["latency"]["against"].endswith("plain")
    assert 0.2 < document["latency"]["ratio"] < 5
    by_name = json.loads(
        sracl("recommend", "full", document["raw_id"], "--at", "test", "-k", "10", "--json", home=home).stdout
    )
    assert by_name["items"] == document["items"]
    shown = sracl("recommend", "full", "3", home=home)
    assert "ms per user on one thread; the backbone without SRA-CL" in shown.stderr
    assert len(shown.stdout.splitlines()) == 21
    new = json.loads(sracl("recommend", "full", "3", "--new-only", "--json", home=home).stdout)
    assert not any(item["seen"] for item in new["items"])


def test_recommend_all_users(sracl, home, query):
    done = sracl("recommend", "plain", "--all", "--at", "test", "--out", home / "all.parquet", "--json", home=home)
    document = json.loads(done.stdout)
    rows = pq.read_table(home / "all.parquet").to_pylist()
    assert document["rows"] == len(rows) == 20 * document["users"]
    hits = query(
        "SELECT u.user_id, u.rank, i.raw_id FROM user_ranks u JOIN runs r USING (run_id) JOIN anchors a ON a.dataset_id = r.dataset_id "
        "AND a.user_id = u.user_id AND a.role = 'test' JOIN items i ON i.dataset_id = r.dataset_id AND i.item_id = a.item_id "
        "WHERE r.name = 'plain' AND u.split = 'test' AND u.rank <= 20"
    )
    place = {(row["user_id"], row["rank"]): row["item_raw_id"] for row in rows}
    assert hits
    assert all(place[row["user_id"], row["rank"]] == row["raw_id"] for row in hits)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("full",), "give either a user"),
        (("full", "3", "--all", "--out", "none.parquet"), "give either a user"),
        (("full", "99999"), "there is no user"),
        (("full", "--all"), "give either a user"),
    ],
)
def test_what_cannot_be_recommended(sracl, home, words, said):
    assert said in sracl("recommend", *words, home=home, code=2).stderr
