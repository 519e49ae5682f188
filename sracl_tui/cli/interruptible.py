"""Work that ctrl+c or a time limit ends within a second, whatever it is doing: a query does not listen to signals."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from sracl_tui.cli import options_and_output

if TYPE_CHECKING:
    from store.database.person_sql import Cancel

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 0.6
"""For canceled work to end by itself, before the process ends without it."""


def interruptible(work: Callable[[Callable[[Cancel], None]], None], *, timeout: float | None = None) -> None:
    """Do work in a thread of its own, and wait for it.

    Args:
        work: called with a function that takes what cancels it.
        timeout: seconds after which it is canceled, with exit code 2; 130 after ctrl+c.

    Raises:
        Exit: it was canceled, and ended.
    """
    cancels: list[Cancel] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work(cancels.append)
        except BaseException as error:  # raised again by the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run, name="query", daemon=True)
    try:
        thread.start()
        ended = _ended(thread, timeout)
        text, code = f"canceled: it took longer than {timeout:g} seconds" if timeout else "", 2
    except KeyboardInterrupt:
        ended, text, code = False, "interrupted", 130
    if not ended:
        _cancel(thread, cancels)
        _leave(thread, text, code)
    if failed:
        raise failed[0]


def _ended(thread: threading.Thread, timeout: float | None) -> bool:
    deadline = None if timeout is None else time.monotonic() + timeout
    while thread.is_alive():
        thread.join(POLL_SECONDS)
        if deadline is not None and thread.is_alive() and time.monotonic() > deadline:
            return False
    return True


def _cancel(thread: threading.Thread, cancels: list[Cancel]) -> None:
    """Cancel again and again: what comes before a query has begun is lost. A second ctrl+c changes nothing."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while thread.is_alive() and time.monotonic() < deadline:
        try:
            for cancel in cancels:
                cancel()
            thread.join(POLL_SECONDS)
        except KeyboardInterrupt:
            continue


def _leave(thread: threading.Thread, text: str, code: int) -> None:
    """Say so, and end.

    Raises:
        Exit: the work has ended; otherwise the process ends here, as after a kill, which every file survives.
    """
    if thread.is_alive():
        os.write(2, f"{text}\n".encode())  # the thread may hold the locks of the streams
        os._exit(code)
    options_and_output.talk().print(text, highlight=False)
    sys.stdout.flush()
    raise typer.Exit(code)
