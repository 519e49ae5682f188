"""Seconds from a key on the screen What if until the ranks are drawn: `python -m benchmarks.bench_what_if HOME`, of the newest run there."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.quiet import wait_until_quiet
from sracl_tui.tui.screens.what_if import WhatIfScreen
from store.home import Home

CHANGES = 40


async def measured(home: Home) -> list[float]:
    """Each change leaves out an item of the first user's history or takes it back."""
    app, seconds = SraclApp(home), []
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_until_quiet(app)
        for key in ("i", "w"):
            await pilot.press(key)
            await wait_until_quiet(app)
        assert isinstance(app.screen, WhatIfScreen)
        for number in range(CHANGES):
            began = time.perf_counter()
            app.simulate_key("space")
            await wait_until_quiet(app)
            seconds.append(time.perf_counter() - began)
            if number % 3 == 0:
                await pilot.press("down")
    return seconds


def main() -> None:
    """A line with the median and the most."""
    found = asyncio.run(measured(Home(Path(sys.argv[1]))))
    sys.stdout.write(f"{len(found)} changes: median {statistics.median(found):.3f} s, at most {max(found):.3f} s\n")


if __name__ == "__main__":
    main()
