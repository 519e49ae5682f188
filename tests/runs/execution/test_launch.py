"""A run that the app launches: described by its request alone, and begun by the command that also resumes it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from engine.config_files import load_config
from sracl_tui.cli.foreground import resume_run
from sracl_tui.runs.dataset_access import open_dataset
from sracl_tui.runs.execution import launch, local
from sracl_tui.runs.request import RunRequest
from store.errors import StoreError
from store.home import Home
from store.opening import open_store
from store.queries.runs import find_run

SMALL = ("max_users=40", "encoder=tfidf", "epochs=1", "threads=1", "k=4", "item_k=4", "width=8")
spawned: list[list[str]] = []


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    """A home whose processes are not started; their words are kept in `spawned`."""
    spawned.clear()

    def spawn(home, words, log, variables=None):
        spawned.append(words)
        return SimpleNamespace(pid=1)

    monkeypatch.setattr(local, "spawn", spawn)
    return Home(tmp_path)


def request(run_id: str = "first", **fields) -> RunRequest:
    config, preset = load_config(preset="backbone", assignments=SMALL, settings={"dataset": "demo"})
    return RunRequest(run_id=run_id, config=config, preset=preset, **fields)


def test_the_process_is_given_the_folder_and_begins_what_stands_in_its_request(home):
    wanted = request(name="a 'name'", group="g", tags=("x", "y z"), note="line\nline")
    run_id = launch.launch(home, wanted).run_id
    assert spawned == [["run", "--resume", run_id, "--headless"]]
    assert launch.launched_request(home.run_folder(run_id)) == wanted
    result = resume_run(home, run_id, headless=True, budget=None, force=False)
    assert result.state == "finished"
    with open_store(home) as store:
        row = find_run(store, run_id)
    assert (row["name"], row["group_name"], row["note"]) == ("a 'name'", "g", "line\nline")
    assert sorted(row["tags"]) == ["x", "y z"]
    assert row["config_hash"] == wanted.config.config_hash()
    assert row["segments"] == 1
    assert launch.launched_request(home.run_folder(run_id)) is None, "it has begun"


def test_an_id_that_is_taken_is_changed(home):
    first = launch.launch(home, request()).run_id
    second = launch.launch(home, request()).run_id
    assert first == "first" != second
    assert launch.launched_request(home.run_folder(second)) == request(second)


def test_a_folder_that_an_older_version_launched_is_read(home):
    folder = home.run_folder("old")
    folder.mkdir(parents=True)
    assert launch.launched_request(folder) is None
    (folder / "settings.toml").write_text('preset = "backbone"\n[train]\nseed = 7\n')
    found = launch.launched_request(folder)
    assert found is not None
    assert (found.run_id, found.preset, found.config.train.seed) == ("old", "backbone", 7)


@pytest.mark.parametrize("users", [40, None])
def test_machines_that_write_no_database_find_what_a_run_makes_of_a_data_set(home, monkeypatch, users):
    """A node could not store a generated set, nor a part of one: its run failed."""
    monkeypatch.setattr(local.LocalExecutor, "waits_only", True)
    config, _ = load_config(preset="backbone", settings={"dataset": "goods", "max_users": users})
    launch.launch(home, RunRequest(run_id="elsewhere", config=config, preset="backbone"))
    with open_store(replace(home, publishes=False)) as store:
        assert open_dataset(store, "goods", max_users=users).users == users or users is None
        with pytest.raises(StoreError, match=r"goods\[:7\] is not stored yet") as refused:
            open_dataset(store, "goods", max_users=7)
    assert "queue on a cluster stores it" in refused.value.hint


def test_a_run_with_an_unknown_data_set_tells_so_where_it_is_executed(home, monkeypatch):
    monkeypatch.setattr(local.LocalExecutor, "waits_only", True)
    config, _ = load_config(settings={"dataset": "nowhere"})
    launch.launch(home, RunRequest(run_id="lost", config=config, preset="default"))
    assert spawned
