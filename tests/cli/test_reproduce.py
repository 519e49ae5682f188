"""`sracl reproduce` on real runs: the same bits, a changed number, another machine, and what cannot be repeated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sracl_tui.cli.main import app
from sracl_tui.services import reproduction
from store.home import Home
from store.journal.journal import Journal, RunLock
from store.opening import open_store
from store.publishing.publish import publish, write_sql
from store.queries.runs import find_run


@pytest.fixture
def place(home: Path, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(home, tmp_path / "home")))


def reproduce(place: Home, *words: str, code: int) -> Any:
    """The command in this process: what it prints, or its document with `--json`."""
    done = CliRunner().invoke(app, ["reproduce", *words, "--home", str(place.path), "--headless"])
    assert done.exit_code == code, done.output + repr(done.exception)
    return json.loads(done.stdout) if "--json" in words else done


def failed(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(c["split"], c["subgroup"], c["metric"]) for c in document["checks"] if not c["pass"]}


def test_a_run_with_both_contrasts_gives_the_same_bits_and_leaves_nothing_behind(sracl, place):
    done = json.loads(sracl("reproduce", "full", "--headless", "--json", home=place.path).stdout)
    assert done["pass"]
    assert done["exact"]
    assert done["differences"] == []
    measured = {(check["split"], check["metric"]) for check in done["checks"]}
    assert {("test", "ndcg@20"), ("valid", "mrr@10"), ("analysis", "entropy"), ("run", "best_epoch")} <= measured
    assert {check["tolerance"] for check in done["checks"] if check["split"] != "vectors"} == {0.0}
    assert all(note.startswith("neighbors: 0 of ") for note in done["notes"])
    assert list((place.cache / "reproduce").iterdir()) == []
    with open_store(place) as store:
        assert store.rows("SELECT count(*) AS n FROM runs") == [{"n": 2}], "the home has no further run"


def test_a_number_that_is_another_one_fails_and_is_named_and_the_second_run_can_be_kept(place, tmp_path):
    """A backbone, whose record somebody has changed."""
    changed = "run_id = (SELECT run_id FROM runs WHERE name = 'plain')"
    write_sql(
        place,
        f"UPDATE metrics SET value = value + 1e-9 WHERE {changed} AND split = 'test' AND name = 'hr@10' AND subgroup = 'all';"
        f"UPDATE user_ranks SET rank = rank + 1 WHERE {changed} AND split = 'valid' AND user_id = 3;"
        f"UPDATE runs SET git_sha = 'abc', packages = json_merge_patch(packages, '{{\"annoy\": \"0.1\"}}') WHERE {changed}",
    )
    kept = tmp_path / "again"
    done = reproduce(place, "plain", "--json", "--keep", str(kept), code=1)
    assert failed(done) == {("test", "all", "hr@10"), ("valid", "all", "users whose rank differs")}
    assert done["exact"]
    assert [line.partition(" then")[0] for line in done["differences"]] == ["commit: abc", "annoy: 0.1"]
    with open_store(Home(kept)) as store:
        assert find_run(store, "last")["state"] == "finished"
    assert "not empty" in reproduce(place, "plain", "--keep", str(kept), code=2).stderr

    other = "machine = 'Linux 6, Another Processor, 8 cores, 16 GiB', threads = 8"
    write_sql(place, f"UPDATE runs SET {other} WHERE {changed}")
    with open_store(place) as store:
        row = find_run(store, "plain")
        found = reproduction.compare(store, row, Home(kept), checks=[])
        strict = reproduction.compare(store, row, Home(kept), checks=[], tolerance=0)
    assert found.passed, "bits cannot be equal there"
    assert not found.exact
    assert {"threads: 8 then, 1 now"} <= set(found.differences)
    assert any("Another Processor" in line for line in found.differences)
    assert "valid: 1 of 80 users have a different rank" in found.notes
    assert [check.what for check in strict.checks if not check.passed] == [("test", "all", "hr@10")]
    assert {check.tolerance for check in found.checks if check.what[1] == "all"} == {0.0, 3 / 80}, "n, and the others"

    write_sql(place, f"UPDATE runs SET device = 'cuda:0' WHERE {changed}")
    write_sql(place, f"UPDATE metrics SET value = value + 0.2 WHERE {changed} AND split = 'test' AND name = 'mrr@5'")
    with open_store(place) as store:
        found = reproduction.compare(store, find_run(store, "plain"), Home(kept), checks=[])
    assert found.expects == "draws"
    assert {check.what[2] for check in found.checks if not check.passed} == {"mrr@5"}


def test_what_cannot_be_repeated_says_why_and_what_to_do(place):
    with open_store(place) as store:
        run_id = find_run(store, "full")["run_id"]
    sets = "(SELECT user_set_id FROM runs WHERE name = 'full')"
    write_sql(
        place, f"DELETE FROM summaries WHERE key IN (SELECT key FROM summary_links WHERE set_id = {sets} LIMIT 1)"
    )
    missing = reproduce(place, "full", code=2).stderr
    assert "user summaries, 0 of" in missing
    assert "sracl db repair" in missing

    write_sql(
        place,
        f"UPDATE runs SET dataset_id = 'feed', dataset_sha256 = 'feed' || dataset_sha256 WHERE run_id = '{run_id}'",
    )
    other = reproduce(place, "full", code=2).stderr
    assert "used data feed" in other
    assert "demo is " in other
    assert "sracl data import" in other

    write_sql(place, f"UPDATE runs SET state = 'killed' WHERE run_id = '{run_id}'")
    assert f"sracl run --resume {run_id}" in reproduce(place, "full", code=2).stderr
    write_sql(place, f"UPDATE runs SET kind = 'leaks', state = 'finished' WHERE run_id = '{run_id}'")
    assert "kind leaks" in reproduce(place, "full", code=2).stderr
    assert "there is no run" in reproduce(place, "nobody", code=2).stderr
    assert not list((place.cache / "reproduce").glob("*"))


def test_a_run_at_work_is_waited_for_by_hand(place):
    lock = RunLock(place.runs / "alive")
    lock.acquire()
    journal = Journal(place.runs / "alive")
    journal.append("run_created", {
        "run_id": "alive", "kind": "train", "name": "alive", "preset": "default", "group_name": None, "config": {},
        "config_hash": "0", "seed": 1, "tags": [], "note": "",
    })  # fmt: skip
    journal.append("run_started", {"pid": 1, "host": "h", "boot_id": "b"})
    journal.close()
    publish(place)
    assert "sracl stop alive" in reproduce(place, "alive", code=2).stderr
    lock.release()


def test_a_run_with_files_of_ones_own_is_reproduced_after_they_have_changed(sracl, place):
    synthesizer = place.path / "mine.py"
    synthesizer.write_text(
        "from engine.models.synthesizers import Synthesizer\n"
        "class Mine(Synthesizer):\n    def scores(self, anchor, neighbors, similarity):\n        return 3 * similarity\n"
    )
    settings = ("max_users=30", "encoder=tfidf", "epochs=1", "threads=1", f"kind={synthesizer}:Mine")
    sracl("run", "--headless", *(word for setting in settings for word in ("--set", setting)), home=place.path)
    synthesizer.write_text("1 / 0\n")
    done = reproduce(place, "last", "--json", code=0)
    assert done["pass"]
    assert done["exact"]
