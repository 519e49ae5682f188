"""Homes and processes for the proofs that nothing is lost, whatever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--dataset", "demo", "--set", "max_users=60", "--set", "encoder=tfidf", "--set", "threads=1", "--headless")


class Machine:
    """A home and the processes at work on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {**os.environ, "SRACL_HOME": str(home), "PYTHONPATH": str(ROOT)}

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `sracl` and leave it alone."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "sracl_tui.cli", *words],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def sracl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `sracl` to its end."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "sracl_tui.cli", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def json(self, *words: str) -> Any:
        """The document that `sracl ... --json` prints; it must end well."""
        done = self.sracl(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def until() -> Callable[..., None]:
    def wait(done: Callable[[], Any], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.05)

    return wait
