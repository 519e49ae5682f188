"""A training step by one and by two processes, on Office and Beauty: python -m benchmarks.bench_processes [--steps N] [METHOD ...].

Each row is a training of its own, which is stopped after some steps: median seconds of a step, CPU seconds of all its processes for each, and
how these compare with one process of one thread. Two processes have one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.config import RetrievalConfig
    from engine.data.dataset import Dataset
    from engine.methods.semantics import Semantics

DATA = ("amazon-office-2014", "amazon-beauty-2014")
METHODS = ("plain", "sracl", "duorec")
WAYS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes": (2, 1)}
WARM = 3
SIZE = 384
"""Of a semantic vector."""
TICKS = os.sysconf("SC_CLK_TCK")


def _cpu_seconds() -> float:
    """Of this process and those that it has started."""
    total = time.process_time()
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            with suppress(OSError):
                times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                total += sum(map(int, times)) / TICKS
    return total


def _random_semantics(dataset: Dataset, config: RetrievalConfig) -> Semantics:
    """Vectors and neighbors as large as a run's: which they are changes no step's time."""
    import torch

    from engine.data.dataset import TRAIN
    from engine.methods.semantics import Semantics

    torch.manual_seed(1)
    train, anchors, items = torch.from_numpy(dataset.anchors.ids(TRAIN)), len(dataset.anchors), len(dataset.items)
    neighbors = train[torch.randint(len(train), (anchors + 1, config.k))]
    substitutes = torch.randint(1, items + 1, (items + 1, config.item_k))
    return Semantics(
        user_vectors=torch.randn(anchors + 1, SIZE),
        user_rows=torch.arange(anchors + 1),
        neighbors=neighbors,
        similarity=torch.rand(neighbors.shape),
        item_vectors=torch.randn(items + 1, SIZE),
        substitutes=substitutes,
        item_similarity=torch.rand(substitutes.shape),
    )


def _one(name: str, method: str, processes: int, threads: int, steps: int) -> dict[str, float]:
    """Median seconds of a step, and CPU seconds for each, behind the first ones."""
    from benchmarks.conftest import DATA as FOLDER
    from engine.config_files import build_config
    from engine.data.importing import import_dataset
    from engine.events import ignore
    from engine.processes import ALONE
    from engine.training import workers
    from engine.training.trainer import Stopped, Trainer

    config = build_config({"method": method, "device": "cpu", "threads": threads, "processes": processes})
    dataset, _ = import_dataset(FOLDER / name, name=name)
    semantics = _random_semantics(dataset, config.retrieval) if config.needs else None
    moments: list[float] = []
    cpu: list[float] = []

    def stop() -> bool:
        moments.append(time.perf_counter())
        if len(moments) in (WARM, WARM + steps):
            cpu.append(_cpu_seconds())
        return len(moments) == WARM + steps

    started = nullcontext(ALONE) if processes == 1 else workers.started(config, dataset, semantics)
    with tempfile.TemporaryDirectory() as folder, started as group, suppress(Stopped):
        Trainer(config, dataset, semantics, folder=Path(folder), report=ignore, stop=stop, processes=group).run()
    each = [after - before for before, after in zip(moments[WARM - 1 :], moments[WARM:], strict=False)]
    return {"seconds": median(each), "cpu": (cpu[1] - cpu[0]) / steps}


def main(methods: list[str], steps: int) -> None:
    """Print a table; a data set that is not there is left out, and named."""
    from benchmarks.conftest import DATA as FOLDER

    sys.stdout.write(f"load average {os.getloadavg()[0]:.1f}\n\n")
    sys.stdout.write(
        "| data | method | | ms a step | CPU ms a step | time | CPU |\n|---|---|---|---:|---:|---:|---:|\n"
    )
    for name in DATA:
        if not (FOLDER / name).is_dir():
            sys.stdout.write(f"{name} is left out: it does not lie beside the project\n")
            continue
        for method in methods:
            first = None
            for way, (processes, threads) in WAYS.items():
                words = ["one", name, method, str(processes), str(threads), str(steps)]
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.bench_processes", *words], stdout=subprocess.PIPE, check=True
                )
                found = json.loads(done.stdout)
                first = first or found
                sys.stdout.write(
                    f"| {name} | {method} | {way} | {1e3 * found['seconds']:.0f} | {1e3 * found['cpu']:.0f} "
                    f"| {found['seconds'] / first['seconds']:.2f} | {found['cpu'] / first['cpu']:.2f} |\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        sys.stdout.write(json.dumps(_one(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("methods", nargs="*", default=list(METHODS), metavar="METHOD")
        parser.add_argument("--steps", type=int, default=30)
        given = parser.parse_args()
        main(given.methods, given.steps)
