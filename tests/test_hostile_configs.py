"""Attempts by settings, from files and command lines of others: refused in a sentence, or plain text that does nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.config_files import load_config
from engine.errors import ConfigError, EngineError
from sracl_tui.runs.request import RunRequest
from sracl_tui.runs.sweeps.run_options import RunOptions
from sracl_tui.studies.parsing import read_study
from store.errors import LookupFailed, StoreError
from store.home import Home
from store.opening import open_store
from store.queries import datasets

FILES: dict[str, str] = {
    "no TOML": "x = [",
    "bytes that are no text": "\udcff",
    "nested for ever": "x = " + "[" * 50_000,
    "number of 5,000 digits": "seed = " + "9" * 5000,
    "seed beyond its column": "seed = 3000000000",
    "epochs below zero": "epochs = -1",
    "rate that is none": "lr = nan",
    "rate without end": "lr = inf",
    "preset that climbs": 'preset = "../../../etc/passwd"',
    "preset that is a list": 'preset = ["default"]',
    "backbone of a module": 'backbone = "os:system"',
    "backbone of a file that is not there": 'backbone = "/nowhere/evil.py:Net"',
    "backbone of a folder": 'backbone = "/etc:Net"',
    "backend of a file": 'backend = "/nowhere/evil.py:Net"',
    "method of a module": 'method = "subprocess:Popen"',
    "method that is a table": "method = 3",
    "part that is not there": 'method.parts = ["rec", "__init__"]',
    "section that is a text": 'data = "x"',
    "setting of pydantic": "model_config = 1",
    "setting with two underscores": '"__class__" = 1',
    "device that is a command": 'device = "cuda:0; rm -rf /"',
    "metric of a module": 'metrics = ["os:system"]',
    "selection by nothing": 'select = "__doc__"',
    "cutoffs that are words": 'ks = ["x"]',
    "threads beyond all": "threads = -5",
}  # fmt: skip
"""What a settings file says; none of these starts a run."""
NAMES = ("../../x", "/etc/passwd", "'; DROP TABLE runs; --", "x\0y", "\x1b]0;t\x07", "C:\\x", "$(reboot)", "%s", "")
"""Data sets that a settings file names: any text, which stands in no path and no SQL."""


@pytest.mark.parametrize("attempt", FILES)
def test_settings_that_are_refused(tmp_path: Path, attempt: str) -> None:
    path = tmp_path / "theirs.toml"
    path.write_bytes(FILES[attempt].encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        RunOptions(configs=(path,)).requests()
    assert len(str(caught.value)) < 20_000


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "link.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "deep.toml").write_text("x = " + "[" * 50_000)
    (tmp_path / "huge.toml").write_text("x = " + "9" * 5000)
    for path in (*tmp_path.iterdir(), tmp_path / "none.toml"):
        for reads in (lambda path: load_config(files=(path,)), read_study):
            with pytest.raises(ConfigError):
                reads(path)


def test_names_of_data_sets_are_looked_up_and_nothing_else(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with open_store(home) as store:
        for name in NAMES:
            with pytest.raises((LookupFailed, EngineError, StoreError)):
                datasets.get(store, load_config(settings={"dataset": name})[0].data.dataset)
        assert store.tuples("SELECT count(*) FROM runs") == [(0,)]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


REQUESTS: dict[str, Any] = {
    "nothing": {},
    "a list": [],
    "fields of nobody": {"run_id": "x", "config": {}, "tags": [], "evil": 1},
    "settings that are a text": {"run_id": "x", "config": "x", "tags": []},
    "settings of nobody": {"run_id": "x", "config": {"evil": {}}, "tags": []},
    "settings of another type": {"run_id": "x", "config": {"train": {"epochs": "many"}}, "tags": []},
    "tags that are a number": {"run_id": "x", "config": {}, "tags": 3},
}


@pytest.mark.parametrize("attempt", REQUESTS)
def test_requests_that_are_refused(attempt: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        RunRequest.parse(json.dumps(REQUESTS[attempt]).encode(), where="request.json")


@pytest.mark.parametrize("data", [b"[" * 100_000, b"\xff\xfe", b"", b'{"run_id": NaN}'])
def test_requests_that_are_no_json(data: bytes) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        RunRequest.parse(data, where="request.json")
