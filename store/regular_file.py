"""Opening what others may have put in a file's place: a pipe would block its reader for ever, a device never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; links to files are followed.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe, a socket or a device.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without blocking, a pipe opens at once
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(number, "rb")


def read_regular(path: Path) -> bytes:
    """All bytes of a file that `open_regular` opens."""
    with open_regular(path) as file:
        return file.read()
