"""Why a run ended, in a sentence."""

from __future__ import annotations

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = ("No space left", "Disk quota", "File too large")
_MEMORY_WORDS = ("can't allocate memory", "out of memory", "Cannot allocate memory")


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in FULL) or any(word in str(error) for word in _FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def known(error: BaseException, run_id: str) -> str | None:
    """The sentence for what happens to machines; none for anything else."""
    if is_full(error):
        return f"disk full: {_first(error)}. Everything until then is kept; with room: sracl run --resume {run_id}"
    if isinstance(error, MemoryError) or any(word in str(error) for word in _MEMORY_WORDS):
        return f"out of memory: {_first(error)}. Less train.batch or another device helps; then: sracl run --resume {run_id}"
    return None


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
