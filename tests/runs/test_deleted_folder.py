"""The folder of a run is deleted while it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.config import Config
from engine.events import Event, Warned
from sracl_tui.runs import failure_messages, recorder
from sracl_tui.runs.request import RunRequest
from store.home import Home
from tests.support.commands import until


def test_it_is_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorder, "HEARTBEAT_SECONDS", 0.02)
    home, heard = Home(tmp_path / "home"), list[Event]()
    home.create()
    made = recorder.Recorder(home, RunRequest(run_id="r", config=Config()), listener=heard.append, quiet=True)
    made.start()
    shutil.rmtree(made.folder)
    until(lambda: heard, 20)
    made.close()
    assert [type(event) for event in heard] == [Warned]
    assert "was deleted while it ran" in heard[0].message  # type: ignore[attr-defined]


def test_the_reason_of_a_failure_names_it(tmp_path: Path) -> None:
    error = FileNotFoundError(2, "No such file or directory", str(tmp_path / "gone" / "last.ckpt"))
    assert "was deleted while it ran" in str(failure_messages.known(error, "r", tmp_path / "gone"))
    assert failure_messages.known(error, "r", tmp_path) is None
