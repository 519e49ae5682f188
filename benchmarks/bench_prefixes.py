"""Memory of a training with vectors of item means, by prefix: `python -m benchmarks.bench_prefixes [PREFIXES ...]`.

Data are made: users with 12 interactions, so 9 training prefixes each, item vectors of 384 random numbers, and neighbor lists that nobody searched. Every
run is a process of its own, which trains a few steps and does everything else whole: data, texts, vectors, neighbor lists (made, then stored), test, and what a
run keeps. The most that is resident (VmHWM) is read at each change of stage; what one prefix more takes is the difference of two sizes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np

SIZES = (100_000, 300_000)
LENGTH, ITEMS, NUMBERS, STEPS = 12, 10_000, 384, 10
SETTINGS = (
    "dataset=made",
    "vector=item-mean",
    "provider=titles",
    "encoder=made",
    "backend=made",
    "epochs=1",
    "width=16",
    "inner=16",
    "threads=2",
    "device=cpu",
)


def make(home: Path, prefixes: int) -> None:
    """Store the data set."""
    from engine.data.dataset import Dataset, Items
    from sracl_tui.runs.dataset_access import to_record
    from store.home import Home
    from store.queries import datasets

    users = prefixes // (LENGTH - 3)
    sequence = (ITEMS * np.random.default_rng(1).random(users * LENGTH) ** 2).astype(np.int32) + 1
    names = [f"item {number}" for number in range(ITEMS)]
    items = Items(raw_ids=names, titles=names, attributes=[{}] * ITEMS)
    offsets = np.arange(0, users * LENGTH + 1, LENGTH)
    times = np.arange(users * LENGTH, dtype=np.int64)
    dataset = Dataset("made", [f"user {number}" for number in range(users)], items, sequence, offsets, times)
    Home(home).create()
    datasets.add(Home(home), to_record(dataset))


def run(home: Path) -> dict[str, int]:
    """Bytes that were resident at most in each stage of one run."""
    from engine.config_files import load_config
    from engine.data.batching.windows import Windows
    from engine.events import Event, NeighborsFound, StageFinished, StageStarted
    from sracl_tui.runs.execute import execute
    from sracl_tui.runs.request import RunRequest, new_run_id
    from store.home import Home

    _made_parts()
    batches = Windows.batches
    Windows.batches = lambda *words: batches(*words)[:STEPS]  # type: ignore[method-assign]
    peaks: dict[str, int] = {}
    stage = "start"

    def turn(name: str) -> None:
        nonlocal stage
        peaks[stage] = max(peaks.get(stage, 0), _peak())
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        stage = name

    def seen(event: Event) -> None:
        if isinstance(event, StageStarted):
            turn(event.stage)
        elif isinstance(event, StageFinished):
            turn("training, test" if event.stage == "neighbors" else "start")
        elif isinstance(event, NeighborsFound):
            turn("neighbors")

    config, _ = load_config(assignments=SETTINGS)
    result = execute(Home(home), RunRequest(run_id=new_run_id(), config=config), listener=seen)
    if result.error is not None:
        raise result.error
    turn("")
    return peaks


def _made_parts() -> None:
    """An encoder and a search backend, under the name `made`, that take no time."""
    from engine.data.vector_rows import VectorRows
    from engine.extension_points import BACKENDS, ENCODERS
    from engine.retrieval.backend import Found
    from engine.retrieval.backends import Exact
    from engine.semantics.encoders.encoder import TextEncoder

    class Encoder(TextEncoder):
        name = "made"

        @property
        def dimension(self) -> int:
            return NUMBERS

        def encode(self, texts: list[str]) -> Any:
            return np.random.default_rng(1).standard_normal((len(texts), NUMBERS), np.float32)

    class Backend(Exact):
        def find(self, candidates: VectorRows, queries: VectorRows, skip: Any, *, k: int, step: Any) -> Found:
            vectors = queries.take(np.arange(min(len(queries), 1000)))  # as a search reads them
            shift = 1 + np.arange(k) * 7919
            columns = (skip[:, 1:] + shift) % len(candidates)  # (Q, k)
            columns[(columns >= skip[:, :1]) & (columns < skip[:, 1:])] = -1
            columns = -np.sort(-columns, axis=1)
            return Found(columns, np.where(columns < 0, 0, vectors.max()).astype(np.float32))

    module = sys.modules[__name__]
    for registry, made in ((ENCODERS, Encoder), (BACKENDS, Backend)):
        setattr(module, made.__name__, made)
        cast(dict[str, str], registry.ours)["made"] = f"{__name__}:{made.__name__}"


def _peak() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def measured(prefixes: int) -> dict[str, dict[str, int]]:
    """Peaks of a run that makes its lists, and of one that finds them stored."""
    words = [sys.executable, "-m", "benchmarks.bench_prefixes"]
    with tempfile.TemporaryDirectory() as home:
        subprocess.run([*words, "make", home, str(prefixes)], check=True)
        runs = [subprocess.run([*words, "run", home], check=True, stdout=subprocess.PIPE) for _ in range(2)]
    return {name: json.loads(done.stdout) for name, done in zip(("lists made", "lists stored"), runs, strict=True)}


def main(sizes: list[int]) -> None:
    """A line for each stage: peaks in MB, and bytes by prefix between the first and the last size."""
    found = [measured(size) for size in sizes]
    say = sys.stdout.write
    for way in found[0]:
        say(f"{way:20}" + "".join(f"{size:>12,}" for size in sizes) + f"{'bytes a prefix':>16}\n")
        for stage in [*found[0][way], "all"]:
            peaks = [max(one[way].values()) if stage == "all" else one[way][stage] for one in found]
            slope = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0])
            say(f"{stage:20}" + "".join(f"{peak / 1e6:9,.0f} MB" for peak in peaks) + f"{slope:16.0f}\n")
    say(f"load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["run"]:
        from benchmarks import bench_prefixes  # its parts are found by the module's name

        sys.stdout.write(json.dumps(bench_prefixes.run(Path(sys.argv[2]))))
    else:
        main([int(word.replace(",", "")) for word in sys.argv[1:]] or list(SIZES))
