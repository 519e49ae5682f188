"""Something else in the place of a lock file of a home: with it the processes that need the lock cannot go on."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from store.home import Home
from store.locks import held, is_misplaced

_PLACES = (
    # folders of the home, and names of the lock files in them
    (".", "publish.lock"),
    ("queue", "order.lock"),
    ("queue/working", "*.lock"),
    ("cache", "*.lock"),
    ("logs", ".*.lock"),
    ("runs/*", "lock"),
    ("trash/*", "lock"),
)


def misplaced(home: Home) -> list[Path]:
    """What stands in the place of a lock file and is none: a folder, pipe, socket, device or dead link."""
    return [path for path in _lock_files(home) if is_misplaced(path)]


def set_aside(home: Home) -> list[str]:
    """Move what stands in the place of lock files to the top of the home, where nobody holds it as a lock.

    Returns:
        What was done, in sentences; `misplaced` has what could not be moved.
    """
    stamp, done = time.strftime("%Y%m%d-%H%M%S", time.gmtime()), list[str]()
    for path in misplaced(home):
        to = home.path / f"{'-'.join(path.relative_to(home.path).parts)}.damaged-{stamp}"
        with suppress(OSError):
            if not held(path):  # a process of an earlier version locks a pipe, too
                path.rename(to)
                done.append(f"{path} was no lock file, and stands aside as {to.name}")
    return done


def _lock_files(home: Home) -> Iterator[Path]:
    for folders, name in _PLACES:
        for folder in sorted(home.path.glob(folders)) if "*" in folders else [home.path / folders]:
            if "*" not in name:
                yield folder / name
                continue
            with suppress(OSError):
                yield from (folder / found for found in sorted(os.listdir(folder)) if fnmatch.fnmatch(found, name))
