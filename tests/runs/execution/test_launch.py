"""A run that the app launches: described by its request alone, and begun by the command that also resumes it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engine.config_files import load_config
from sracl_tui.cli.foreground import resume_run
from sracl_tui.runs.execution import launch, local
from sracl_tui.runs.request import RunRequest
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
