"""Atomic replacement of files, written under a temporary name, then renamed; and reading what a person may have replaced."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def read_regular(path: Path) -> str:
    """The text of a file in UTF-8; a pipe in its place would block its reader for ever.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe, a socket or a device.
        UnicodeError: it is no UTF-8.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without blocking, a pipe opens at once
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with os.fdopen(number, encoding="utf-8") as file:
        return file.read()


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
