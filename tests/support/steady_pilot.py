"""Drives the app in tests: a step ends when the app has handled it, however long that takes, and not after a time.

Textual's own pilot waits until the process needs little processor time, at least 40 ms for each key and up to two seconds
on a busy machine.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual.events import Key
from textual.keys import KEY_TO_UNICODE_NAME, REPLACED_KEYS
from textual.pilot import Pilot

from sracl_tui.tui.quiet import wait_until_handled, wait_until_quiet
from sracl_tui.tui.textual_internals import key_name

LOOK_SECONDS = 0.02
"""How often a condition is asked for that no event tells of."""


@dataclass(frozen=True)
class Notice:
    """A notification; the app itself forgets it after some seconds."""

    message: str
    title: str
    severity: str


class SteadyPilot(Pilot[Any]):
    """A pilot whose steps end with the last message of theirs; workers go on, until one waits for `quiet`."""

    def __init__(self, app: App[Any], notices: list[Notice] | None = None) -> None:
        super().__init__(app)
        self.notices = [] if notices is None else notices
        """All notifications since the start, oldest first."""

    @property
    def told(self) -> list[str]:
        """Their messages."""
        return [notice.message for notice in self.notices]

    async def press(self, *keys: str) -> None:
        """Press keys one after the other, each when the app has handled the one before."""
        for key in keys:
            self.app.post_message(key_event(key))
            await wait_until_handled(self.app)

    async def pause(self, delay: float | None = None) -> None:
        """Wait until all messages are handled. A delay is refused: wait `until` something is so."""
        assert delay is None
        await wait_until_handled(self.app)

    async def quiet(self) -> None:
        """Wait until all messages are handled and no worker runs."""
        await wait_until_quiet(self.app)

    async def until(self, so: Callable[[], Any], seconds: float = 60.0, *, what: Callable[[], object] = str) -> None:
        """Wait for what a timer of the app, another thread or another process brings about.

        Raises:
            AssertionError: it is not so after `seconds`; `what` is asked for the message.
        """
        deadline = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < deadline, f"not so after {seconds:g} s {what()}"
            await asyncio.sleep(LOOK_SECONDS)
        await self.pause()


@asynccontextmanager
async def drive(app: App[Any], *, size: tuple[int, int], **options: Any) -> AsyncIterator[SteadyPilot]:
    """Run an app without a terminal, with the options of `App.run_test`, and keep what it notifies of."""
    notices: list[Notice] = []
    notify = app.notify

    def keep(message: str, *, title: str = "", severity: Any = "information", **more: Any) -> None:
        notices.append(Notice(message, title, severity))
        notify(message, title=title, severity=severity, **more)

    app.notify = keep
    async with app.run_test(size=size, **options):
        yield SteadyPilot(app, notices)


def key_event(key: str) -> Key:
    """The event of a key that is given by its name or its character, as Textual's pilot makes it."""
    name = key_name(key) if len(key) == 1 and not key.isalnum() else key
    plain = REPLACED_KEYS.get(name, name)
    try:
        return Key(name, unicodedata.lookup(KEY_TO_UNICODE_NAME.get(plain, plain)))
    except KeyError:
        return Key(name, name if len(name) == 1 else None)
