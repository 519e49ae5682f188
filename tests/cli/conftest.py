"""A home with a few small runs, made once by the real command in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    "--dataset",
    "demo",
    "--set",
    "max_users=80",
    "--set",
    "encoder=tfidf",
    "--set",
    "epochs=2",
    "--set",
    "threads=1",
)

Sracl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def sracl() -> Sracl:
    """Runs `sracl` in a process of its own and checks its exit code."""

    def run(
        *arguments: str | Path, home: Path, code: int = 0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sracl_tui.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=240,
            cwd=home,
            env={**os.environ, "SRACL_HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, sracl: Sracl) -> Path:
    """A home with a backbone run and an SRA-CL run on the same part of the demo set; nobody writes into it."""
    folder = tmp_path_factory.mktemp("home")
    sracl("run", *QUICK, "--preset", "backbone", "--name", "plain", "--headless", "--json", home=folder)
    sracl("run", *QUICK, "--name", "full", "--tag", "first", "--headless", "--json", home=folder)
    return folder


@pytest.fixture(scope="module")
def home(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That home, for the tests of one file to write into."""
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("copy") / "home"))


@pytest.fixture
def query(sracl: Sracl, home: Path) -> Callable[[str], list[dict[str, Any]]]:
    """Rows of a query on the shared home."""
    return lambda text: json.loads(sracl("sql", text, "--json", home=home).stdout)
