"""Training steps of two states of the code in turns, on Office: python -m benchmarks.step_pairs FOLDER [--threads N] [--rounds N].

FOLDER is another checkout of sracl, from d4a462a on (`git worktree add --detach FOLDER d4a462a`). Each way is timed there, here, and here
without the kernels in C, each in a process of its own; the processes step in turns, so that what else the machine does falls on all of them.
Ways: sracl in both modes, the plain backbone, and duorec where the other checkout has it. A line has medians of wall and CPU time, and
the ratio of the medians to those of the other checkout.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
WARM = 3
SETTINGS: dict[str, dict[str, object]] = {
    "ours": {},
    "sequence": {},
    "backbone": {"alpha": 0.0, "beta": 0.0},
    "duorec": {"method": "duorec"},
}
CHILD = """
import gc, sys, time
from pathlib import Path
gc.set_threshold(50_000, 20, 50)  # as the command does
import torch
torch.set_num_threads(int(sys.argv[1]))
from benchmarks import bench_training, conftest
if Path("engine", "config_files.py").exists():  # an installed package would be found in place of what this checkout lacks
    from engine.config_files import build_config
else:
    from engine.config import build_config
way, settings = sys.argv[2], eval(sys.argv[3])
bench_training.OURS = (*bench_training.OURS, "duorec")
step = bench_training._stepper(conftest._load("amazon-office-2014", Path(sys.argv[4])), build_config(settings), way)
print("ready", flush=True)
for _ in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
"""


@dataclass
class Stepper:
    """A process that steps when it is told to."""

    name: str
    process: subprocess.Popen[str]
    seconds: list[tuple[float, float]] = field(default_factory=list)

    def step(self) -> tuple[float, float]:
        """Wall and CPU seconds of a step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        wall, cpu = self.process.stdout.readline().split()
        return float(wall), float(cpu)

    def medians(self) -> tuple[float, float]:
        """Of wall and CPU seconds."""
        walls, cpus = zip(*self.seconds, strict=True)
        return statistics.median(walls), statistics.median(cpus)


def start(name: str, folder: Path, way: str, threads: int, cache: Path, **variables: str) -> Stepper | None:
    """A stepper of a checkout, ready; none where it lacks the way."""
    threaded = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    environment = os.environ | threaded | variables | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", CHILD, str(threads), way, repr(SETTINGS[way]), str(cache)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return Stepper(name, process) if process.stdout.readline().strip() == "ready" else None


def main() -> None:
    """Print a line for each way and state."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ways", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--cache", type=Path, default=HERE / ".pytest_cache" / "sracl")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    for way in options.ways:
        given = (way, options.threads, options.cache.resolve())
        before = start("before", options.folder.resolve(), *given)
        found = [before, start("now", HERE, *given), start("now, no kernels", HERE, *given, SRACL_KERNELS="off")]
        steppers = [each for each in found if each is not None]
        if before is None:
            sys.stdout.write(f"{way:9} is not there\n")
        for number in range(WARM + options.rounds):
            for stepper in steppers:
                seconds = stepper.step()
                if number >= WARM:
                    stepper.seconds.append(seconds)
        for stepper in steppers:
            (wall, cpu), (wall0, cpu0) = stepper.medians(), steppers[0].medians()
            sys.stdout.write(
                f"{way:9} {stepper.name:16} wall {1000 * wall:6.1f} ms ({wall / wall0:.2f}), CPU {1000 * cpu:6.1f} ms ({cpu / cpu0:.2f})\n"
            )
            sys.stdout.flush()
            assert stepper.process.stdin is not None
            stepper.process.stdin.close()
            stepper.process.wait()


if __name__ == "__main__":
    main()
