"""Time and memory of reading large published files, generated first: python benchmarks/readers.py [ROWS]."""

from __future__ import annotations

import gzip
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from engine.data.readers import read_source
from engine.data.readers.base import Wanted


def amazon(folder: Path, rows: int) -> Path:
    """Reviews of 2014 with about 500 letters each, and a tenth as many items as Python literals."""
    draw = random.Random(0)
    text = "x" * 500
    path = folder / "reviews_X_5.json.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        for n in range(rows):
            user, item = f"A{draw.randrange(rows // 8):013d}", f"B{draw.randrange(rows // 10):09d}"
            row = {
                "reviewerID": user,
                "asin": item,
                "reviewText": text,
                "overall": 5.0,
                "unixReviewTime": 1374192000 + n,
            }
            file.write(json.dumps(row) + "\n")
    with gzip.open(folder / "meta_X.json.gz", "wt", compresslevel=1) as file:
        for n in range(rows // 10):
            row = {"asin": f"B{n:09d}", "title": f"Pen {n}", "brand": "Pilot", "categories": [["Office", "Pens"]]}
            file.write(repr(row | {"related": {"also_bought": ["B000000001"] * 20}}) + "\n")
    return path


def movielens(folder: Path, rows: int) -> Path:
    """`ratings.dat`, with its movies."""
    draw = random.Random(0)
    path = folder / "ratings.dat"
    with path.open("w") as file:
        for n in range(rows):
            file.write(f"{draw.randrange(1, rows // 100)}::{draw.randrange(1, 4000)}::5::{978300760 + n}\n")
    (folder / "movies.dat").write_text("".join(f"{n}::Movie {n} (1995)::Drama|War\n" for n in range(1, 4000)))
    return path


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for make in (movielens, amazon):
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder), count)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            started, cpu = time.perf_counter(), time.process_time()
            raw, name = read_source(path, format=None, wanted=Wanted())
            seconds, busy = time.perf_counter() - started, time.process_time() - cpu
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            sys.stdout.write(
                f"{name}: {len(raw.users.codes):,} rows of {path.stat().st_size / 2**20:.0f} MiB in {seconds:.1f} s "
                f"({busy:.1f} s of CPU), memory {before / 1024:.0f} -> {peak / 1024:.0f} MiB\n"
            )
