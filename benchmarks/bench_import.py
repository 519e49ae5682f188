"""Time and memory of imports of large files, generated first: python -m benchmarks.bench_import [--texts] [MILLIONS ...].

Each import is a command of its own, in a new home; memory is the most that its process ever had resident (`ru_maxrss`).
`--texts` imports a few interactions with item texts as JSON lines, of as many times 100 MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np

from benchmarks.bench_catalog import slope

WORDS = [
    "blue",
    "gel",
    "pen",
    "refill",
    "office",
    "chair",
    "steel",
    "lamp",
    "paper",
    "tray",
    "desk",
    "ink",
    "left",
    "right",
    "soft",
    "hard",
    "wide",
]


def interactions(path: Path, rows: int) -> list[str]:
    """A CSV of one user for ten rows and one item for a hundred; some items are popular. Returns the options of its import."""
    users, items = max(1, rows // 10), max(1, rows // 100)
    query = f"""
        SELECT format('U{{:08d}}', hash(i) % {users}) AS user_id,
            format('B{{:07d}}', CAST(floor({items} * pow(hash(i + {rows}) % 1000000 / 1e6, 2)) AS BIGINT)) AS item_id,
            1374192000 + hash(i + 2 * {rows}) % 300000000 AS timestamp
        FROM range({rows}) AS rows(i)"""
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT csv, HEADER)")
    return ["--duplicates", "first", "--k-core", "5"]


def texts(path: Path, parts: int) -> list[str]:
    """A CSV of 100,000 items for each part, with a thousand characters of JSON each beside it."""
    count, rng = 100_000 * parts, np.random.default_rng(0)
    metadata = path.with_name("items.jsonl")
    with metadata.open("w") as file:
        for item in range(count):
            words = [WORDS[n] for n in rng.integers(0, len(WORDS), 180)]
            row = {"item_id": f"B{item}", "title": " ".join(words[:8]), "brand": words[8], "price": item % 90}
            features = [" ".join(words[first : first + 20]) for first in range(9, 89, 20)]
            file.write(json.dumps(row | {"features": features, "description": " ".join(words[89:])}) + "\n")
    with path.open("w") as file:
        file.write("user_id,item_id,timestamp\n")
        file.writelines(f"U{item // 5},B{item},{1_374_192_000 + item}\n" for item in range(count))
    return ["--items", str(metadata)]


def measure(folder: Path, options: list[str], path: Path) -> dict[str, float]:
    """Wall time and CPU in seconds, and the highest resident memory in MiB, of one import and of its database."""
    command = [sys.executable, "-m", "sracl_tui.cli", "data", "import", str(path), "--name", "big", *options]
    started = time.perf_counter()
    child = subprocess.Popen(command, env=os.environ | {"SRACL_HOME": str(folder / "home")})
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"the import ended with {os.waitstatus_to_exitcode(status)}")
    size = sum(file.stat().st_size for file in (folder / "home").glob("*.duckdb")) / 2**20
    return {
        "seconds": time.perf_counter() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,
        "database": size,
    }


def main() -> None:
    """One line for each size, and how CPU and memory grow: the slope of the logarithm over that of the size."""
    sizes = [float(word) for word in sys.argv[1:] if not word.startswith("-")] or [1, 5, 10]
    every: list[dict[str, float]] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "big.csv"
            options = texts(path, int(size)) if "--texts" in sys.argv else interactions(path, int(size * 1_000_000))
            read = sum(file.stat().st_size for file in Path(place).iterdir()) / 2**20
            found = measure(Path(place), options, path)
            sys.stdout.write(
                f"{size:g}: {read:.0f} MiB read in {found['seconds']:.1f} s ({found['cpu']:.1f} s of CPU), "
                f"memory {found['memory']:.0f} MiB, database {found['database']:.0f} MiB\n"
            )
            sys.stdout.flush()
            every.append(found)
    if len(sizes) > 1:
        slopes = {name: slope(sizes, [found[name] for found in every]) for name in ("cpu", "memory", "database")}
        sys.stdout.write("exponents: " + ", ".join(f"{name} {value:.2f}" for name, value in slopes.items()) + "\n")


if __name__ == "__main__":
    main()
