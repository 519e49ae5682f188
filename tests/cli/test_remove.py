"""`sracl remove` and `sracl restore`: what they say, ask, refuse, and leave to others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from store.home import Home
from store.journal.journal import Journal, RunLock
from store.publishing.publish import publish


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A home with the runs plain and full, of which full has paid for a call."""
    home = Home(Path(shutil.copytree(made, tmp_path / "home")))
    full = next(path for path in home.runs.iterdir() if '"full"' in (path / "request.json").read_text())
    journal = Journal(full)
    call = {"key": ["k"], "attempt": [1], "sent_at": [1.0], "status": [200], "usd": [1.25]}
    journal.append("api_called", {"provider": "deepseek", "model": "m"}, columns=call, durable=True)
    journal.close()
    edits = Journal(home.edits)
    verdict = {"claim": "gain", "dataset": "demo", "fingerprint": "f", "verdict": "supported"}
    verdict |= {"runs": [full.name], "runs_against": []}
    edits.append("study_judged", {"study": "quick", "sha256": "f" * 64, "verdicts": [verdict]})
    edits.close()
    publish(home)
    return home.path


def names(sracl: Any, home: Path) -> list[str]:
    return sorted(row["name"] for row in json.loads(sracl("runs", "--json", home=home).stdout))


def test_what_goes_is_said_and_nothing_goes_unasked(sracl, home) -> None:
    for words in (("full", "--dry-run"), ("full", "plain", "--dry-run", "--json"), ("--tag", "first", "--dry-run")):
        done = sracl("remove", *words, home=home)
        assert "Nothing was changed" in done.stderr or "--json" in words
    assert "✓ finished" in done.stderr
    assert "MB" in done.stderr
    assert "Study quick uses it: it says so, and would run it again." in done.stderr
    assert "$1.25 spent on calls stays in the costs." in done.stderr
    assert "2 summary sets and 2 neighbor lists stay." in done.stderr
    document = json.loads(sracl("remove", "full", "plain", "--dry-run", "--json", home=home).stdout)
    assert sorted(run["name"] for run in document["runs"]) == ["full", "plain"]
    assert document["bytes"] == sum(run["bytes"] for run in document["runs"]) > 10_000
    assert document["studies"] == {"quick": 1}
    assert document["stays"] == {"summary_sets": 2, "neighbor_lists": 2, "used_by_runs": 0, "usd": 1.25}
    for words in (("remove", "full"), ("remove", "full", "--json")):
        assert "no terminal to ask on" in sracl(*words, home=home, code=2).stderr
    assert names(sracl, home) == ["full", "plain"]


@pytest.mark.parametrize(("answer", "left"), [("y\n", ["plain"]), ("n\n", ["full", "plain"])])
def test_on_a_terminal_it_asks(sracl, home, monkeypatch, answer, left) -> None:
    monkeypatch.setattr("sracl_tui.cli.remove.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    sracl("remove", "full", home=home, stdin=answer, code=0 if answer == "y\n" else 1)
    assert names(sracl, home) == left


def test_a_removed_run_is_in_no_list_and_comes_back(sracl, home) -> None:
    books = {by: sracl("costs", "--by", by, "--json", home=home).stdout for by in ("run", "day", "dataset", "model")}
    listed = sracl("runs", "--json", home=home).stdout
    shown = sracl("show", "full", "--json", home=home).stdout
    for _ in range(2):  # once more changes nothing
        sracl("remove", "full", "--yes", home=home)
    assert names(sracl, home) == ["plain"]
    for words in (
        ("show", "full"), ("inspect", "full", "3"), ("compare", "full", "plain"), ("run", "--resume", "full"),
        ("export", "full", "--what", "results", "--out", "x.csv"), ("tag", "full", "x"), ("stop", "full"),
        ("reproduce", "full"), ("recommend", "full", "3"),
    ):  # fmt: skip
        said = sracl(*words, home=home, code=2).stderr
        assert "was removed" in said, words
        assert "sracl restore full" in said, words
    assert {by: sracl("costs", "--by", by, "--json", home=home).stdout for by in books} == books
    assert "full" in sracl("remove", "--list", home=home).stdout
    assert json.loads(sracl("remove", "--list", "--json", home=home).stdout)[0]["name"] == "full"
    assert "all is well" in sracl("db", "check", home=home).stderr
    for _ in range(2):
        sracl("restore", "full", home=home)
    assert sracl("runs", "--json", home=home).stdout == listed
    assert sracl("show", "full", "--json", home=home).stdout == shown
    assert "The trash is empty" in sracl("remove", "--list", home=home).stderr


def test_emptying_frees_the_disk_and_keeps_the_books(sracl, home) -> None:
    books = {by: sracl("costs", "--by", by, "--json", home=home).stdout for by in ("run", "day", "dataset", "model")}
    sracl("remove", "full", "plain", "--yes", home=home)
    assert "Nothing in the trash fits" in sracl("remove", "--empty", "--older-than", "1", "--yes", home=home).stderr
    assert "no terminal" in sracl("remove", "--empty", home=home, code=2).stderr
    assert "Nothing was changed" in sracl("remove", "--empty", "--dry-run", home=home).stderr
    assert "1 run deleted for good" in sracl("remove", "--empty", "full", "--yes", home=home).stderr
    assert [row["name"] for row in json.loads(sracl("remove", "--list", "--json", home=home).stdout)] == ["plain"]
    document = json.loads(sracl("remove", "--empty", "--yes", "--json", home=home).stdout)
    assert 10_000 < document["freed"] <= document["bytes"]
    assert not list((home / "trash").iterdir())
    assert {by: sracl("costs", "--by", by, "--json", home=home).stdout for by in books} == books
    for words in (("restore", "full"), ("show", "full"), ("run", "--resume", "full")):
        assert "deleted for good" in sracl(*words, home=home, code=2).stderr
    assert "all is well" in sracl("db", "check", home=home).stderr
    sets = json.loads(sracl("sql", "SELECT count(*) AS n FROM summary_sets", "--json", home=home).stdout)
    assert sets == [{"n": 2}]


def test_a_run_that_lives_is_refused_and_the_others_with_it(sracl, home) -> None:
    folder = Home(home).run_folder("night")
    journal, lock = Journal(folder), RunLock(folder)
    lock.acquire()
    created = {"kind": "train", "name": "night", "preset": "default", "group_name": None, "config": {}, "tags": []}
    journal.append("run_created", {"run_id": "night", **created, "config_hash": "0" * 16, "seed": 1, "note": ""})
    journal.append("run_started", {"pid": 1, "host": "here", "boot_id": "x"})
    publish(Home(home))
    try:
        said = sracl("remove", "plain", "night", "--yes", home=home, code=2).stderr
        assert "night is running" in said
        assert "sracl stop night" in said
    finally:
        journal.close()
        lock.release()
    assert names(sracl, home) == ["full", "night", "plain"]


@pytest.mark.parametrize(
    "words",
    [(), ("full", "--list"), ("--list", "--empty"), ("--empty", "--tag", "x"), ("full", "--older-than", "3")],
)
def test_what_is_not_clear_is_refused(sracl, home, words) -> None:
    sracl("remove", *words, "--yes", home=home, code=2)
    assert names(sracl, home) == ["full", "plain"]


def test_a_removed_id_is_not_given_again(sracl, home) -> None:
    plain = next(row for row in json.loads(sracl("runs", "--json", home=home).stdout) if row["name"] == "plain")
    sracl("remove", "--filter", "preset:backbone", "--yes", home=home)
    for more in ((), ("--dry-run",)):
        said = sracl("run", "--run-id", plain["run_id"], "--headless", *more, home=home, code=2).stderr
        assert "is in the trash" in said
    assert not (home / "runs" / plain["run_id"]).exists()
