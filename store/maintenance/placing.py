"""Puts a new database file in the place of another one, which is kept beside it under a name with the time."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from store.database.connection import LOGS
from store.publishing.replacement import replace_file


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


def set_logs_aside(path: Path) -> list[str]:
    """Rename what stands in the place of a log and is no plain file; returns the new names.

    Raises:
        OSError: it cannot be renamed.
    """
    names: list[str] = []
    for suffix in LOGS:
        log = path.with_name(f"{path.name}{suffix}")
        if os.path.lexists(log) and not log.is_file():
            names.append(f"{log.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
            log.rename(log.with_name(names[-1]))
    return names


def put_in_place(path: Path, fresh: Path, before: dict[str, Any], word: str) -> str | None:
    """Replace a file by a new one and keep it as `STEM.WORD-TIME.duckdb`, with its logs; returns that name, None for no file.

    The new file is for whom the old one is, and for its owner alone where there is none. Something else than a file, such as a
    folder, is renamed.

    Args:
        before: the state of the file that is replaced.

    Raises:
        StoreBusy: another process writes, or has written since; nothing was changed.
        OSError: the file cannot be kept.
    """
    fresh.chmod(path.stat().st_mode & 0o777 if path.is_file() else 0o600)
    kept = _keep(path, word)
    try:
        replace_file(path, fresh, before)
    except BaseException:
        if kept is not None and path.is_file():
            for suffix in ("", *LOGS):
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
    for suffix in ("", *LOGS):
        if os.path.exists(f"{path}{suffix}"):
            try:
                os.link(f"{path}{suffix}", f"{kept}{suffix}")
            except OSError:  # a file system without hard links
                shutil.copyfile(f"{path}{suffix}", f"{kept}{suffix}")
    return kept
