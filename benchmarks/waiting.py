"""What a person waits for, in two states of the code by turns: python -m benchmarks.waiting FOLDER DATA [--only NAME ...].

FOLDER is another checkout of sracl, from d4a462a on (`git worktree add --detach FOLDER d4a462a`), and DATA the folder of Amazon Office 2014 in
RecBole's form. Each state has homes of its own. A line has the median wall time of both states, in seconds, and their ratio; `-` stands
where a state has no such command. A state's own demo is what `sracl demo` runs there: one of more runs than another's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench_start import until_drawn

HERE = Path(__file__).resolve().parents[1]
TEXTS = ("--set", "provider=titles", "--set", "vector=item-mean")


class State:
    """A checkout, and the homes that its commands fill."""

    def __init__(self, root: Path, homes: Path, data: Path) -> None:
        self.root, self.homes, self.data = root, homes, data
        homes.mkdir()

    def run(self, home: str, *words: str, module: str = "sracl_tui.cli") -> bool:
        """Run a command in one of the homes; whether it is one of this state's."""
        done = self._start(home, module, *words)
        if done.returncode == 2 and "No such command" in done.stderr:
            return False
        if done.returncode:
            raise SystemExit(f"{self.root}: {' '.join(words)}: {done.stderr or done.stdout}")
        return True

    def _start(self, home: str, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        place = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        }  # it slows each start
        place |= {"PYTHONPATH": str(self.root), "SRACL_HOME": str(self.homes / home), "COLUMNS": "300"}
        command = [sys.executable, "-P", "-m", module, *words]
        return subprocess.run(command, cwd=self.root, env=place, capture_output=True, text=True, check=False)

    def demo(self) -> bool:
        """The whole demo, in a new home."""
        shutil.rmtree(self.homes / "demo", ignore_errors=True)
        return self.run("demo", "demo")

    def office(self) -> bool:
        """From a folder of data to the end of a run of one epoch, texts and neighbors included."""
        shutil.rmtree(self.homes / "office", ignore_errors=True)
        self.run("office", "data", "import", str(self.data), "--name", "office")
        return self.run("office", "run", "--dataset", "office", *TEXTS, "--set", "epochs=1", "--headless")

    def plain(self) -> bool:
        """Five epochs of the plain backbone, in the home that `office` leaves."""
        return self.run(
            "office", "run", "--dataset", "office", "--preset", "backbone", "--set", "epochs=5", "--headless"
        )

    def compare(self) -> bool:
        """Two runs of the demo compared by users, in the home that `demo` leaves."""
        first = "demo-backbone"
        listed = self._start("demo", "sracl_tui.cli", "runs").stdout
        second = "demo-sracl" if "demo-sracl" in listed else "demo-default"
        return self.run("demo", "compare", first, second, "--split", "test")

    def runs(self) -> bool:
        """The list of 10,000 runs."""
        self.many()
        return self.run("many", "runs", "--json")

    def paint(self) -> bool:
        """From the start of the app to its first paint, with 10,000 runs."""
        self.many()
        until_drawn(self.homes / "many", b"Runs", root=self.root)
        return True

    def quick(self) -> bool:
        """The study `quick` in a new home."""
        shutil.rmtree(self.homes / "quick", ignore_errors=True)
        return self.run("quick", "study", "run", "quick", "--headless")

    def many(self) -> None:
        """Make the home of 10,000 runs, once."""
        if not (self.homes / "many").exists():
            self.run("", str(self.homes / "many"), module="benchmarks.many")


THINGS: dict[str, tuple[Callable[[State], bool], int]] = {
    "demo": (State.demo, 1),
    "office": (State.office, 2),
    "plain": (State.plain, 2),
    "compare": (State.compare, 5),
    "runs": (State.runs, 5),
    "paint": (State.paint, 5),
    "quick": (State.quick, 1),
}
"""By name: what is waited for, and how often."""
MADE_BY = {"compare": State.demo, "plain": State.office}
"""What has to be done before, where it was not."""


def main() -> None:
    """Time each thing in both states by turns, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=THINGS, default=list(THINGS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        states = [
            State(root.resolve(), Path(place) / name, asked.data.resolve())
            for name, root in (("before", asked.folder), ("now", HERE))
        ]
        for name in asked.only:
            thing, rounds = THINGS[name]
            seconds: list[list[float]] = [[], []]
            for state in states:
                if name in MADE_BY and not (state.homes / MADE_BY[name].__name__).exists():
                    MADE_BY[name](state)
                thing(state) if rounds > 2 else None  # warm
            for _ in range(rounds):
                for state, kept in zip(states, seconds, strict=True):
                    start = time.perf_counter()
                    if thing(state):
                        kept.append(time.perf_counter() - start)
            before, now = (statistics.median(kept) if kept else None for kept in seconds)
            shown = [f"{value:8.2f}" if value is not None else f"{'-':>8}" for value in (before, now)]
            ratio = f"{now / before:6.2f}" if before and now else f"{'-':>6}"
            sys.stdout.write(f"{name:<10}{''.join(shown)}{ratio}   {(thing.__doc__ or '').strip()}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
