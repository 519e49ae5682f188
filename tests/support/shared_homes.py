"""Folders that one worker of the test run writes and all workers read; and a home that is held for a while."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.home import Home

DONE = ".written"


def written_once(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], None]) -> Path:
    """A folder of this test run that `write` fills once, whichever worker of pytest-xdist comes first.

    The others wait for it, and try themselves where it failed. Copy the folder before anything is written into it.
    """
    base = factory.getbasetemp()
    root = base.parent if base.name.startswith("popen-") else base  # a worker's own folder lies in that of the run
    folder = root / f"shared-{name}"
    with (root / f"shared-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / DONE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            write(folder)
            (folder / DONE).touch()
    return folder


@contextmanager
def published_by_another(home: Home) -> Iterator[None]:
    """As if another run was publishing: whoever ends by a publish, an import or a run, does not end before the block."""
    with (home.path / "publish.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
