"""A real home, written by real runs, copied for each test that changes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.quiet import wait_until_quiet
from store.home import Home

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--set", "max_users=60", "--set", "encoder=tfidf", "--set", "epochs=2", "--set", "threads=1", "--headless"]


def sracl(home: Path, *words: str) -> None:
    environment = {**os.environ, "SRACL_HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sracl_tui.cli", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("tui")
    sracl(home, "run", "--preset", "backbone", "--seeds", "2", "--group", "plain", *SMALL)
    sracl(home, "run", "--name", "whole", *SMALL)
    return home


@pytest.fixture
def home(written, tmp_path) -> Home:
    shutil.copytree(written, tmp_path / "home")
    return Home(tmp_path / "home")


async def wait(app: SraclApp, pilot) -> None:
    """Wait for what the keys have started."""
    await wait_until_quiet(app)


@pytest.fixture
def settled():
    return wait
