"""From the start of the process to the first paint of the home screen, in a terminal of its own, on a store of 10,000 runs."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from pathlib import Path

import pytest

from benchmarks.many import make_runs
from store.home import Home

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def many(request: pytest.FixtureRequest) -> Home:
    """10,000 runs, kept between two benchmarks."""
    home = Home(Path(str(request.config.cache.mkdir("sracl"))) / "many")  # pyright: ignore
    if not home.database.exists():
        make_runs(home, 10_000)
    return home


def until_drawn(home: Path, sign: bytes, *, root: Path = ROOT) -> None:
    """Start the app of a checkout in a terminal and wait until it has drawn the sign."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(root)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules would be compiled at each start
        os.environ.update(TERM="xterm-256color", PYTHONPATH=str(root), SRACL_HOME=str(home))
        os.execv(sys.executable, [sys.executable, "-P", "-m", "sracl_tui"])
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen = b""
    try:
        while sign not in seen:
            ready, _, _ = select.select([screen], [], [], PATIENCE_SECONDS)
            assert ready, f"{sign!r} was not drawn; the last bytes: {seen[-300:]!r}"
            seen += os.read(screen, 65536)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(screen)


@pytest.mark.benchmark(group="start of the app, 10,000 runs")
@pytest.mark.parametrize("what", ["first paint", "first runs"])
def test_start(benchmark, many, what):
    sign = b"Runs" if what == "first paint" else b"finished"
    benchmark.pedantic(until_drawn, (many.path, sign), rounds=5, warmup_rounds=1)
