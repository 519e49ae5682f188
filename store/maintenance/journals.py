"""Whether the journals of a home can still bring back what was taken from them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from store.errors import StoreError
from store.home import Home
from store.journal.journal import Line, read_lines, segment_name, segment_number, segments
from store.journal.seals import check_table
from store.publishing.bundle_reader import read_bundle
from store.publishing.projection import EDITS


@dataclass
class JournalsRead:
    """What `read_journals` found."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    """Sentences by source: a run's id, or `EDITS`."""
    unsealed: int = 0
    """Segments of earlier versions, whose lines have no checksums."""
    torn: list[str] = field(default_factory=list)
    """Segments that end in the middle of a line: one that is being written, or what is left of a longer file."""
    vectors: dict[str, set[str]] = field(default_factory=dict)
    """Hashes of texts by encoder, of all vectors that were taken in."""

    def tell(self, source: str, problem: str) -> None:
        """Add a problem."""
        self.problems.setdefault(source, []).append(problem)


def read_journals(home: Home, offsets: dict[tuple[str, int], int], runs: list[str]) -> JournalsRead:
    """Read every line of all journals and every table that a line names.

    Args:
        offsets: bytes that the database has taken in, by source and number of the segment; empty where it cannot be read.
        runs: ids of the runs that the database has.
    """
    found = JournalsRead()
    folders = {path.name for path in (*home.runs.glob("*"), *home.trash.glob("*")) if not path.name.startswith(".")}
    known = {source for source, _ in offsets} | set(runs)
    for source in sorted(folders | known - {EDITS}):
        taken = {number: position for (name, number), position in offsets.items() if name == source}
        path = home.present_folder(source)
        if not path.is_dir():
            if source in known or path.exists():
                found.tell(source, f"{path}: the folder of this run is missing; its rows are in no journal")
            continue
        _read_folder(path, source, taken, found)
    _read_folder(home.edits, EDITS, {n: at for (name, n), at in offsets.items() if name == EDITS}, found)
    return found


def _read_folder(folder: Path, source: str, taken: dict[int, int], found: JournalsRead) -> None:
    try:
        paths = {segment_number(path): path for path in segments(folder)}
    except OSError as error:
        found.tell(source, f"{folder}: cannot be read: {error.strerror}")
        return
    last = max([*paths, *taken], default=0)
    gone = [segment_name(number) for number in range(1, last + 1) if number not in paths]
    if gone:
        found.tell(source, f"{folder}: {', '.join(gone[:3])}{', ...' * (len(gone) > 3)} missing")
    for number, path in sorted(paths.items()):
        try:
            problems = list(_read_segment(path, taken.get(number, 0), found))
        except OSError as error:
            problems = [f"{path}: cannot be read: {error.strerror}"]
        for problem in problems:
            found.tell(source, problem)


def _read_segment(path: Path, taken: int, found: JournalsRead) -> Iterator[str]:
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        yield f"{path}: it is no plain file"
        return
    if state.st_size < taken:
        yield f"{path}: shorter than the part of it that was ingested"
    lines, end, problems = read_lines(path)
    yield from problems
    if end < state.st_size:
        found.torn.append(f"{path}: ends in the middle of a line; what followed is not there")
    found.unsealed += any(not line.sealed for line in lines)
    if not problems:
        yield from _lost_lines(path, lines)
    fresh = len(read_lines(path, taken)[0]) if state.st_size > taken else 0
    for place, line in enumerate(lines):
        problem = _table_problem(line)
        if problem:
            yield f"{line.table}: the table of {line.event!r} {problem}"
        elif line.event == "vectors_made" and place < len(lines) - fresh:
            _note_vectors(line, found)
        elif line.event == "bundle_imported":
            with suppress(KeyError, TypeError):
                try:
                    read_bundle(line.folder / line.fields["file"])
                except StoreError as error:
                    yield str(error).splitlines()[0]


def _lost_lines(path: Path, lines: list[Line]) -> Iterator[str]:
    """Sealed lines are numbered without gaps."""
    for place, line in enumerate(lines, start=1):
        if line.sealed and line.number != place:
            yield f"{path}: line {place} is missing; number {line.number} stands in its place"
            return


def _table_problem(line: Line) -> str | None:
    """What is wrong with the table of a line: one without a checksum is read in whole."""
    if line.table is None:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_table(line.table, line.table_bytes, line.table_sha256)
        if line.table_sha256 is None:
            pq.read_table(line.table)
    except StoreError as error:
        return f"cannot be read: {error}"
    except (OSError, ValueError, pa.ArrowException) as error:
        return f"cannot be read: {str(error).splitlines()[0]}"
    return None


def _note_vectors(line: Line, found: JournalsRead) -> None:
    import pyarrow.parquet as pq

    with suppress(KeyError, OSError, ValueError, TypeError):
        columns = line.fields.get("columns")
        names = (
            columns["sha256"] if columns else pq.read_table(str(line.table), columns=["sha256"])["sha256"].to_pylist()
        )
        found.vectors.setdefault(line.fields["encoder"], set()).update(names)
