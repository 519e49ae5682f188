"""Atomic replacement of files: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path in the folder of `path` to write to; its file replaces `path` when the block ends, and goes when it raises.

    A reader finds the old file or the new one, never a part. Where the new one has to survive a power cut, call
    `flush_to_disk` within the block.

    Raises:
        OSError: the file cannot be renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a dead process with our number
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until the content of a file is on the disk (fsync).

    Raises:
        OSError: it cannot be opened or flushed.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())
