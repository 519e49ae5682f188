"""Homes of a given size, and what a publish in them costs: `python -m benchmarks.growth FOLDER GIGABYTES` makes and measures one.

The rows are made in SQL, without compression, which takes long: a third summaries, a third neighbor lists, a third ranks of users;
and 5,000 runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from store.home import Home
from store.journal.journal import Journal, RunLock
from store.journal.processes import boot_id
from store.journal.seals import sealed
from store.publishing.publish import publish

RUNS = 5_000
USERS = 20_000
_PART = 1 / 3
_ROW_BYTES = {"summaries": 230.0, "neighbors": 21.0, "user_ranks": 31.0}
"""Bytes of a row in the file without compression, measured."""
_FILL = (
    "PRAGMA force_compression = 'uncompressed'",
    "INSERT INTO runs (run_id, kind, name, tags, note, config, config_hash, seed, state, created_at, segments, epoch, git_patch) "
    "SELECT 'made-' || n, 'train', 'made', ['a'], '', '{{\"loss\":{{\"alpha\":' || n || '}}}}', 'c' || n, 1, 'finished', "
    "now() AT TIME ZONE 'UTC', 1, 5, repeat('a line of a patch ' || n, 100) FROM range({runs}) t(n)",
    "INSERT INTO metrics SELECT 'made-' || n // 100, n % 100, n, 'valid', 'all', 'hr@20', random(), "
    "now() AT TIME ZONE 'UTC' FROM range({runs} * 100) t(n)",
    "INSERT INTO summaries SELECT sha256(n::VARCHAR), repeat('words of an answer ' || n, 8), 100, 50, 0, "
    "0.01, 'stop', false, 'made-1', now() AT TIME ZONE 'UTC' FROM range({summaries}) t(n)",
    "INSERT INTO neighbors SELECT 'list-' || n // 10000000, n // 100 % 100000, n % 100, n * 7919 % 130000, "
    "random() FROM range({neighbors}) t(n)",
    "INSERT INTO user_ranks SELECT 'made-' || n // 20000, 'test', n % 20000, n * 7919 % 12000, 500 "
    "FROM range({user_ranks}) t(n)",
    "PRAGMA force_compression = 'auto'",
)


def make_home(home: Home, gigabytes: float) -> None:
    """Fill a new home; the main database has about that size."""
    publish(home)
    counts = {table: int(gigabytes * 1e9 * _PART / size) for table, size in _ROW_BYTES.items()}

    def fill(connection: Any) -> None:
        for statement in _FILL:
            connection.execute(statement.format(runs=RUNS, **counts))

    publish(home, apply=fill)


def written() -> int:
    """Bytes that this process and its children that have ended gave the disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def measured(home: Home, what: str) -> dict[str, Any]:
    """Seconds, CPU seconds and megabytes written of one publish in a process of its own. Args: what: of `EVENTS`."""
    return _in_process("publish", str(home.path), what)


def make_journals(home: Home, megabytes: float, runs: int = 4) -> None:
    """Fill the journals of a new home: of every ten lines eight are epochs, one is an answer and one a call."""
    publish(home)
    for number in range(runs):
        folder = home.run_folder(f"long-{number}")
        folder.mkdir(parents=True)
        with (folder / "events-0001.jsonl").open("wb") as file:
            for place, line in enumerate(_lines(number), start=1):
                text = json.dumps({"n": place, "at": 1.76e9 + place, **line})
                file.write(sealed(text.encode()) + b"\n")
                if file.tell() > megabytes * 1e6 / runs:
                    break


def _lines(number: int) -> Iterator[dict[str, Any]]:
    fields = {
        "kind": "train",
        "name": "long",
        "preset": "default",
        "group_name": None,
        "config": {},
        "config_hash": "c",
    }
    yield {"event": "run_created", **fields, "run_id": f"long-{number}", "seed": 1, "tags": [], "note": ""}
    yield {"event": "run_started", "pid": 1, "host": platform.node(), "boot_id": "another"}
    tokens = {"tokens_in": [100], "tokens_out": [60], "tokens_cached": [0]}
    for n in count(1):
        if n % 10 < 8:
            metrics = [_metric(f"hr@{k}", n * k) for k in range(20)]
            times = {"seconds": 9.0, "evaluate_seconds": 1.0, "improved": True, "bad_epochs": 0}
            yield {"event": "epoch_finished", "epoch": n, "step": n * 100, **times, "metrics": metrics}
        elif n % 10 == 8:
            columns = {
                "key": [f"{number}-{n}"],
                "text": ["words of an answer " * 30],
                "fallback": [False],
                "usd": [0.1],
            }
            yield {"event": "summaries_made", "columns": columns | tokens | {"finish_reason": ["stop"]}}
        else:
            columns = {"key": [f"{number}-{n}"], "attempt": [1], "sent_at": [1.76e9], "status": [200], "error": [None]}
            yield {"event": "api_called", "provider": "p", "model": "m", "columns": columns | tokens | {"usd": [0.1]}}


def _metric(name: str, value: float) -> dict[str, Any]:
    return {"split": "valid", "subgroup": "all", "name": name, "value": value}


def ingest_peak(home: Home) -> dict[str, Any]:
    """Seconds, CPU seconds and the most memory, megabytes, of a process that takes a home's journals in."""
    return _in_process("ingest", str(home.path))


def _in_process(*words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.growth", *words], capture_output=True, check=True)
    return json.loads(done.stdout)


def _tag(home: Home) -> None:
    journal = Journal(home.edits)
    journal.append("run_tagged", {"run_id": "made-7", "add": [f"t{time.time_ns()}"], "remove": []})
    journal.close()


def _epoch(home: Home) -> None:
    """What a training run journals in ten seconds: a heartbeat and an epoch."""
    journal = _run(home)
    metrics = [{"split": "valid", "subgroup": "all", "name": f"hr@{k}", "value": 0.1} for k in range(12)]
    fields = {"epoch": 1, "step": 100, "seconds": 9.0, "evaluate_seconds": 1.0, "improved": True, "bad_epochs": 0}
    journal.append("epoch_finished", {**fields, "metrics": metrics})
    journal.close()


def _answers(home: Home) -> None:
    """Two hundred answers of a model."""
    journal = _run(home)
    stamp = time.time_ns()
    for n in range(200):
        key = hashlib.sha256(f"{stamp}-{n}".encode()).hexdigest()  # scattered over the index, as in a run
        columns: dict[str, Any] = {
            "key": [key],
            "text": ["words of an answer " * 30],
            "fallback": [False],
            "usd": [0.001],
        }
        columns |= {"tokens_in": [100], "tokens_out": [60], "tokens_cached": [0], "finish_reason": ["stop"]}
        journal.append("summaries_made", {}, columns=columns, durable=True)
    journal.close()


def _neighbors(home: Home) -> None:
    """A list of 1,000 x 100 neighbors."""
    import numpy as np

    random, journal = np.random.default_rng(1), _run(home)
    columns: dict[str, Any] = {
        "anchor_id": np.repeat(np.arange(1000, dtype=np.int32), 100),
        "rank": np.tile(np.arange(100, dtype=np.int16), 1000),
        "neighbor_id": random.integers(1, 130_000, 100_000).astype(np.int32),
        "similarity": random.random(100_000, dtype=np.float32),
    }
    fields = {"list_id": f"l{time.time_ns()}", "dataset_id": "d", "kind": "user", "parameters": {}, "recall": None}
    journal.append("neighbors_found", fields, columns=columns)
    journal.close()


EVENTS = {"tag": _tag, "epoch": _epoch, "200 answers": _answers, "100,000 neighbors": _neighbors}
"""What is new in a publish, by name."""


def _run(home: Home) -> Journal:
    """The journal of a run that this process executes."""
    run_id = f"own-{os.getpid()}"
    RunLock(home.runs / run_id).acquire()
    journal = Journal(home.runs / run_id)
    fields = {"kind": "train", "name": "own", "preset": "default", "group_name": None, "config": {}, "config_hash": "c"}
    journal.append("run_created", {**fields, "run_id": run_id, "seed": 1, "tags": [], "note": ""})
    journal.append("run_started", {"pid": os.getpid(), "host": platform.node(), "boot_id": boot_id()})
    return journal


def _publish_measured(home: Home, what: str) -> dict[str, Any]:
    EVENTS[what](home)
    os.sync()
    before, cpu, started = written(), sum(os.times()[:4]), time.perf_counter()
    publish(home)
    seconds, cpu = time.perf_counter() - started, sum(os.times()[:4]) - cpu
    return {"what": what, "seconds": seconds, "cpu_seconds": cpu, "megabytes": (written() - before) / 1e6}


def main(words: list[str]) -> dict[str, Any] | list[dict[str, Any]]:
    """Do what the command line says; returns what was measured."""
    if words[0] == "publish":
        return _publish_measured(Home(Path(words[1])), words[2])
    if words[0] == "ingest":
        started = time.perf_counter()
        events = publish(Home(Path(words[1]))).events
        status = Path("/proc/self/status").read_text("ascii")  # `ru_maxrss` counts the process that started this one
        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
        spent = {"seconds": time.perf_counter() - started, "cpu_seconds": sum(os.times()[:4])}
        return {"events": events, **spent, "megabytes": peak / 1e6}
    home = Home(Path(words[0]))
    make_home(home, float(words[1]))
    found = [{"size": home.database.stat().st_size / 1e9}]
    for _ in range(3):
        found += [measured(home, what) for what in EVENTS]
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:]), indent=1))  # noqa: T201 - its answer
