"""Checksums of what a run writes: a CRC-32 in every line of a journal, length and SHA-256 of every table that a line names.

A sealed line ends in `,"crc":"89abcdef"}`; the number is over all bytes before that. Versions up to 0.1.0 wrote none, so a line
without a seal is one of theirs, or damaged where its segment has sealed lines. They find accidents, not forgers.
"""

from __future__ import annotations

import hashlib
import stat
import zlib
from pathlib import Path
from typing import Any

from store.errors import StoreError

_MARK = b',"crc":"'
_TAIL = len(_MARK) + 10
"""Bytes of a seal: the mark, eight hexadecimal digits, and the end of the line's object."""


def sealed(line: bytes) -> bytes:
    """A line of JSON with its seal; `line` is an object that is not empty, without a newline."""
    body = line[:-1]
    return b'%b%b%08x"}' % (body, _MARK, zlib.crc32(body))


def is_sealed(line: bytes) -> bool | None:
    """True for a line with the right seal, None for one without a seal, False for one that was changed."""
    body, tail = line[:-_TAIL], line[-_TAIL:]
    right = b'%08x"}' % zlib.crc32(body) == tail[len(_MARK) :]
    if tail.startswith(_MARK):
        return right
    return False if right else None  # the right number under a name that is not ours: the name was changed


def table_facts(path: Path) -> dict[str, Any]:
    """What a line says of its table's file beside the name: fields `table_bytes` and `table_sha256`."""
    with path.open("rb") as file:
        return {"table_bytes": path.stat().st_size, "table_sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def check_table(path: Path, size: int | None, sha256: str | None) -> None:
    """Compare a table's file with what its line says.

    Args:
        size: bytes, and
        sha256: the hash of the content; None where the line is of an earlier version and says nothing.

    Raises:
        StoreError: it is missing, no plain file, of another length, or was changed.
        OSError: it cannot be read.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise StoreError("it is missing") from None
    if not stat.S_ISREG(found.st_mode):
        raise StoreError("it is no plain file")
    if size is not None and found.st_size != size:
        raise StoreError(f"it has {found.st_size:,} bytes, and {size:,} were written")
    if sha256 is not None:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise StoreError("its content is not what was written: the checksum differs")
