"""Puts a new database file in the place of another one, which is kept beside it under a name with the time."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from store.publishing.replacement import LOGS, replace_file


def logs_of(path: Path) -> dict[str, Any]:
    """The state, as `copy_file` gives it, of logs whose file is missing or is none: the new file must not meet them."""
    return {suffix: state for suffix, state in state_of(path).items() if suffix}


def state_of(path: Path) -> dict[str, Any]:
    """Inode, size and time of a file (key "") and of its logs, as `copy_file` gives them, without a copy."""
    found: dict[str, Any] = {}
    for suffix in ("", *LOGS):
        with suppress(OSError):
            seen = os.stat(f"{path}{suffix}")
            if seen.st_size or not suffix:
                found[suffix] = [seen.st_ino, seen.st_size, seen.st_mtime_ns]
    return found


def put_in_place(path: Path, fresh: Path, before: dict[str, Any], word: str) -> str | None:
    """Replace a file by a new one and keep it as `STEM.WORD-TIME.duckdb`, with its log; returns that name, None for no file.

    Something else than a file, such as a folder, is renamed.

    Args:
        before: the state of the file that is replaced.

    Raises:
        StoreBusy: another process writes, or has written since; nothing was changed.
        OSError: the file cannot be kept.
    """
    kept = _keep(path, word)
    try:
        replace_file(path, fresh, before)
    except BaseException:
        if kept is not None and path.is_file():
            for suffix in ("", ".wal"):
                Path(f"{kept}{suffix}").unlink(missing_ok=True)
        raise
    return None if kept is None else kept.name


def _keep(path: Path, word: str) -> Path | None:
    if not os.path.lexists(path):
        return None
    stamp, number = time.strftime("%Y%m%d-%H%M%S", time.gmtime()), 1
    kept = path.with_name(f"{path.stem}.{word}-{stamp}.duckdb")
    while os.path.lexists(kept):
        number += 1
        kept = path.with_name(f"{path.stem}.{word}-{stamp}-{number}.duckdb")
    if not path.is_file():
        path.rename(kept)
        return kept
    for suffix in ("", ".wal"):
        if os.path.exists(f"{path}{suffix}"):
            try:
                os.link(f"{path}{suffix}", f"{kept}{suffix}")
            except OSError:  # a file system without hard links
                shutil.copyfile(f"{path}{suffix}", f"{kept}{suffix}")
    return kept
