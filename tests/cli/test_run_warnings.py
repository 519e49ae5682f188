"""What a run warned of is shown wherever the run is: in the list, by `show`, by `compare`, in exports, on the run's screen."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from engine.config import Config
from sracl_tui.runs.request import RunRequest
from sracl_tui.runs.run_state import RunState
from sracl_tui.tui.rendering.run import progress
from store.home import Home
from store.journal.journal import Journal, Tail
from store.publishing.publish import publish

MESSAGE = "there is no text to encode: all vectors are zero"
RANKS = {"user_id": [1, 2, 3], "rank": [3, 4, 1]}
METRICS = [
    {"split": "test", "subgroup": "all", "name": "n", "value": 3.0},
    {"split": "test", "subgroup": "all", "name": "hr@20", "value": 0.5},
    {"split": "test", "subgroup": "all", "name": "ndcg@20", "value": 0.25},
]


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """A home with a run that warned twice of one thing, and one of other settings that did not."""
    home = Home(tmp_path / "home")
    home.create()
    for run_id, alpha in (("warned", 0.1), ("quiet", 0.2)):
        request = RunRequest(run_id=run_id, config=Config.model_validate({"loss": {"alpha": alpha}}))
        folder = home.run_folder(run_id)
        folder.mkdir()
        request.write(folder)
        journal = Journal(folder)
        journal.append("run_created", request.created())
        journal.append("run_started", {"pid": 1, "host": "h", "boot_id": "b", "machine": "m", "packages": {}})
        journal.append("dataset_used", {"dataset_id": "d", "dataset_sha256": "0" * 64, "dataset_name": "shop"})
        if run_id == "warned":
            journal.append("warned", {"message": MESSAGE})
            journal.append("warned", {"message": MESSAGE})
        journal.append("evaluated", {"split": "test", "epoch": 1, "step": 1, "metrics": METRICS}, columns=RANKS)
        journal.append("run_ended", {"state": "finished", "reason": None, "timings": {"total": 1.0}})
        journal.close()
    publish(home)
    return home.path


def test_warnings_are_in_the_list_in_show_in_compare_and_in_exports(sracl, two_runs, tmp_path):
    rows = {row["run_id"]: row for row in json.loads(sracl("runs", "--json", home=two_runs).stdout)}
    assert (rows["warned"]["warnings"], rows["quiet"]["warnings"]) == (1, 0)
    lines = sracl("runs", home=two_runs).stdout.splitlines()
    assert ["finished !" in line for name in ("warned", "quiet") for line in lines if name in line] == [True, False]
    assert f"warning: {MESSAGE}" in " ".join(sracl("show", "warned", home=two_runs).stdout.split())
    assert json.loads(sracl("show", "warned", "--json", home=two_runs).stdout)["warnings"] == [MESSAGE]
    assert "warning:" not in sracl("show", "quiet", home=two_runs).stdout
    compared = json.loads(sracl("compare", "warned", "quiet", "--split", "test", "--json", home=two_runs).stdout)
    assert compared["notes"][-1] == f"default alpha=0.1 ran with a warning: {MESSAGE}"
    sracl("export", "warned", "quiet", "--out", str(tmp_path / "r.csv"), home=two_runs)
    with (tmp_path / "r.csv").open() as file:
        assert {row["run_id"]: row["warnings"] for row in csv.DictReader(file)} == {"warned": "1", "quiet": "0"}


def test_a_run_on_screen_shows_each_warning_once(two_runs):
    live = RunState()
    live.take(Tail(two_runs / "runs" / "warned").read())
    text = progress(live, live.state, live.reason, 0.0).plain
    assert text.count(MESSAGE) == 1
    assert text.splitlines()[-1] == f"{'warning':<10}{MESSAGE}"
