"""Waits until an app has done what was asked of it: for screenshots and tests, which must not look too early."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from textual.app import App
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.worker import Worker, WorkerCancelled, WorkerFailed, WorkerState

from sracl_tui.tui.textual_internals import pending_parts, resize_is_pending, waits_for_messages

SECONDS = 60.0
"""How long to wait before it is an error."""
ROUNDS = 2
"""So often in a row nothing must be pending: a message that was handled last in one round may have posted another."""
POLL_RUNS = 3
"""A worker that has succeeded so often while one waits repeats by a timer; it is not waited for again."""
CHECK_SECONDS = 0.02
"""How soon a widget that left the screen without an answer, or an app that ended, is noticed."""


async def wait_until_quiet(app: App[Any], *, seconds: float = SECONDS) -> None:
    """Wait until no worker runs, no message is pending and everything is painted, on all open screens.

    Workers and messages that begin meanwhile are waited for too, except those of a poll. A worker that was canceled, as
    by the next one of its exclusive group, is no error. Returns at once where the app has ended.

    Raises:
        WorkerFailed: a worker raised an error, which is the cause.
        TimeoutError: something is still pending after `seconds`; the message names it.
    """
    finished: Counter[tuple[int, str, str]] = Counter()
    async with _deadline(app, seconds):
        quiet = 0
        while quiet < ROUNDS and app.is_running:
            began = _running(app)  # one may end while messages are handled
            await _handle_messages(app)
            workers = [one for one in {*began, *_running(app)} if finished[_key(one)] < POLL_RUNS]
            await _finish(workers)
            finished.update(_key(worker) for worker in workers if worker.state is WorkerState.SUCCESS)
            quiet = 0 if workers or _queues(app) else quiet + 1
    _note_handled(app)


async def wait_until_handled(app: App[Any], *, seconds: float = SECONDS) -> None:
    """Wait until no message is pending and everything is painted, on all open screens; workers may run.

    Raises:
        TimeoutError: as `wait_until_quiet`.
    """
    async with _deadline(app, seconds):
        handled = 0
        while handled < ROUNDS and app.is_running:
            await _handle_messages(app)
            handled = 0 if _queues(app) else handled + 1
    _note_handled(app)


async def wait_until_key_is_handled(app: App[Any], *, seconds: float) -> None:
    """Wait until what the last key has started is on the screen, without what is animated.

    Raises:
        TimeoutError: messages are still pending after `seconds`.
    """
    async with asyncio.timeout(seconds):
        for _ in range(ROUNDS):
            await _handle_messages(app, animations=False)


@asynccontextmanager
async def _deadline(app: App[Any], seconds: float) -> AsyncIterator[None]:
    """Limits the time and says what was pending at its end."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimeoutError(f"the app is not quiet after {seconds:g} s: {_pending(app)}") from None


def _note_handled(app: App[Any]) -> None:
    """Spare an app that hands on keys one by one to wait for the last one again."""
    if (handled := getattr(app, "keys_are_handled", None)) is not None:
        handled()


def _key(worker: Worker[Any]) -> tuple[int, str, str]:
    """Workers with the same key do the same work."""
    return id(worker.node), worker.group, worker.name


def _running(app: App[Any]) -> list[Worker[Any]]:
    return [worker for worker in app.workers if worker.is_running]


def _nodes(app: App[Any]) -> list[MessagePump]:
    """The app, its open screens and their widgets."""
    return [app, *(node for screen in app.screen_stack for node in screen.walk_children(with_self=True))]


def _queues(app: App[Any]) -> list[MessagePump]:
    """Whose queues have messages; the app itself also where it holds back keys."""
    return [
        node for node in _nodes(app) if node.message_queue_size or (node is app and getattr(app, "keys_wait", False))
    ]


async def _handle_messages(app: App[Any], *, animations: bool = True) -> None:
    """Wait until all messages that are in queues now are handled, and what they changed is painted and, if wanted, animated."""
    await _answers(app, _nodes(app))
    while resize_is_pending(app) and app.is_running:
        await asyncio.sleep(CHECK_SECONDS)
    painted = asyncio.Event()
    for screen in app.screen_stack[-1:]:
        if screen.call_after_refresh(painted.set):
            await _event(app, painted, partial(_will_paint, app, screen))
    if animations:
        await app.animator.wait_until_complete()


def _will_paint(app: App[Any], screen: Screen[Any]) -> bool:
    """Whether the screen is still on top; a layout in between stops the timer that would call what waits for a paint."""
    screen.check_idle()
    return app.screen_stack[-1:] == [screen]


async def _answers(app: App[Any], nodes: Iterable[MessagePump]) -> None:
    """Wait until each node has come to the end of its queue, unless it is there already or is removed."""
    waiting: set[MessagePump] = set()
    answered = asyncio.Event()

    def answer(node: MessagePump) -> None:
        waiting.discard(node)
        if not waiting:
            answered.set()

    def attached() -> bool:
        waiting.intersection_update([node for node in waiting if node is app or node.is_attached])
        return bool(waiting)

    for node in nodes:
        if not waits_for_messages(node) and node.call_later(partial(answer, node)):
            waiting.add(node)
    if waiting:
        await _event(app, answered, attached)


async def _event(app: App[Any], event: asyncio.Event, may_come: Callable[[], bool]) -> None:
    """Wait for an event while the app runs and the event may still come."""
    while not event.is_set() and app.is_running and may_come():
        try:
            await asyncio.wait_for(event.wait(), CHECK_SECONDS)
        except TimeoutError:
            continue


async def _finish(workers: Iterable[Worker[Any]]) -> None:
    """Wait for workers; raise the error of the first that failed.

    In tasks of their own: `Worker.wait` would cancel its worker when the one who waits is canceled.
    """
    tasks = [asyncio.create_task(_error(worker)) for worker in workers]
    if tasks:
        await asyncio.wait(tasks)
    for error in (task.result() for task in tasks):
        if error is not None:
            raise error from error.error


async def _error(worker: Worker[Any]) -> WorkerFailed | None:
    """How a worker failed."""
    try:
        await worker.wait()
    except WorkerCancelled:
        return None
    except WorkerFailed as error:
        return error
    return None


def _pending(app: App[Any]) -> str:
    """What is not done, for a message."""
    workers = [f"worker {worker.name!r} (group {worker.group!r}) of {worker.node}" for worker in _running(app)]
    queues = [f"{node.message_queue_size} messages of {node}" for node in _queues(app)]
    return ", ".join([*workers, *queues, *pending_parts(app)]) or "a handler or a paint"
