"""Known data sets by name, from their publishers' addresses: downloads resume, are checked and unpacked.

pooch checks and unpacks; the download itself is ours, as pooch cannot resume one. A file grows as `NAME.part` and gets its
name when its checksum is right.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.errors import ConfigError, FetchError
from engine.files import atomic_write, read_regular

Progress = Callable[[str, int, int | None], None]
"""Called with the name of a file, its bytes so far, and its total bytes where known."""
RECORD = "fetched.json"
OWN = "datasets.toml"
"""File in a home with further data sets, in the form of published.toml; they take precedence."""
TIMEOUT = 30.0


_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A data set is downloaded into a folder of its name."""


@dataclass(frozen=True)
class File:
    """One download."""

    url: str
    bytes: int | None = None
    checksum: str | None = None
    """`sha256:...` or `md5:...`."""

    @property
    def name(self) -> str:
        return Path(urlsplit(self.url).path).name


@dataclass(frozen=True)
class Known:
    """A data set that can be fetched."""

    name: str
    what: str
    page: str
    licence: str
    files: tuple[File, ...]


def known(own: Path | None = None) -> dict[str, Known]:
    """Every data set by name.

    Args:
        own: a user's own file; it need not exist.

    Raises:
        ConfigError: the user's file is not readable as data sets.
    """
    found = _parsed(resources.files("engine.data").joinpath("published.toml").read_text("utf-8"))
    if own is not None and own.exists():
        try:
            found |= _parsed(read_regular(own))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            hint = "Each is [NAME] with files = [{ url = ... }]; what, page, licence, bytes and checksum are optional."
            raise ConfigError(f"not readable as data sets: {error!r}", where=str(own), hint=hint) from None
    return found


def _parsed(text: str) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for name, entry in tomllib.loads(text).items():
        if not _FOLDER.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a folder's name")
        files = tuple(File(**file) for file in entry["files"])
        for file in files:
            if file.name in ("", ".."):
                raise ValueError(f"{file.url!r} names no file")
        what, page, licence = entry.get("what", ""), entry.get("page", ""), entry.get("licence", "unknown")
        found[name] = Known(name, what, page, licence, files)
    return found


def checksum_of(file: File, folder: Path) -> str | None:
    """The checksum that a download must have: the publisher's, else that of the first download; none before it."""
    return file.checksum or _record(folder).get(file.url)


def fetch(entry: Known, folder: Path, *, progress: Progress = lambda name, done, total: None) -> Path:
    """The folder with a data set's files; missing files are downloaded.

    Raises:
        FetchError: the network cannot be reached, a download breaks off, or a checksum differs. What arrived is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = folder
    for file in entry.files:
        path = _fetched(entry, file, folder, progress)
        if path.suffix == ".zip":
            result = _unpacked(path)
    return result


def _fetched(entry: Known, file: File, folder: Path, progress: Progress) -> Path:
    pooch: Any = importlib.import_module("pooch")
    pooch.get_logger().setLevel("ERROR")
    wanted = checksum_of(file, folder)
    path = folder / file.name
    if (
        path.exists()
        and wanted is not None
        and pooch.file_hash(path, alg=_algorithm(wanted)) == wanted.partition(":")[2]
    ):
        return path
    path.unlink(missing_ok=True)  # another checksum, or a first download that was not recorded
    part = folder / f"{file.name}.part"

    def download(url: str, output: str, _: Any) -> None:
        _resume(entry, file, part, progress)
        os.replace(part, output)

    try:
        pooch.retrieve(url=file.url, known_hash=wanted, fname=file.name, path=folder, downloader=download)
    except ValueError as error:  # raised by pooch when the hash differs
        raise FetchError(
            f"its checksum is not {wanted}: the file was changed at its source, or on its way",
            where=file.url,
            hint=f"If you know why it changed, remove {folder} and fetch it again. {_by_hand(entry)}",
        ) from error
    record = _record(folder) | {file.url: f"sha256:{pooch.file_hash(path, alg='sha256')}"}
    with atomic_write(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1), "utf-8")
    _notes(part).unlink(missing_ok=True)
    return path


def _algorithm(checksum: str) -> str:
    return checksum.partition(":")[0]


def _record(folder: Path) -> dict[str, str]:
    try:
        return json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _resume(entry: Known, file: File, part: Path, progress: Progress) -> None:
    """Download the rest of `part`, or all of it where the server cannot resume.

    Raises:
        FetchError: the server refuses, the connection breaks off, or the file cannot be written.
    """
    import httpx2 as http

    try:
        with http.Client(follow_redirects=True, timeout=TIMEOUT) as client:
            have = part.stat().st_size if part.exists() else 0
            version = _notes(part).read_text("utf-8") if have and _notes(part).exists() else ""
            headers = {"Accept-Encoding": "identity"}
            if have and version:
                headers |= {"Range": f"bytes={have}-", "If-Range": version}
            with client.stream("GET", file.url, headers=headers) as answer:
                if (
                    answer.status_code == 416
                ):  # range not satisfiable: the file is complete or has become shorter, so request all of it
                    part.unlink()
                elif answer.status_code not in (200, 206):
                    raise FetchError(
                        f"the server answers {answer.status_code} {answer.reason_phrase}",
                        where=file.url,
                        hint=_by_hand(entry),
                    )
                else:
                    _append(file, part, answer, have if answer.status_code == 206 else 0, progress)
                    return
        _resume(entry, file, part, progress)
    except http.TransportError as error:
        cause = str(error) or type(error).__name__
        raise FetchError(f"cannot be reached, or broke off: {cause}", where=file.url, hint=_by_hand(entry)) from None
    except OSError as error:
        raise FetchError(f"cannot be written: {error.strerror or error}", where=str(part)) from None


def _append(file: File, part: Path, answer: Any, have: int, progress: Progress) -> None:
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    if version and not version.startswith("W/"):  # a weak ETag does not promise equal bytes
        _notes(part).write_text(version, "utf-8")
    else:
        _notes(part).unlink(missing_ok=True)
    length = answer.headers.get("Content-Length", "")
    total = have + int(length) if length.isdigit() else file.bytes
    with part.open("ab" if have else "wb") as output:
        progress(file.name, have, total)
        for chunk in answer.iter_raw():
            output.write(chunk)
            have += len(chunk)
            progress(file.name, have, total)
    if total is not None and have != total:
        raise FetchError(
            f"broke off after {have:,} of {total:,} bytes", where=file.url, hint="The next download resumes from there."
        )


def _notes(part: Path) -> Path:
    """The file with the server's ETag or date of a partial download."""
    return part.with_name(f"{part.name}.version")


def _by_hand(entry: Known) -> str:
    addresses = " and ".join(file.url for file in entry.files)
    return f"Or download {addresses} elsewhere, and: sracl data import PATH --name {entry.name}"


def _unpacked(path: Path) -> Path:
    """Unpack an archive into a folder of its name; returns the one folder inside, else that folder.

    Raises:
        FetchError: it is damaged.
    """
    import zipfile

    target = path.with_suffix("")
    try:
        importlib.import_module("pooch").Unzip(extract_dir=target.name)(str(path), "download", None)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise FetchError(
            f"not readable as zip: {error}", where=str(path), hint="Remove it and fetch it again."
        ) from None
    inside = [other for other in target.iterdir() if not other.name.startswith((".", "__MACOSX"))]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target
