"""Homes and processes for the proofs that nothing is lost, whatever dies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import command, environment, start


class Machine:
    """A home and the processes at work on it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `sracl` and leave it alone."""
        return start(self.home, *words)

    def sracl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `sracl` to its end, whatever that is."""
        return subprocess.run(command(*words), env=environment(self.home), capture_output=True, text=True, timeout=600)

    def json(self, *words: str) -> Any:
        """The document that `sracl ... --json` prints; it must end well."""
        done = self.sracl(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)
