"""Large text files line by line, plain or gzip; lines that are not UTF-8 are read as Windows-1252 and counted."""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from engine.data.readers.packed import is_packed, open_unpacked
from engine.data.scratch import TEMPORARY, Workspace
from engine.errors import DataError

LONGEST = 1 << 26
"""A file without line breaks is not read into memory."""
TOLD = 2_000
"""Lines between two reports."""
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass
class Lines:
    """The lines of a file that are not blank, with their numbers; to be iterated over once."""

    path: Path
    longest: int = LONGEST
    """Bytes of a line, at most."""
    work: Workspace = TEMPORARY
    """Whom to tell how far the reading is."""
    mended: int = 0
    """Lines so far that were not UTF-8."""
    read: int = 0
    """Unpacked bytes so far."""
    bad: int = 0
    """Lines that were left out."""
    bad_first: str = ""
    """What is wrong with the first of them."""

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Number from 1 and text of each line.

        Raises:
            DataError: the file cannot be read, is cut off, is UTF-16, or has a NUL byte or an endless line.
        """
        number = given = 0
        try:
            with _opened(self.path) as file:
                while line := file.readline(self.longest):
                    number += 1
                    self.read += len(line)
                    if number % TOLD == 0:
                        self.work.tell(f"reading {self.path.name}: {number:,} lines, {self.read >> 20:,} MiB")
                    if number == 1:
                        line = self._begun(line)
                    if not line.isspace():
                        given += 1
                        yield number, self._text(line, number)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
            raise DataError(
                f"not readable as gzip after {number:,} lines: {error}",
                where=str(self.path),
                hint="The file may have been cut off; get it again.",
            ) from None
        except OSError as error:
            raise DataError(f"not readable: {error.strerror or error}", where=str(self.path)) from None
        if not given:
            raise DataError("the file is empty", where=str(self.path))

    @property
    def warnings(self) -> list[str]:
        """A warning about lines in another encoding; empty where there are none."""
        return mended_warning(self.path, self.mended)

    def _begun(self, line: bytes) -> bytes:
        if line.startswith(_WIDE_BOMS):
            raise DataError("the file is in UTF-16, not in UTF-8", where=f"{self.path}:1", hint="Convert it first.")
        return line.removeprefix(_BOM) or b"\n"

    def _text(self, line: bytes, number: int) -> str:
        if b"\0" in line:
            raise DataError("there is a NUL byte in the text", where=f"{self.path}:{number}")
        if len(line) == self.longest:
            raise DataError(f"a line of more than {self.longest >> 20} MiB", where=f"{self.path}:{number}")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            self.mended += 1
            return older(line)


def mended(data: bytes) -> tuple[bytes, int]:
    """A text in UTF-8, and how many of its lines were not and are read as Windows-1252."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        count, lines = 0, data.splitlines(keepends=True)
        for place, line in enumerate(lines):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                lines[place] = older(line).encode()
                count += 1
        return b"".join(lines), count
    return data, 0


def mended_warning(path: Path, count: int) -> list[str]:
    """A warning about `count` lines in another encoding; empty for 0."""
    return [f"{count:,} lines of {path} are not UTF-8 and are read as Windows-1252"] if count else []


def older(line: bytes) -> str:
    """A line as Windows-1252; the five bytes that it does not have as Latin-1."""
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _opened(path: Path) -> BinaryIO | io.BufferedReader:
    if is_packed(path):
        return io.BufferedReader(cast(io.RawIOBase, open_unpacked(path)), 1 << 20)
    return path.open("rb", buffering=1 << 20)
