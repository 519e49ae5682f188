"""The frames of docs/tour.md and the pictures of the app, made anew: a new home, the demo, and the keys of the tour.

`python -m benchmarks.tour` takes as long as training the demo twice, about three minutes on two idle cores. Each frame replaces
the block that follows `<!-- frame: NAME -->` in the tour.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.quiet import wait_until_handled, wait_until_quiet
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.textual_internals import screen_lines
from store.home import Home

DOCS = Path(__file__).parents[1] / "docs"
SIZE = (110, 32)
EPOCH = 10
"""Of the frame of a live run."""
SECONDS = 3_600.0
SHOWN_AS = "~/.local/share/sracl"
BLANKS = 3
"""So many blank lines and more become dots."""


class Tour:
    """Presses keys and keeps frames and pictures."""

    def __init__(self, app: SraclApp, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot
        self.frames: dict[str, str] = {}
        self.pictures: dict[str, str] = {}

    async def press(self, *keys: str) -> None:
        """Keys, each when the one before is handled and what it has started is done."""
        for key in keys:
            await self._pilot.press(key)
            await wait_until_quiet(self.app)

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait for what a run does."""
        deadline = time.monotonic() + SECONDS
        while not so():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so after {SECONDS:g} s")
            await asyncio.sleep(0.2)
        await wait_until_handled(self.app)

    def keep(self, name: str, *, picture: bool = False) -> None:
        """The screen as it is."""
        text = "\n".join(line.rstrip() for line in screen_lines(self.app.screen)).strip("\n")
        text = text.replace(str(self.app.home.path), SHOWN_AS)
        self.frames[name] = re.sub(rf"\n(?:[ │]*\n){{{BLANKS},}}", "\n   ...\n", text)
        if picture:
            svg = self.app.export_screenshot(title=f"sracl-tui: {name}")
            self.pictures[name] = svg.replace(str(self.app.home.path), SHOWN_AS)


async def walk(home: Home) -> Tour:
    """The tour, in a home that does not exist yet."""
    app = SraclApp(home, theme="sracl-dark")
    async with app.run_test(size=SIZE) as pilot:
        tour = Tour(app, pilot)
        await wait_until_quiet(app)
        tour.keep("start")
        await tour.press("d")
        await tour.until(lambda: isinstance(app.screen, RunScreen) and app.screen.live.epoch >= EPOCH)
        tour.keep("run", picture=True)
        await tour.until(lambda: isinstance(app.screen, InspectorScreen) and app.screen.found is not None)
        await wait_until_quiet(app)
        tour.keep("inspector", picture=True)
        await tour.press("e")
        tour.keep("histogram")
        await tour.press("tab", "tab")
        tour.keep("everyone", picture=True)
        await tour.press("1", "n", "p")
        tour.keep("launch")
        await tour.press("enter", *"demo-backbone", "enter", "ctrl+s")
        await tour.until(lambda: isinstance(app.screen, RunScreen) and app.screen.state == "finished")
        await tour.press("1", "space", "space")
        tour.keep("marked")
        await tour.press("v")
        tour.keep("compare", picture=True)
        await tour.press("tab", "tab")
        tour.keep("users")
        await tour.press("7")
        tour.keep("sql")
        await tour.press("f8")
        tour.keep("screens")
        await tour.press("escape", "f12")
        tour.keep("commands")
    return tour


def replaced(text: str, frames: dict[str, str]) -> str:
    """The tour with its frames.

    Raises:
        LookupError: a frame has no place in the tour.
    """
    for name, frame in frames.items():
        block = re.compile(rf"(<!-- frame: {name} -->\n+```text\n).*?(\n```)", re.DOTALL)
        if block.search(text) is None:
            raise LookupError(f"docs/tour.md has no place for the frame {name!r}")
        text = block.sub(lambda found, frame=frame: found[1] + frame + found[2], text)
    return text


def main() -> None:
    """Write docs/tour.md and the pictures."""
    with tempfile.TemporaryDirectory(prefix="sracl-tour-") as folder:
        tour = asyncio.run(walk(Home(Path(folder) / "home")))
    path = DOCS / "tour.md"
    path.write_text(replaced(path.read_text("utf-8"), tour.frames), "utf-8")
    for name, svg in tour.pictures.items():
        (DOCS / "images" / f"{name}.svg").write_text(svg, "utf-8")
    sys.stdout.write(f"{len(tour.frames)} frames and {len(tour.pictures)} pictures are written\n")


if __name__ == "__main__":
    main()
