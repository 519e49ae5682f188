"""Seconds from a key on the screen Runs until the curves beside the list are drawn: `python -m benchmarks.bench_cockpit HOME`."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.quiet import wait_until_quiet
from store.home import Home

ROUNDS, RUNS = 10, 4
"""So many runs of the list are marked, or unmarked, one after the other; then the cursor goes back up."""


async def measured(home: Home) -> dict[str, list[float]]:
    """By what the key does: the curves of another run, or of one run more or less."""
    seconds: dict[str, list[float]] = {"space": [], "up": []}
    app = SraclApp(home)
    async with app.run_test(size=(160, 50)):
        await wait_until_quiet(app)
        for key in ("space",) * RUNS + ("up",) * RUNS:  # the first of each draws what later ones know
            app.simulate_key(key)
            await wait_until_quiet(app)
        for key in (("space",) * RUNS + ("up",) * RUNS) * ROUNDS:
            began = time.perf_counter()
            app.simulate_key(key)
            await wait_until_quiet(app)
            seconds[key].append(time.perf_counter() - began)
    return {"a run is marked": seconds["space"], "the cursor moves": seconds["up"]}


def main() -> None:
    """A line for each with the median and the most."""
    for what, found in asyncio.run(measured(Home(Path(sys.argv[1])))).items():
        sys.stdout.write(
            f"{what}: median {statistics.median(found):.3f} s, at most {max(found):.3f} s of {len(found)}\n"
        )


if __name__ == "__main__":
    main()
