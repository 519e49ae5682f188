"""Explains failures of the machine, such as a full disk, in one sentence."""

from __future__ import annotations

import errno
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_PHRASES = ("No space left", "Disk quota", "File too large")
_MEMORY_PHRASES = ("can't allocate memory", "out of memory", "Cannot allocate memory")


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, means a full disk or an exceeded quota."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in FULL) or any(
            phrase in str(error) for phrase in _FULL_PHRASES
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def known(error: BaseException, run_id: str, folder: Path) -> str | None:
    """The reason and how to continue, if the disk or memory is full or the run's folder is gone; None for other errors."""
    if isinstance(error, OSError) and not folder.is_dir():
        return gone(folder)
    if is_full(error):
        return f"disk full: {_first_line(error)}. All results so far are kept. Free some space, then: sracl run --resume {run_id}"
    if isinstance(error, MemoryError) or any(phrase in str(error) for phrase in _MEMORY_PHRASES):
        return (
            f"out of memory: {_first_line(error)}. With more memory free: sracl run --resume {run_id}; a run is resumed with its own "
            "settings, so to need less begin another one with a smaller train.batch, data.max_length or model.width"
        )
    return None


def gone(folder: Path) -> str:
    """Why a run cannot go on whose folder was deleted while it ran."""
    return (
        f"its folder was deleted while it ran: {folder}. What was published until then is in the database; run it again"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
