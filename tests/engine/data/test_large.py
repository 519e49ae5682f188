"""Imports in many parts, of which most are in files: the same data set, warnings and errors as in one part in memory."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data import ordering, scratch
from engine.data.importing import ImportOptions, import_dataset
from engine.data.readers import columns, delimited, json_lines, table, text
from engine.data.scratch import Column, Spool, Workspace
from engine.errors import DataError, ScratchFull

Outcome = dict[str, Any]


def in_small_parts(monkeypatch: pytest.MonkeyPatch, rows: int = 3, block: int = 64) -> None:
    """As if so many rows and bytes were all that fits in memory."""
    for module in (scratch, ordering, columns, table):
        if hasattr(module, "PART"):
            monkeypatch.setattr(module, "PART", rows)
    monkeypatch.setattr(scratch, "SMALL", 0)
    monkeypatch.setattr(text, "BLOCK", block)
    monkeypatch.setattr(delimited, "BLOCK", block)
    monkeypatch.setattr(json_lines, "_CHUNK", rows)


def outcome(path: Path, options: ImportOptions) -> Outcome:
    """All that an import gives, or its error."""
    try:
        dataset, report = import_dataset(path, name="x", options=options)
    except DataError as error:
        return {"error": (error.message, error.where, error.hint)}
    return {
        "sha256": dataset.sha256,
        "users": dataset.user_raw_ids,
        "items": dataset.items,
        "sequence": dataset.sequence.tolist(),
        "offsets": dataset.offsets.tolist(),
        "times": None if dataset.timestamps is None else dataset.timestamps.tolist(),
        "microseconds": None if dataset.microseconds is None else dataset.microseconds.tolist(),
        "report": replace(report, seconds=0.0),
    }


def both_ways(path: Path, options: ImportOptions, **parts: int) -> Outcome:
    """The outcome, proven to be the same in small parts."""
    whole = outcome(path, options)
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_small_parts(monkeypatch, **parts)
        assert outcome(path, options) == whole, path
    return whole


def write_random(folder: Path, seed: int) -> tuple[Path, ImportOptions]:
    """A file of one of several formats with repeats, ties, late and bad rows and texts, and options for it."""
    draw = random.Random(seed)
    rows, users, items = draw.randrange(5, 120), draw.randrange(1, 12), draw.randrange(1, 15)
    form = draw.choice(["csv", "csv", "quoted", "tsv", "jsonl", "sequences", "ratings", "parquet"])
    numeric = form in ("sequences", "ratings") or draw.random() < 0.3
    when = draw.choice(["s", "ms", "date", "calendar", "float"])
    lines: list[tuple[str, str, str, str]] = []
    for _ in range(rows):
        seconds = 1_374_192_000 + draw.randrange(200)
        stamp = {
            "s": str(seconds),
            "ms": f"{seconds}{draw.randrange(3):03d}",
            "date": f"2014-07-{1 + seconds % 28:02d} 10:{seconds % 60:02d}:00",
            "calendar": f"201407{1 + seconds % 28:02d}",
            "float": f"{seconds}.{draw.randrange(3)}",
        }[when]
        bad = draw.random()
        user = "" if bad < 0.01 else f"{'' if numeric else 'u'}{1 + draw.randrange(users)}"
        item = f"{1 + draw.randrange(items)}" if numeric else f"i{1 + draw.randrange(items)}"
        title = f"Pen, {item}\nred" if form == "quoted" else f"Pen {item if draw.random() > 0.05 else 'x'}"
        lines.append((user, item, "soon" if 0.01 < bad < 0.02 else stamp, title))
    path = folder / f"f{seed}.{'csv' if form == 'quoted' else 'txt' if form == 'sequences' else form}"
    if form == "sequences":
        path.write_text("".join(f"{u or 1} {i} {i}\n" for u, i, _, _ in lines))
    elif form == "ratings":
        path = path.with_suffix(".dat")
        path.write_text("".join(f"{u}::{i}::{draw.randrange(1, 6)}::{t}\n" for u, i, t, _ in lines))
    elif form == "jsonl":
        fields = ("user_id", "item_id", "timestamp", "note")
        objects = (", ".join(f'"{f}": "{c}"' for f, c in zip(fields, line, strict=True)) for line in lines)
        path.write_text("".join(f"{{{line}}}\n" for line in objects))
    elif form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = ("user_id", "item_id", "timestamp", "title")
        pq.write_table(pa.table(dict(zip(names, zip(*lines, strict=True), strict=True))), path, row_group_size=7)
    else:
        mark = "\t" if form == "tsv" else ","
        quote = '"' if form == "quoted" else ""
        cells = (mark.join((u, i, t, f"{quote}{n}{quote}")) for u, i, t, n in lines)
        more = "a,b\n" if draw.random() < 0.1 else ""
        path.write_text(f"user_id{mark}item_id{mark}timestamp{mark}title\n" + "\n".join(cells) + "\n" + more)
    options = ImportOptions(
        format="ratings" if form == "ratings" else None,
        k_core=draw.choice([0, 0, 2, 3]),
        min_length=draw.choice([0, 0, 2]),
        max_length=draw.choice([None, None, 3]),
        duplicates=draw.choice(["keep", "first", "last"]),
        ties=draw.choice(["source", "item", "random"]),
        bad_rows="refuse" if form == "sequences" else draw.choice(["refuse", "drop", "drop"]),
    )
    return path, options


@pytest.mark.parametrize(
    "seeds", [range(30), pytest.param(range(30, 400), marks=pytest.mark.soak)], ids=["some", "many"]
)
def test_random_files_in_small_parts(tmp_path: Path, seeds: range) -> None:
    """Files in seven formats."""
    good = 0
    for seed in seeds:
        path, options = write_random(tmp_path, seed)
        good += "error" not in both_ways(path, options, rows=1 + seed % 9, block=24 + seed % 90)
    assert good > len(seeds) / 3


def slowly(rows: list[tuple[str, str, int]], options: ImportOptions) -> list[tuple[str, list[tuple[str, int]]]]:
    """Users in order of number with their items and times, by the plainest code."""
    by_user: dict[str, list[tuple[int, int, str]]] = {}
    for place, (user, item, time) in enumerate(rows):
        by_user.setdefault(user, []).append((time, place, item))
    for history in by_user.values():
        history.sort()
        if options.duplicates != "keep":
            seen: set[str] = set()
            last = options.duplicates == "last"
            kept = [row for row in (history[::-1] if last else history) if not (row[2] in seen or seen.add(row[2]))]
            history[:] = kept[::-1] if last else kept
    while options.k_core > 1:
        counts: dict[str, int] = {}
        for history in by_user.values():
            for _, _, item in history:
                counts[item] = counts.get(item, 0) + 1
        before = sum(map(len, by_user.values()))
        by_user = {
            user: [row for row in history if counts[row[2]] >= options.k_core]
            for user, history in by_user.items()
            if len(history) >= options.k_core
        }
        if sum(map(len, by_user.values())) == before:
            break
    by_user = {user: history for user, history in by_user.items() if history and len(history) >= options.min_length}
    by_user = {user: history[-(options.max_length or len(history)) :] for user, history in by_user.items()}
    first = {user: min(place for _, place, _ in history) for user, history in by_user.items()}
    return [
        (user, [(item, time) for time, _, item in by_user[user]]) for user in sorted(by_user, key=first.__getitem__)
    ]


@pytest.mark.parametrize(
    "seeds", [range(25), pytest.param(range(25, 400), marks=pytest.mark.soak)], ids=["some", "many"]
)
def test_order_repeats_and_core_by_the_plainest_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: range
) -> None:
    """Random sets of up to 300 rows, in parts of 1 to 40 rows."""
    nothing = 0
    for seed in seeds:
        draw = random.Random(seed)
        users, items = draw.randrange(1, 30), draw.randrange(1, 20)
        rows = [
            (f"u{draw.randrange(users)}", f"i{int(items * draw.random() ** 2)}", 10**9 + draw.randrange(50))
            for _ in range(draw.randrange(1, 300))
        ]
        path = tmp_path / f"{seed}.csv"
        path.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
        options = ImportOptions(
            k_core=draw.randrange(6),
            duplicates=draw.choice(["keep", "first", "last"]),
            min_length=draw.choice([0, 3]),
            max_length=draw.choice([None, 4]),
        )
        want = slowly(rows, options)
        in_small_parts(monkeypatch, rows=draw.randrange(1, 41), block=200)
        if not want:
            nothing += 1
            with pytest.raises(DataError, match="nothing is left"):
                import_dataset(path, name="x", options=options)
            continue
        dataset, report = import_dataset(path, name="x", options=options)
        assert dataset.timestamps is not None
        names = [dataset.items.raw_ids[item - 1] for item in dataset.sequence]
        pairs = list(zip(names, dataset.timestamps.tolist(), strict=True))
        found = [
            (user, pairs[start:end])
            for user, start, end in zip(dataset.user_raw_ids, dataset.offsets, dataset.offsets[1:], strict=False)
        ]
        assert found == want, seed
        assert report.rows_read - report.rows_dropped == len(pairs)
    assert nothing < len(seeds) / 2


def test_more_pairs_than_32_bits_count(tmp_path: Path) -> None:
    """70,000 users and as many items: a pair's number needs 33 bits."""
    count = 70_000
    path = tmp_path / "wide.csv"
    lines = [f"u{n},i{n},{10**9 + n}\n" for n in range(count)]
    path.write_text("user,item,time\n" + "".join(lines) + lines[0])
    dataset, report = import_dataset(path, name="x", options=ImportOptions(duplicates="first"))
    assert (len(dataset.sequence), report.dropped) == (count, {"repeated interactions": 1})


def test_columns_that_are_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    monkeypatch.setattr(scratch, "SMALL", 100)
    column = Column(Workspace(), np.int32)
    for first in range(0, 1000, 10):
        column.append(np.arange(first, first + 10))
    whole = column.whole()
    assert isinstance(whole, np.memmap)
    for part in scratch.slices(1000, whole, part=7):
        assert np.array_equal(whole[part], np.arange(part.start, part.stop)), "also after the pages were given back"
    spool = Spool(pa.schema([("a", pa.string()), ("b", pa.int64())]), Workspace())
    for n in range(30):
        spool.append(pa.record_batch({"a": [f"x{n}"] * 5, "b": [n] * 5}))
    spool.close()
    for _ in range(2):
        assert pa.chunked_array(list(spool.column(1))).to_pylist() == [n for n in range(30) for _ in range(5)]
        assert next(iter(spool.column(0))).to_pylist() == ["x0"] * 5


@pytest.mark.parametrize("problem", ["folder", "room"])
def test_no_room_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    in_small_parts(monkeypatch)
    path = tmp_path / "x.csv"
    path.write_text("user,item,time\n" + "".join(f"u{n % 9},i{n},{10**9 + n}\n" for n in range(50)))
    folder = tmp_path / "gone"
    if problem == "room":
        folder = Path("/dev/full").parent
        monkeypatch.setattr(scratch.tempfile, "TemporaryFile", lambda dir: io.FileIO("/dev/full", "r+"))
    with pytest.raises(ScratchFull, match="no room for temporary files") as found:
        import_dataset(path, name="x", scratch=lambda: folder)
    assert found.value.where == str(folder)
