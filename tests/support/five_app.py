"""The app without a terminal, for so many seconds: how late its list of runs is behind the journals, and what troubled it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from sracl_tui.tui.app import SraclApp
from store.home import Home
from store.journal.journal import Tail

TRAININGS = ("first", "second")


async def watch(home: Home, seconds: float) -> dict[str, object]:
    """Open the list of runs and look at it ten times a second."""
    app = SraclApp(home)
    waiting: list[tuple[str, int, float]] = []
    late: list[float] = []
    troubles: set[str] = set()
    async with app.run_test(size=(120, 40)) as pilot:
        tails = {run_id: Tail(home.run_folder(run_id)) for run_id in TRAININGS}
        deadline, begun = time.time() + seconds, time.time()
        while time.time() < deadline:
            await pilot.pause(0.1)
            for run_id, tail in tails.items():
                lines = [line for line in tail.read() if line.event == "epoch_finished" and line.at > begun]
                waiting += [(run_id, line.fields["epoch"], line.at) for line in lines]
            shown = {row["run_id"]: row.get("epoch") or 0 for row in app.runs}
            now = time.time()
            late += [now - at for run_id, epoch, at in waiting if shown.get(run_id, 0) >= epoch]
            waiting = [one for one in waiting if shown.get(one[0], 0) < one[1]]
            if app.status.trouble:
                troubles.add(app.status.trouble)
    late.sort()
    return {
        "epochs": len(late),
        "median": late[len(late) // 2],
        "p99": late[int(0.99 * len(late))],
        "most": late[-1],
        "unseen": len([one for one in waiting if one[2] < time.time() - 2]),
        "troubles": sorted(troubles),
    }


if __name__ == "__main__":
    done = asyncio.run(watch(Home(Path(sys.argv[1])), float(sys.argv[2])))
    Path(sys.argv[3]).write_text(json.dumps(done))
