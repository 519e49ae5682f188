"""A screen of the app as SVG or text, for documents and tests: drawn without a terminal, from the store as it is."""

from __future__ import annotations

import asyncio
import re

from engine.errors import ConfigError
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.quiet import wait_until_quiet
from sracl_tui.tui.screens import DEEPER, PAGES
from sracl_tui.tui.textual_internals import screen_lines
from store.errors import StoreError


def draw(app: SraclApp, screen: str, size: str) -> str:
    """The SVG.

    Raises:
        ConfigError: no such screen, or no such size.
    """
    place = _size(size)
    if screen not in PAGES | DEEPER:
        known = ", ".join(PAGES | DEEPER)
        raise ConfigError(f"there is no screen {screen!r}", where="--screenshot", hint=f"Screens: {known}.")
    return asyncio.run(_draw(app, screen, place))


def _size(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,3})x(\d{2,3})", size)
    if match is None:
        raise ConfigError(f"{size!r} is not COLUMNSxLINES", where="--size", hint="Example: --size 120x40")
    return int(match[1]), int(match[2])


def frame(app: SraclApp, size: str) -> str:
    """The first screen as plain text.

    Raises:
        ConfigError: no such size.
        StoreError: the store cannot be read.
    """
    return asyncio.run(_frame(app, _size(size)))


async def _frame(app: SraclApp, size: tuple[int, int]) -> str:
    app.keeps = False
    async with app.run_test(size=size):
        await wait_until_quiet(app)
        if not app.runs_known:
            raise StoreError(app.status.trouble or "the store was not read in time")
        lines = [line.rstrip() for line in screen_lines(app.screen)]
    return "\n".join(line for place, line in enumerate(lines) if line or any(lines[place:]))


async def _draw(app: SraclApp, screen: str, size: tuple[int, int]) -> str:
    app.keeps = False
    async with app.run_test(size=size) as pilot:
        chosen = app.run_id
        for step in (None, screen):
            if step is not None:
                app.run_id = chosen or app.run_id
                if step == "compare":
                    await pilot.press("space", "space", "space")
                app.action_go(step)
            await wait_until_quiet(app)
        return app.export_screenshot(title=f"sracl-tui: {screen}")
