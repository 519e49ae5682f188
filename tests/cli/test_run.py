"""The headless run end to end on a real home; in a process of its own where it is stopped or killed."""

from __future__ import annotations

import json
import signal
import subprocess

import pyarrow.parquet as pq

from tests.support.commands import sracl_process, start, until

from .conftest import QUICK

METRICS = {f"{name}@{k}" for name in ("hr", "ndcg", "mrr") for k in (5, 10, 20)}


def test_the_document_of_a_run_has_everything_that_is_promised(tmp_path):
    done = sracl_process(tmp_path, "run", *QUICK, "--headless", "--json")
    document = json.loads(done.stdout)
    assert document["state"] == "finished"
    lists = {f"{name}@{k}" for name in ("coverage", "gini", "popularity") for k in (5, 10, 20)}
    assert set(document["test"]) == METRICS | lists
    assert set(document["valid"]) == METRICS
    assert set(document["seconds"]) == {"import", "summaries", "vectors", "neighbors", "train", "evaluate", "total"}
    assert document["seconds"]["total"] >= document["seconds"]["train"] > 0
    assert document["cost"] == {"usd": 0.0, "calls": 0, "cached": 0}
    assert document["dataset"] == "demo"
    assert document["seed"] == 1
    assert 1 <= document["best_epoch"] <= document["epochs"] == 2
    assert "epoch 2" in done.stderr


def test_every_table_that_an_offline_run_can_fill_is_filled(query):
    empty = {
        "api_calls",
        "spend_by_day",
        "findings",
        "queue",
        "removed_rows",
        "removed_runs",
        "run_warnings",
        "study_claims",
        "study_files",
        "study_verdicts",
    }
    for name in [
        row["table_name"] for row in query("SELECT table_name FROM duckdb_tables() WHERE database_name = 'sracl'")
    ]:
        count = query(f"SELECT count(*) AS n FROM {name}")[0]["n"]
        assert (count == 0) == (name in empty), f"{name} has {count} rows"
    assert query("SELECT count(*) AS n FROM vectors.vectors")[0]["n"] > 0
    for view in ("run_results", "run_costs", "neighbor_weights", "user_view"):
        assert query(f"SELECT count(*) AS n FROM {view}")[0]["n"] > 0, view


def test_the_run_row_says_with_what_it_was_made(query):
    (run,) = query("SELECT * FROM runs WHERE name = 'full'")
    assert run["state"] == "finished"
    assert run["tags"] == ["first"]
    assert run["device"] == "cpu"
    assert run["threads"] == 1
    assert run["peak_memory_bytes"] > 10**8
    assert "torch" in run["packages"]
    assert run["config"]["semantics"]["encoder"] == "tfidf"
    assert run["user_list_id"]
    assert run["item_list_id"]
    assert run["user_set_id"]
    assert run["heartbeat_at"] <= run["ended_at"]


def test_metrics_ranks_and_weights_agree_with_each_other(query):
    (hr,) = query(
        "SELECT value FROM metrics JOIN runs USING (run_id) WHERE runs.name = 'full' AND split = 'test' AND subgroup = 'all' "
        "AND metrics.name = 'hr@10'"
    )
    (counted,) = query(
        "SELECT avg((rank <= 10)::INT) AS hr, count(*) AS n FROM user_ranks JOIN runs USING (run_id) WHERE name = 'full' "
        "AND split = 'test'"
    )
    assert counted["n"] == 80
    assert counted["hr"] == hr["value"]
    sums = query("SELECT phase, anchor_id, sum(weight) AS s FROM synthesizer_weights GROUP BY ALL")
    assert {row["phase"] for row in sums} == {"initial", "best", "last"}
    assert all(abs(row["s"] - 1) < 1e-5 for row in sums)


def test_no_neighbor_belongs_to_the_anchors_own_user(query):
    rows = query("SELECT count(*) AS n FROM neighbor_weights WHERE user_id = neighbor_user_id")
    assert rows[0]["n"] == 0


def test_the_run_folder_has_all_weights_and_both_vectors(home, query):
    (run,) = query("SELECT run_id, dataset_id FROM runs WHERE name = 'full'")
    folder = home / "runs" / run["run_id"]
    weights = pq.read_table(folder / "weights.parquet")
    (anchors,) = query(f"SELECT count(*) AS n FROM anchors WHERE role = 'train' AND dataset_id = '{run['dataset_id']}'")
    assert len(set(weights["anchor_id"].to_pylist())) == anchors["n"]
    vectors = pq.read_table(folder / "user_vectors.parquet")
    assert vectors.column_names == ["anchor_id", "h", "h_plus"]
    assert len(vectors["h"][0].as_py()) == 64
    assert vectors.num_rows == 80


def test_a_second_run_with_another_alpha_reuses_every_stage(sracl, home):
    done = sracl("run", *QUICK, "--set", "alpha=0.05", "--headless", home=home)
    for stage in ("summaries", "vectors", "neighbors"):
        assert f"{stage}: reused" in done.stderr, done.stderr


def test_the_dry_run_says_what_is_cached_and_runs_nothing(sracl, home, query):
    before = query("SELECT count(*) AS n FROM runs")
    document = json.loads(sracl("run", *QUICK, "--dry-run", "--json", home=home).stdout)
    assert {"prompts", "cached", "identical", "tokens", "usd", "minutes"} <= set(document)
    assert document["cached"] + document["identical"] == document["prompts"] > 0
    cached = {stage["stage"]: stage["cached"] for stage in document["stages"]}
    assert cached["summaries"]
    assert not cached["train"]
    assert query("SELECT count(*) AS n FROM runs") == before


def test_the_same_seed_gives_the_same_run_and_another_seed_another(sracl, tmp_path):
    documents = json.loads(
        sracl("run", *QUICK, "--seeds", "2", "--group", "a", "--headless", "--json", home=tmp_path).stdout
    )
    again = json.loads(sracl("run", *QUICK, "--seed", "1", "--headless", "--json", home=tmp_path).stdout)
    first, second = documents["runs"]
    assert (first["test"], first["valid"]) == (again["test"], again["valid"])
    assert first["valid"] != second["valid"]
    reused = sracl("run", *QUICK, "--seeds", "2", "--group", "a", "--headless", "--json", home=tmp_path)
    assert [run["run_id"] for run in json.loads(reused.stdout)["runs"]] == [first["run_id"], second["run_id"]]
    assert "reused" in reused.stderr


def test_a_stopped_run_keeps_its_epochs_and_resumes_to_the_same_end(sracl, tmp_path):
    settings = (
        "--dataset",
        "demo",
        "--preset",
        "backbone",
        "--set",
        "max_users=200",
        "--set",
        "epochs=30",
        "--set",
        "patience=30",
        "--set",
        "threads=1",
    )
    whole = json.loads(sracl("run", *settings, "--headless", "--json", home=tmp_path).stdout)
    running = start(
        tmp_path, "run", *settings, "--run-id", "cut", "--headless", "--json",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    journal = tmp_path / "runs" / "cut" / "events-0001.jsonl"
    until(lambda: journal.exists() and '"epoch_finished"' in journal.read_text())
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert json.loads(out)["state"] == "stopped"
    assert "--resume cut" in str(err)
    resumed = json.loads(sracl("run", "--resume", "cut", "--headless", "--json", home=tmp_path).stdout)
    assert resumed["state"] == "finished"
    assert (resumed["test"], resumed["valid"], resumed["best_epoch"]) == (
        whole["test"],
        whole["valid"],
        whole["best_epoch"],
    )
    rows = json.loads(
        sracl(
            "sql",
            "SELECT run_id, count(*) AS n, max(epoch) AS last FROM metrics WHERE split = 'train' AND name = 'loss' GROUP BY ALL",
            "--json",
            home=tmp_path,
        ).stdout
    )
    assert [(row["n"], row["last"]) for row in rows] == [(30, 30), (30, 30)]


def test_a_killed_run_is_seen_as_killed_and_resumes(sracl, tmp_path):
    settings = ("--dataset", "demo", "--preset", "backbone", "--set", "epochs=400", "--set", "patience=400")
    running = start(tmp_path, "run", *settings, "--run-id", "gone", "--headless")
    journal = tmp_path / "runs" / "gone" / "events-0001.jsonl"
    until(lambda: journal.exists() and journal.read_text().count('"epoch_finished"') >= 2)
    (live,) = json.loads(sracl("runs", "--json", home=tmp_path).stdout)
    assert live["state"] == "running"
    running.kill()
    running.wait()
    (dead,) = json.loads(sracl("runs", "--json", home=tmp_path).stdout)
    assert dead["state"] == "killed"
    assert str(running.pid) in dead["reason"]
    assert dead["epoch"] >= 2


def test_stop_ends_a_run_and_a_run_that_is_not_running_is_named(sracl, tmp_path, home):
    settings = ("--dataset", "demo", "--preset", "backbone", "--set", "epochs=400", "--set", "patience=400")
    running = start(tmp_path, "run", *settings, "--run-id", "long", "--headless")
    journal = tmp_path / "runs" / "long" / "events-0001.jsonl"
    until(lambda: journal.exists() and '"epoch_finished"' in journal.read_text())
    document = json.loads(sracl("stop", "long", "--json", home=tmp_path).stdout)
    assert document == {"run_id": "long", "pid": running.pid, "ended": True, "how": "asked"}
    assert running.wait(timeout=30) == 130
    assert "not running" in sracl("stop", "long", home=tmp_path, code=2).stderr


def test_collaborative_vectors_come_from_a_backbone_run_of_the_same_seed(sracl, home, query):
    done = sracl("run", *QUICK, "--preset", "wo-semantic", "--name", "collaborative", "--headless", home=home)
    assert "backbone" in done.stderr
    (run,) = query("SELECT user_set_id, user_list_id FROM runs WHERE name = 'collaborative'")
    assert run["user_set_id"] is None
    assert run["user_list_id"]
    assert query("SELECT count(*) AS n FROM runs WHERE list_contains(tags, 'backbone')")[0]["n"] == 1


def test_leaks_are_counted_by_pool(sracl, home):
    document = json.loads(
        sracl(
            "leaks", "--set", "max_users=80", "--set", "encoder=tfidf", "--set", "vector=item-mean", "--json", home=home
        ).stdout
    )
    assert set(document["leaks"]) == {"others", "users", "train", "reference"}
    assert document["leaks"]["others"]["own_share"] == 0
    assert document["leaks"]["train"]["own_share"] > 0
    assert document["leaks"]["train"]["heldout_share"] == 0
    assert document["leaks"]["reference"]["heldout_share"] > 0
