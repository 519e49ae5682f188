"""Whether the machines that execute runs see the locks and files of a home, as two of them could else run one run."""

from __future__ import annotations

import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import EngineError
from sracl_tui.runs.execution.base import Executor
from store.home import Home
from store.locks import FileLock, held, host

WORDS = ("queue", "probe")
SECONDS = 60.0
"""For which each side waits for the other."""


@dataclass
class Probed:
    """What was seen."""

    host: str = ""
    """The other machine."""
    problems: list[str] = field(default_factory=list)


def probe(home: Home, executor: Executor) -> Probed:
    """Hold a lock here while a node tries it, then the other way round.

    Raises:
        EngineError: no command can be run on a node.
    """
    folder = home.cache / f"lock-probe-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    here = FileLock(folder / "here.lock")
    here.acquire()
    (folder / "here").write_text(secrets.token_hex(8))
    threads = ThreadPoolExecutor(1)
    try:
        asking = threads.submit(executor.run_elsewhere, [*WORDS, folder.name])
        found = Probed()
        while not asking.done() and not (folder / "there").exists():
            time.sleep(0.1)
        if (folder / "there").exists():
            if not held(folder / "there.lock"):
                found.problems.append("a lock that the node holds is not seen here")
            (folder / "seen").touch()
        told = json.loads(asking.result().strip().splitlines()[-1])
        found.host = told["host"]
        if told["host"] == host():
            found.host += " (this machine, so that nothing is known of others)"
        if told["free"]:
            found.problems.append(f"a lock that is held here is not seen on {told['host']}")
        if told["text"] != (folder / "here").read_text() or not told["seen"]:
            found.problems.append(f"a file that is written here is not seen on {told['host']}")
        return found
    finally:
        threads.shutdown()
        here.release()
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def answer(home: Home, name: str) -> dict[str, object]:
    """The node's part of `probe`: try the lock that the other machine holds, and hold one until it has looked.

    Args:
        name: of the folder in the cache of the home.

    Raises:
        EngineError: there is no such folder here.
    """
    folder = home.cache / Path(name).name
    if not folder.is_dir():
        raise EngineError("the home of the machine that asks is not seen here", where=str(folder))
    theirs, ours = FileLock(folder / "here.lock"), FileLock(folder / "there.lock")
    free = theirs.acquire()
    if free:
        theirs.release()
    ours.acquire()
    try:
        (folder / "there").touch()
        deadline = time.monotonic() + SECONDS
        while not (folder / "seen").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        return {
            "host": host(),
            "free": free,
            "text": (folder / "here").read_text(),
            "seen": (folder / "seen").exists(),
        }
    finally:
        ours.release()
