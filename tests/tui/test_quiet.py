"""What a screenshot and a test wait for: workers that are replaced, answers, mounts, paints; not for polls."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static
from textual.worker import WorkerFailed

from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.quiet import wait_until_quiet
from sracl_tui.tui.textual_internals import screen_lines


class Page(DeferredPaintMixin, Screen[None]):
    """A screen that is painted in a later turn than it is laid out."""

    def compose(self) -> ComposeResult:
        yield Static("before", id="text")


class Busy(App[None]):
    """Starts workers as a test asks for them."""

    class Answered(Message):
        """A worker's answer."""

        def __init__(self, text: str, then: int) -> None:
            super().__init__()
            self.text, self.then = text, then

    def get_default_screen(self) -> Page:
        return Page()

    def on_mount(self) -> None:
        self.answers: list[str] = []
        self.polls = 0

    def search(self, text: str, *, seconds: float = 0, until: threading.Event | None = None, then: int = 0) -> None:
        """A worker in a thread; its answer starts `then` further ones, one after the other."""

        def work() -> None:
            if until is not None:
                until.wait(20)
            time.sleep(seconds)
            self.post_message(self.Answered(text, then))

        self.run_worker(work, thread=True, exclusive=True, exit_on_error=False, group="search", name=f"search {then}")

    async def on_busy_answered(self, message: Answered) -> None:
        self.answers.append(message.text)
        if message.then:
            self.search(message.text, seconds=0.02, then=message.then - 1)
            return
        await self.screen.mount(Static(message.text))
        self.call_after_refresh(self.screen.query_one("#text", Static).update, f"after\n{message.text}")


def painted(app: App[None]) -> str:
    return "\n".join(line.rstrip() for line in screen_lines(app.screen)).strip()


async def test_workers_that_are_replaced_while_one_waits_are_no_error():
    app = Busy()
    async with app.run_test():
        go_on = threading.Event()
        app.search("text 0", until=go_on)
        waiting = asyncio.create_task(wait_until_quiet(app))
        for number in range(1, 6):
            await asyncio.sleep(0.1)
            app.search(f"text {number}", until=go_on)
        assert not waiting.done()
        go_on.set()
        await waiting
        assert "text 5" in app.answers
        assert "text 5" in painted(app).splitlines()


async def test_a_worker_that_is_replaced_before_it_begins_is_no_error():
    app = Busy()
    async with app.run_test():
        for number in range(5):
            app.search(f"text {number}", seconds=0.01)
        await wait_until_quiet(app)
        assert "text 4" in app.answers


async def test_what_an_answer_starts_is_waited_for_and_painted():
    app = Busy()
    async with app.run_test():
        app.search("end", seconds=0.02, then=6)
        await wait_until_quiet(app)
        assert app.answers == ["end"] * 7
        assert painted(app).splitlines() == ["after", "end", "end"]


@pytest.mark.parametrize("seconds", [0.001, 0.04])
async def test_a_poll_that_is_nearly_always_at_work_is_not_waited_for(seconds):
    app = Busy()
    async with app.run_test():

        def poll() -> None:
            app.polls += 1
            app.run_worker(lambda: time.sleep(seconds), thread=True, exit_on_error=False, group="poll", name="poll")

        app.set_interval(0.02, poll)
        app.set_interval(0.03, poll)
        app.search("end", seconds=0.3)
        await wait_until_quiet(app, seconds=10)
        assert app.answers == ["end"], "it returned too early"
        assert app.polls > 5


async def test_a_worker_that_failed_is_raised_with_its_cause():
    app = Busy()
    async with app.run_test():

        def fail() -> None:
            time.sleep(0.02)
            raise ValueError("no such user")

        app.run_worker(fail, thread=True, exit_on_error=False)
        with pytest.raises(WorkerFailed, match="no such user") as caught:
            await wait_until_quiet(app)
        assert isinstance(caught.value.__cause__, ValueError)
        await wait_until_quiet(app)


async def test_at_the_deadline_it_says_what_still_runs_and_does_not_cancel_it():
    app = Busy()
    async with app.run_test():
        go_on = threading.Event()
        app.run_worker(lambda: go_on.wait(20), thread=True, exit_on_error=False, group="read", name="slow read")
        with pytest.raises(TimeoutError, match=r"not quiet after 0.2 s: worker 'slow read' \(group 'read'\) of .*Busy"):
            await wait_until_quiet(app, seconds=0.2)
        (worker,) = app.workers
        assert worker.is_running
        go_on.set()
        await wait_until_quiet(app)
        assert worker.result is True


async def test_a_new_size_of_the_terminal_is_laid_out():
    """Textual passes a size on after a while only, here after a quarter of a second, in case that another one comes."""

    class Slow(Busy):
        def set_timer(self, delay: float, *words: Any, **named: Any) -> Timer:
            return super().set_timer(delay if delay > 0.1 else 0.25, *words, **named)

    app = Slow()
    async with app.run_test(size=(80, 24)):
        await wait_until_quiet(app)
        for size in (Size(40, 10), Size(100, 30)):
            app.post_message(Resize(size, size))
            await wait_until_quiet(app)
            lines = screen_lines(app.screen)
            assert (len(lines[0]), len(lines)) == size


async def test_an_app_that_has_ended_is_quiet():
    app = Busy()
    async with app.run_test():
        app.exit()
        await wait_until_quiet(app, seconds=5)
    await wait_until_quiet(app, seconds=5)
