"""Text files as bytes: compression, encoding, and the line that an error is about."""

from __future__ import annotations

import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.data.readers.lines import mended
from engine.data.readers.packed import is_packed, member_name, open_unpacked
from engine.data.scratch import TEMPORARY, Workspace
from engine.errors import DataError

HEAD_BYTES = 1 << 16
BLOCK = 1 << 22
"""Bytes that are read at a time."""
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_LINE = re.compile(rb"[^\r\n]*")


def suffix_of(path: Path) -> str:
    """A file's ending in lower case, without that of its packing; of a zip archive that of the file in it."""
    return Path(_plain_name(path)).suffix


def stem_of(path: Path) -> str:
    """A file's name without its endings."""
    return _plain_name(path).removesuffix(suffix_of(path))


def _plain_name(path: Path) -> str:
    name = member_name(path).lower()
    return next((name.removesuffix(end) for end in (".gz", ".bz2", ".xz") if name.endswith(end)), name)


def first_line(path: Path) -> str:
    """The first line that is not blank, as far as the first 64 KiB go; empty where there is none or no text."""
    try:
        with open_unpacked(path) as file:
            head = file.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, DataError):
        return ""
    if b"\0" in head:
        return ""
    text = head.removeprefix(_BOM).decode("utf-8", errors="replace")
    return next((line for line in text.splitlines() if line.strip()), "")


def read_text(path: Path, *, limit: int) -> bytes:
    """The beginning of a text file, unpacked, without byte order mark, and proven to be UTF-8.

    Args:
        limit: maximum number of bytes to read; a line cut off by it is left out.

    Raises:
        DataError: it cannot be read, is empty, or is in another encoding.
    """
    data = read_bytes(path, limit=limit)
    _check_utf8(path, data, 0)
    return data


def read_bytes(path: Path, *, limit: int) -> bytes:
    """`read_text` for any encoding that writes line ends as ASCII does."""
    with _readable(path):
        data = _begin(path, limit)
    if not data.removeprefix(_BOM).strip():
        raise DataError("the file is empty", where=str(path))
    data = _begun(path, data)
    _check_nul(path, data, 0)
    return data


@dataclass
class Blocks:
    """A text file, unpacked and without byte order mark, in pieces of whole lines; it may be iterated over again."""

    path: Path
    work: Workspace = TEMPORARY
    older: bool = False
    """Lines that are not UTF-8 are read as Windows-1252, instead of being an error."""
    mended: int = 0
    """How many such lines the last iteration has met."""

    def __iter__(self) -> Iterator[bytes]:
        """Pieces in UTF-8; none of them is empty.

        Raises:
            DataError: the file cannot be read, is empty, or is in another encoding.
        """
        self.mended, lines, size, blank = 0, 0, self._size(), True
        with _readable(self.path), open_unpacked(self.path) as file:
            for number, data in enumerate(_whole_lines(file)):
                data = data if number else _begun(self.path, data)
                _check_nul(self.path, data, lines)
                count = data.count(b"\n")
                if self.older:
                    data, found = mended(data)
                    self.mended += found
                else:
                    _check_utf8(self.path, data, lines)
                lines += count
                blank = blank and data.isspace()
                if data:
                    yield data
                    self.work.tell(self._done(file.tell(), size))
        if blank:
            raise DataError("the file is empty", where=str(self.path))

    def _size(self) -> int:
        return 0 if is_packed(self.path) else self.path.stat().st_size

    def _done(self, read: int, size: int) -> str:
        of = f" of {size >> 20:,}" if size else ""
        return f"reading {self.path.name}: {read >> 20:,}{of} MiB"


@dataclass
class Mapped:
    """The pieces of a text with a change made to each; it may be iterated over again."""

    blocks: Iterable[bytes]
    change: Callable[[bytes], bytes]

    def __iter__(self) -> Iterator[bytes]:
        return map(self.change, self.blocks)


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """A file in pieces that end where a line does."""
    rest: list[bytes] = []
    while piece := file.read(BLOCK):
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r", 0, -1)) + 1  # a last \r may be half of a line end
        if end:
            yield b"".join([*rest, piece[:end]])
            rest = [piece[end:]] if end < len(piece) else []
        else:
            rest.append(piece)
    if rest:
        yield b"".join(rest)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Errors of the operating system and of unpacking as ours."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DataError(
            f"not readable as gzip: {error}", where=str(path), hint="The file may have been cut off; get it again."
        ) from None
    except OSError as error:
        raise DataError(f"not readable: {error.strerror or error}", where=str(path)) from None


def _begun(path: Path, data: bytes) -> bytes:
    """The first bytes of a file, without byte order mark.

    Raises:
        DataError: they are UTF-16.
    """
    for mark, encoding in _WIDE_BOMS.items():
        if data.startswith(mark):
            raise _encoding_error(path, 1, f"the file is in {encoding}, not in UTF-8", encoding)
    return data.removeprefix(_BOM)


def _check_nul(path: Path, data: bytes, lines: int) -> None:
    if (place := data.find(b"\0")) >= 0:
        hint = f"It may be in UTF-16: iconv -f UTF-16LE -t UTF-8 {path.name} > converted{suffix_of(path)}"
        wide = hint if data[:64].count(b"\0") > 16 else None
        raise DataError("there is a NUL byte in the text", where=f"{path}:{lines + line_at(data, place)}", hint=wide)


def _check_utf8(path: Path, data: bytes, lines: int) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _encoding_error(
            path,
            lines + line_at(data, error.start),
            f"byte 0x{data[error.start]:02X} is not UTF-8 text",
            "ISO-8859-1 (or what it is in)",
        ) from None


def _begin(path: Path, limit: int) -> bytes:
    with open_unpacked(path) as file:
        data = file.read(limit)
    return data[: data.rfind(b"\n") + 1] or data if len(data) == limit else data


def _encoding_error(path: Path, line: int, message: str, encoding: str) -> DataError:
    return DataError(
        message,
        where=f"{path}:{line}",
        hint=f"Convert the file first: iconv -f {encoding} -t UTF-8 {path.name} > converted{suffix_of(path)}",
    )


def line_at(data: bytes, place: int) -> int:
    """Number of the line that holds a byte, from 1."""
    return data.count(b"\n", 0, place) + 1


def split_header(data: bytes) -> tuple[str, int, int]:
    """The first line that is not blank, where the bytes behind it begin, and its number; the data are not blank."""
    start = len(data) - len(data.lstrip())
    start = max(data.rfind(b"\n", 0, start), data.rfind(b"\r", 0, start)) + 1  # keep blanks that are empty cells
    match = _LINE.match(data, start)
    end = match.end() if match else len(data)
    header = data[start:end].decode("utf-8")
    end += 2 if data[end : end + 2] == b"\r\n" else 1
    return header, min(end, len(data)), line_at(data, start)
