"""Exact neighbors of many prefixes in shards: `python -m benchmarks.bench_neighbors [--jobs N] [PREFIXES ...]`, such as `--jobs 16 1000000`.

The data are those of `bench_prefixes`; item vectors are TF-IDF of titles, 128 numbers. Every job is a process; the CPU seconds are those of stage
`neighbors` in all jobs together, and the memory is the most that was resident in any of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bench_catalog import slope
from benchmarks.bench_prefixes import make

SIZES = [20_000, 40_000]
SETTINGS = ("vector=item-mean", "encoder=tfidf", "provider=titles", "alpha=0.1", "beta=0", "threads=1")


def job(home: Path, run_id: str) -> dict[str, float]:
    """CPU seconds of the search of one job, and its peak of memory."""
    import resource

    from engine.events import Event, StageFinished, StageStarted
    from sracl_tui.runs.execute import execute
    from sracl_tui.runs.request import RunRequest
    from store.home import Home

    began, spent = 0.0, 0.0

    def seen(event: Event) -> None:
        nonlocal began, spent
        if isinstance(event, StageStarted) and event.stage == "neighbors":
            began = time.process_time()
        elif isinstance(event, StageFinished) and event.stage == "neighbors":
            spent = time.process_time() - began

    place = Home(home)
    result = execute(place, RunRequest.read(place.run_folder(run_id)), listener=seen, resume=True)
    if result.error is not None:
        raise result.error
    return {"cpu": spent, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


def measured(prefixes: int, jobs: int) -> dict[str, float]:
    """All jobs of one set."""
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), prefixes)
        environment = os.environ | {"SRACL_HOME": name, "OMP_NUM_THREADS": "1"}
        sets = [word for setting in SETTINGS for word in ("--set", setting)]
        words = ["neighbors", "--dataset", "made", *sets, "--shards", str(jobs), "--json"]
        added = _output([sys.executable, "-m", "sracl_tui.cli", *words], environment)["added"]
        started = time.perf_counter()
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.bench_neighbors", "--job", name, run_id],
                stdout=subprocess.PIPE,
                env=environment,
            )
            for run_id in added
        ]
        found = [json.loads(process.communicate()[0]) for process in processes]
        seconds = time.perf_counter() - started
    cpu, memory = sum(one["cpu"] for one in found), max(one["memory"] for one in found)
    return {"seconds": seconds, "cpu": cpu, "memory": memory}


def _output(words: list[str], environment: dict[str, str]) -> Any:
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, env=environment).stdout)


def main() -> None:
    """A line for each size, and the exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--job", nargs=2, metavar=("HOME", "RUN"))
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES)
    given = parser.parse_args()
    say = sys.stdout.write
    if given.job:
        say(json.dumps(job(Path(given.job[0]), given.job[1])))
        return
    found = []
    for size in given.sizes:
        found.append(measured(size, given.jobs))
        one = found[-1]
        say(
            f"{size:12,} prefixes, {given.jobs} jobs: {one['seconds']:.1f} s, {one['cpu']:.1f} s of CPU, {one['memory']:.0f} MB\n"
        )
        sys.stdout.flush()
    if len(found) > 1:
        cpu, memory = (slope(given.sizes, [one[name] for one in found]) for name in ("cpu", "memory"))
        say(f"exponents: CPU {cpu:.2f}, memory {memory:.2f}; load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
