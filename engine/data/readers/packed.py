"""Packed files: gzip, bzip2, xz and zip by their first bytes, whatever they are called; and files that hold no text at all."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from engine.errors import DataError

_GZIP, _BZIP2, _XZ, _ZIP = b"\x1f\x8b", b"BZh91AY&SY", b"\xfd7zXZ\x00", b"PK\x03\x04"
_BESIDE = re.compile(r"\.|readme|licen[cs]e", re.IGNORECASE)
"""Names of files that stand beside the data in an archive."""
_TAR = slice(257, 262)
_NO_PICKLES = "It could run code, so it is not read: save it by DataFrame.to_parquet or to_csv."
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a spreadsheet of Excel (.xls)", "Save it as CSV."),
    *((bytes([0x80, protocol]), "a pickle of Python", _NO_PICKLES) for protocol in (2, 3, 4, 5)),
    (b"SQLite format 3\x00", "a database of SQLite", "Export its table as CSV."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "Save it as CSV or Parquet."),
    (b"\x93NUMPY", "an array of NumPy", "Save it as CSV or Parquet."),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard", "Unpack it: unzstd FILE."),
    (b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip", "Unpack it first."),
    (b"Rar!", "a RAR archive", "Unpack it first."),
    (b"ARROW1\x00\x00", "an Arrow (Feather) file", "Save it as Parquet."),
    (b"FEA1", "a Feather file", "Save it as Parquet."),
    (b"ORC", "an ORC file", "Save it as Parquet."),
    (b"Obj\x01", "an Avro file", "Save it as Parquet."),
    (b"%PDF-", "a PDF document", "Get its table as CSV."),
    (b"X\n\x00\x00", "data of R (.rds)", "Save it by write.csv."),
    (b"RDX", "data of R (.RData)", "Save it by write.csv."),
    (b"<stata_dta>", "data of Stata", "Save it as CSV."),
    (b"MATLAB ", "data of MATLAB", "Save it as CSV."),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file", "Get the file: git lfs pull."),
    *((page, "a web page", "Sign in where the file is, and get it again.") for page in (b"<!doctype html", b"<html")),
)
"""First bytes of files that are not read, what they are, and what to do."""


def start_of(path: Path, count: int = 16) -> bytes:
    """The first bytes of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def is_packed(path: Path) -> bool:
    """Whether a file is packed, by its ending or its first bytes: its size says nothing about its rows."""
    return path.suffix.lower() == ".gz" or start_of(path).startswith((_GZIP, _BZIP2, _XZ, _ZIP))


def open_unpacked(path: Path) -> BinaryIO:
    """A file's own bytes, unpacked where it is packed.

    Raises:
        DataError: a zip archive has no file or several, or is damaged.
        OSError: it cannot be read.
    """
    start = start_of(path)
    if start.startswith(_ZIP):
        try:
            archive = zipfile.ZipFile(path)
            return cast(BinaryIO, archive.open(_only_member(archive, path)))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise DataError(
                f"not readable as zip: {error}", where=str(path), hint="Unpack it, and name what was in it."
            ) from None
    if start.startswith(_BZIP2):
        return cast(BinaryIO, bz2.open(path))
    if start.startswith(_XZ):
        return cast(BinaryIO, lzma.open(path))
    packed = path.suffix.lower() == ".gz" or start.startswith(_GZIP)
    return cast(BinaryIO, gzip.open(path) if packed else path.open("rb"))


def _only_member(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    names = [name for name in names if _BESIDE.match(Path(name).name) is None] or names
    if len(names) != 1:
        some = ", ".join(names[:4])
        raise DataError(
            f"an archive of {len(names)} files: {some}",
            where=str(path),
            hint="Unpack it, and name the folder or a file.",
        )
    return names[0]


def member_name(path: Path) -> str:
    """Name of the file in a zip archive of one file, by which its format is told; the archive's own for others."""
    if path.suffix.lower() != ".zip":
        return path.name
    try:
        with zipfile.ZipFile(path) as archive:
            return Path(_only_member(archive, path)).name
    except (OSError, zipfile.BadZipFile, DataError):
        return path.name


def refuse_foreign(path: Path) -> None:
    """Refuse a file that holds no table as text or Parquet, also a packed one, and say what it is.

    Raises:
        DataError: it is such a file, or a zip archive that is not of one file.
    """
    if start_of(path).startswith(_ZIP):
        _refuse_archive(path)
    start, inner = start_of(path, _TAR.stop), is_packed(path)
    if inner:
        try:
            with open_unpacked(path) as file:
                start = file.read(_TAR.stop)
        except (OSError, EOFError, zlib.error, lzma.LZMAError):
            return  # its reading will tell
    for magic, what, hint in _FOREIGN:
        if start[: len(magic)].lower() == magic.lower():
            raise DataError(f"this is {what}, not a table as text or Parquet", where=str(path), hint=hint)
    if start[_TAR] == b"ustar":
        raise DataError("this is an archive (.tar)", where=str(path), hint="Unpack it: tar -xf FILE.")
    if inner and start.startswith((_GZIP, _BZIP2, _XZ, _ZIP, b"PAR1")):
        raise DataError("there is a packed file in a packed file", where=str(path), hint="Unpack it once.")


def _refuse_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "[Content_Types].xml" in names:
                raise DataError(
                    "this is a spreadsheet of Excel (.xlsx)", where=str(path), hint="Save its sheet as CSV."
                )
            if "mimetype" in names and "content.xml" in names:
                raise DataError("this is a spreadsheet (.ods)", where=str(path), hint="Save its sheet as CSV.")
            if names and all(name.endswith(".npy") for name in names):
                raise DataError(
                    "these are arrays of NumPy (.npz)", where=str(path), hint="Save them as CSV or Parquet."
                )
            _only_member(archive, path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"not readable as zip: {error}", where=str(path), hint="Get the file again.") from None
