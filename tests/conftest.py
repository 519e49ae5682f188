"""Settings of every test."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from engine.registry import guard_files
from tests.support.commands import ROOT

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # tests start commands by the hundred: each module is compiled once
sys.dont_write_bytecode = False
os.environ["PYTHONPATH"] = str(ROOT)  # processes that the product starts run this checkout's code too
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it, and all that they start
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: pytest-xdist gives a worker to each core


@pytest.fixture(autouse=True)
def _unguarded() -> Iterator[None]:
    """A command that ran in this process has told it which code its home allows; the next test is another program."""
    yield
    guard_files(None)


def pytest_collection_finish() -> None:
    """Exempt the modules that are loaded by now from garbage collection, and collect less often: it took a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
