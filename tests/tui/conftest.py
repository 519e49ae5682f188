"""A home with real runs, written once for all workers of a test run and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sracl_tui.tui.gc_scheduler import GcScheduler
from store.home import Home
from tests.support.commands import sracl_process
from tests.support.earlier_demo import add_earlier_demo
from tests.support.fast_textual import fast_textual
from tests.support.shared_homes import written_once

SMALL = ("--set", "max_users=60", "--set", "encoder=tfidf", "--set", "epochs=2", "--set", "threads=1", "--headless")


@pytest.fixture(scope="session", autouse=True)
def _fast() -> Iterator[None]:
    with fast_textual():
        yield


@pytest.fixture(autouse=True)
def _no_full_collection_at_the_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app begins with a full garbage collection, which is slow in the large process of the tests."""
    if not request.path.name.startswith("test_gc_"):
        monkeypatch.setattr(GcScheduler, "start", lambda self: None)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two backbone runs and an SRA-CL run on the same part of the demo set; nobody writes into it."""

    def write(folder: Path) -> None:
        add_earlier_demo(Home(folder))
        sracl_process(folder, "run", "--preset", "backbone", "--seeds", "2", "--group", "plain", *SMALL)
        sracl_process(folder, "run", "--name", "whole", *SMALL)

    return written_once(tmp_path_factory, "tui", write)


@pytest.fixture
def home(written: Path, tmp_path: Path) -> Home:
    """A copy of that home."""
    return Home(Path(shutil.copytree(written, tmp_path / "home")))
