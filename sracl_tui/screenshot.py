"""A screen of the app as SVG, for documents: drawn without a terminal, from the store as it is."""

from __future__ import annotations

import asyncio
import re

from engine.errors import ConfigError
from sracl_tui.app import SraclApp
from sracl_tui.screens import DEEPER, PAGES


def draw(app: SraclApp, screen: str, size: str) -> str:
    """The SVG.

    Raises:
        ConfigError: no such screen, or no such size.
    """
    match = re.fullmatch(r"(\d{2,3})x(\d{2,3})", size)
    if match is None:
        raise ConfigError(f"{size!r} is not COLUMNSxLINES", where="--size", hint="Example: --size 120x40")
    if screen not in PAGES | DEEPER:
        known = ", ".join(PAGES | DEEPER)
        raise ConfigError(f"there is no screen {screen!r}", where="--screenshot", hint=f"Screens: {known}.")
    return asyncio.run(_draw(app, screen, (int(match[1]), int(match[2]))))


async def _draw(app: SraclApp, screen: str, size: tuple[int, int]) -> str:
    async with app.run_test(size=size) as pilot:
        chosen = app.run_id
        for step in (None, screen):
            if step is not None:
                app.run_id = chosen or app.run_id
                if step == "compare":
                    await pilot.press("space", "space", "space")
                app.action_go(step)
            for _ in range(4):  # a worker's answer may start the next worker
                await pilot.pause()
                await app.workers.wait_for_complete()
            await pilot.pause(0.3)
        return app.export_screenshot(title=f"sracl-tui: {screen}")
