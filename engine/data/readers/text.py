"""Text files as bytes: compression, encoding, and the line that an error is about."""

from __future__ import annotations

import gzip
import lzma
import re
import zipfile
import zlib
from pathlib import Path

from engine.data.readers.packed import member_name, open_unpacked
from engine.errors import DataError

HEAD_BYTES = 1 << 16
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


def read_text(path: Path, *, limit: int | None = None) -> bytes:
    """A text file's bytes, unpacked, without byte order mark, and proven to be UTF-8.

    Args:
        limit: maximum number of bytes to read; a line cut off by it is left out.

    Raises:
        DataError: it cannot be read, is empty, or is in another encoding.
    """
    data = read_bytes(path, limit=limit)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = line_at(data, error.start)
        raise _encoding_error(
            path, line, f"byte 0x{data[error.start]:02X} is not UTF-8 text", "ISO-8859-1 (or what it is in)"
        ) from None
    return data


def read_bytes(path: Path, *, limit: int | None = None) -> bytes:
    """`read_text` for any encoding that writes line ends as ASCII does."""
    try:
        if limit is not None:
            data = _begin(path, limit)
        else:
            with open_unpacked(path) as file:
                data = file.read()
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DataError(
            f"not readable as gzip: {error}", where=str(path), hint="The file may have been cut off; get it again."
        ) from None
    except OSError as error:
        raise DataError(f"not readable: {error.strerror or error}", where=str(path)) from None
    if not data.removeprefix(_BOM).strip():
        raise DataError("the file is empty", where=str(path))
    for mark, encoding in _WIDE_BOMS.items():
        if data.startswith(mark):
            raise _encoding_error(path, 1, f"the file is in {encoding}, not in UTF-8", encoding)
    data = data.removeprefix(_BOM)
    if (place := data.find(b"\0")) >= 0:
        raise DataError("there is a NUL byte in the text", where=f"{path}:{line_at(data, place)}")
    return data


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
