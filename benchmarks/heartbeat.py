"""How long the app's event loop is ever blocked: `python -m benchmarks.heartbeat HOME [MINUTES]`.

A scripted person walks through every screen, sorts, filters, opens users, runs SQL and resizes the terminal, while a heartbeat
of 5 ms notes how late it is. Prints the worst beats and on which screen they were; exit code 1 where one was late by more
than 50 ms.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import defaultdict
from pathlib import Path

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens import DEEPER, PAGES
from store.home import Home

BEAT, LIMIT = 0.005, 0.050
KEYS = {
    "runs": ("j", "k", "s", "S", "f", "pagedown", "G", "g", "space", "slash", "n", "d", "c", "escape"),
    "run": ("tab", "v", "w", "o", "escape"),
    "inspector": (
        "right_square_bracket",
        "left_square_bracket",
        "s",
        "r",
        "tab",
        "j",
        "enter",
        "escape",
        "slash",
        "escape",
        "w",
        "comma",
        "full_stop",
    ),
    "charts": ("left", "right", "j", "right_square_bracket", "enter", "0", "escape"),
    "everyone": ("tab", "j", "enter", "escape"),
    "slices": ("v", "t", "j", "k"),
    "findings": ("j", "slash", "escape"),
    "settings": ("j", "k", "tab"),
    "study": ("j", "tab", "enter", "escape"),
    "launch": ("j", "j", "p", "d", "escape"),
    "compare": ("tab", "t", "v", "s", "escape"),
    "sql": ("f5", "f4", "j", "pagedown", "f2", "escape", "f3", "escape", "f4", "ctrl+r", "f6", "ctrl+g", "escape"),
}
"""What a person presses there; nothing that starts or changes anything."""


async def _beat(app: SraclApp, late: dict[str, list[float]], over: asyncio.Event) -> None:
    while not over.is_set():
        before = time.perf_counter()
        await asyncio.sleep(BEAT)
        late[type(app.screen).__name__].append(time.perf_counter() - before - BEAT)


async def _session(home: Home, seconds: float, late: dict[str, list[float]]) -> None:
    app = SraclApp(home)
    choose = random.Random(1)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(1.0)
        over = asyncio.Event()
        beat = asyncio.create_task(_beat(app, late, over))
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            where = choose.choice(list(PAGES | DEEPER))
            app.action_go(where)
            await asyncio.sleep(0.4)
            for _ in range(8):
                key = choose.choice(KEYS.get(where, ("j", "tab", "escape")))
                if key in ("n", "d", "c"):  # the start of a run and its like are not for a benchmark
                    continue
                app.simulate_key(key)
                await asyncio.sleep(0.15)
            if choose.random() < 0.1:
                await pilot.resize_terminal(*choose.choice([(40, 10), (80, 24), (120, 40), (200, 60)]))
            while len(app.screen_stack) > 1:
                app.pop_screen()
        over.set()
        await beat


def main() -> None:
    """Run the session; say what was late."""
    home, minutes = Home(Path(sys.argv[1])), float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    late: dict[str, list[float]] = defaultdict(list)
    asyncio.run(_session(home, 60 * minutes, late))
    say = sys.stdout.write
    say(f"{'screen':<20} {'beats':>7} {'p99 ms':>8} {'worst ms':>9} {'> 50 ms':>8}\n")
    worst = 0.0
    for name, delays in sorted(late.items()):
        delays.sort()
        worst = max(worst, delays[-1])
        slow = sum(delay > LIMIT for delay in delays)
        p99 = 1e3 * delays[int(0.99 * len(delays))]
        say(f"{name:<20} {len(delays):>7} {p99:>8.1f} {1e3 * delays[-1]:>9.1f} {slow:>8}\n")
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
