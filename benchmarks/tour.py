"""The frames of docs/tour.md, the pictures and the film of the app, made anew: a new home, the demo, and the keys of the tour.

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

from benchmarks.animated_svg import animated
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.quiet import wait_until_handled, wait_until_quiet
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.textual_internals import screen_lines
from store.home import Home

DOCS = Path(__file__).parents[1] / "docs"
SIZE = (110, 32)
EPOCHS = (1, 3, 6, 10)
"""Of a live run at which it is filmed; the last one is its frame in the tour."""
LOOK, GLANCE = 4.0, 1.0
"""Seconds for which the film shows a screen that is to be read, and one that only passes."""
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
        self.film: list[tuple[str, float]] = []

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

    def shoot(self, seconds: float, words: str = "sracl-tui") -> str:
        """Film the screen, with words in the title; returns the picture."""
        svg = self.app.export_screenshot(title=words).replace(str(self.app.home.path), SHOWN_AS)
        self.film.append((svg, seconds))
        return svg

    def keep(self, name: str, *, picture: bool = False, words: str = "") -> None:
        """The screen as it is.

        Args:
            picture: also as a file beside the tour.
            words: with which it stands in the film, if it does.
        """
        text = "\n".join(line.rstrip() for line in screen_lines(self.app.screen)).strip("\n")
        text = text.replace(str(self.app.home.path), SHOWN_AS)
        self.frames[name] = re.sub(rf"\n(?:[ │]*\n){{{BLANKS},}}", "\n   ...\n", text)
        if words:
            self.shoot(LOOK, words)
        if picture:
            svg = self.app.export_screenshot(title=f"sracl-tui: {name}")
            self.pictures[name] = svg.replace(str(self.app.home.path), SHOWN_AS)


async def walk(home: Home) -> Tour:
    """The tour, in a home that does not exist yet."""
    app = SraclApp(home, theme="sracl-dark")
    async with app.run_test(size=SIZE) as pilot:
        tour = Tour(app, pilot)
        await wait_until_quiet(app)
        tour.keep("start", words="sracl-tui in an empty home")
        await tour.press("d")
        for epoch in EPOCHS:
            await tour.until(lambda epoch=epoch: isinstance(app.screen, RunScreen) and app.screen.live.epoch >= epoch)
            tour.shoot(GLANCE, "d: SRA-CL is trained on the demo set")
        tour.keep("run", picture=True)
        await tour.until(lambda: isinstance(app.screen, InspectorScreen) and app.screen.found is not None)
        await wait_until_quiet(app)
        tour.keep(
            "inspector",
            picture=True,
            words="the Inspector: one user, the summary, the neighbors and their learned weights",
        )
        await _look_closer(tour)
        await tour.press("1", "n", "p")
        tour.keep("launch", words="n, p: a new run, of the plain backbone")
        await tour.press("enter", *"demo-backbone", "enter", "ctrl+s")
        await tour.until(lambda: isinstance(app.screen, RunScreen) and app.screen.state == "finished")
        await tour.press("1", "g", "space", "space")
        tour.keep("marked", words="space: both are marked")
        await tour.press("v")
        tour.keep("compare", picture=True, words="v: are they different, and is the difference more than chance?")
        await tour.press("tab", "tab")
        tour.keep("users")
        await tour.press("1", "W")
        tour.keep("slices", words="W: whom does it help?")
        await tour.press("7")
        tour.keep("sql")
        await tour.press("f8")
        tour.keep("screens")
        await tour.press("escape", "f12")
        tour.keep("commands", words="F12: what was done, as commands of a shell")
    return tour


async def _look_closer(tour: Tour) -> None:
    """From the Inspector: what if, everyone, the charts of the run, a finding."""
    await tour.press("w")
    tour.shoot(GLANCE, "w: what if?")
    await tour.press("space")
    tour.keep("what-if", picture=True, words="w, space: without that item, what would be recommended?")
    await tour.press("escape", "e")
    tour.keep("histogram")
    await tour.press("tab", "tab")
    tour.keep("everyone", picture=True, words="e: weights and similarities of everyone")
    await tour.press("1", "a")
    tour.keep("charts", picture=True, words="a: every metric of the run")
    await tour.press("N", *"validation is flat after the best epoch", "enter", "f8", *"findings", "enter")
    tour.keep("findings", words="N: what is worth keeping is pinned with a note")


def replaced(text: str, frames: dict[str, str]) -> str:
    """The tour with its frames; one that has no place there is a picture or a part of the film alone.

    Raises:
        LookupError: a place has no frame.
    """
    for name in re.findall(r"<!-- frame: (\S+) -->", text):
        if name not in frames:
            raise LookupError(f"docs/tour.md wants a frame {name!r}, which is not made")
        block = re.compile(rf"(<!-- frame: {name} -->\n+```text\n).*?(\n```)", re.DOTALL)
        text = block.sub(lambda found, name=name: found[1] + frames[name] + found[2], text)
    return text


def main() -> None:
    """Write docs/tour.md, the pictures and the film."""
    with tempfile.TemporaryDirectory(prefix="sracl-tour-") as folder:
        tour = asyncio.run(walk(Home(Path(folder) / "home")))
    path = DOCS / "tour.md"
    path.write_text(replaced(path.read_text("utf-8"), tour.frames), "utf-8")
    for name, svg in tour.pictures.items():
        (DOCS / "images" / f"{name}.svg").write_text(svg, "utf-8")
    film = animated(tour.film)
    (DOCS / "images" / "film.svg").write_text(film, "utf-8")
    sys.stdout.write(
        f"{len(tour.frames)} frames and {len(tour.pictures)} pictures are written, and a film of {len(film) // 1000} kB\n"
    )


if __name__ == "__main__":
    main()
