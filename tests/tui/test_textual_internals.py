"""Private parts of Textual: those that the app leans on are there, and only one module leans on them."""

from __future__ import annotations

import ast
import asyncio
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest
from textual import keys
from textual._animator import Animator
from textual._compositor import Compositor
from textual._queue import Queue
from textual.app import App, ComposeResult
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.events import Click
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Static

from sracl_tui.tui import textual_internals
from tests.support.steady_pilot import drive

FOLDER = Path(textual_internals.__file__).parent
PARTS = [
    (keys, "_character_to_key"),
    (Compositor, "render_strips"),
    (Compositor, "update_widgets"),
    (Compositor, "_render_chops"),
    (Compositor, "_get_renders"),
    (Stylesheet, "_parse_rules"),
    (Screen, "_refresh_layout"),
    (Screen, "_compositor_refresh"),
    (App, "_replace_screen"),
    (App, "_fatal_error"),
    (App, "_refresh_notifications"),
    (MessagePump, "_close_messages_no_wait"),
]
SET_BY_INIT = [
    (Screen, "_compositor"),
    (Screen, "_dirty_widgets"),
    (App, "_driver"),
    (App, "_exit_renderables"),
    (App, "_notifications"),
    (DOMNode, "_bindings"),
    (App, "_resize_event"),
    (Animator, "_animations"),
    (Animator, "_scheduled"),
    (Screen, "_callbacks"),
    (Queue, "ready_event"),
    (Queue, "values"),
    (asyncio.Event, "_waiters"),
]


def lacks(owner: object, name: str) -> str:
    where = getattr(owner, "__name__", owner)
    return (
        f"Textual {version('textual')} has no {where}.{name}, which sracl_tui/tui/textual_internals.py or the tests use as it is in "
        f"{textual_internals.TEXTUAL_VERSION}: read that module before the version is raised"
    )


@pytest.mark.parametrize(("owner", "name"), PARTS)
def test_a_private_part_is_there(owner: object, name: str):
    assert callable(getattr(owner, name, None)), lacks(owner, name)


@pytest.mark.parametrize(("owner", "name"), SET_BY_INIT)
def test_a_private_attribute_is_there(owner: type, name: str):
    assert f"self.{name}" in inspect.getsource(owner.__init__), lacks(owner, name)


def test_overrides_have_the_signature_of_what_they_override():
    layout = inspect.signature(Screen._refresh_layout).parameters
    assert list(layout) == ["self", "size", "scroll"], lacks(Screen, "_refresh_layout(size, scroll)")
    assert list(inspect.signature(App._replace_screen).parameters) == ["self", "screen"], lacks(App, "_replace_screen")
    assert inspect.iscoroutinefunction(App._replace_screen), lacks(App, "async _replace_screen")


async def test_frames_that_nobody_sees_draw_every_widget_all_the_same():
    """As `tests/support/fast_textual.py` leaves out what joins their lines; a picture has all of them."""

    class Drawn(Static):
        times = 0

        def render_line(self, y: int) -> Strip:
            self.times += 1
            return super().render_line(y)

    class Page(App[None]):
        def compose(self) -> ComposeResult:
            yield Drawn("drawn")

    app = Page()
    async with drive(app, size=(40, 10)) as pilot:
        await pilot.quiet()
        drawn = app.screen.query_one(Drawn)
        before = drawn.times
        assert before > 0
        drawn.update("drawn anew")
        await pilot.quiet()
        assert drawn.times > before
        assert "drawn anew" in textual_internals.screen_lines(app.screen)[0]
        assert "anew" in app.export_screenshot()


async def test_a_widget_waits_for_messages_when_all_of_its_own_are_handled():
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Static):
        async def on_click(self) -> None:
            begun.set()
            await go_on.wait()

    class Page(App[None]):
        def compose(self) -> ComposeResult:
            yield Slow("slow")

    app = Page()
    async with drive(app, size=(40, 10)) as pilot:
        await pilot.quiet()
        slow = app.screen.query_one(Slow)
        assert textual_internals.waits_for_messages(slow)
        slow.post_message(Click(slow, 0, 0, 0, 0, 1, False, False, False))
        assert not textual_internals.waits_for_messages(slow), "one is in its queue"
        await begun.wait()
        assert not textual_internals.waits_for_messages(slow), "its handler runs"
        go_on.set()
        await pilot.quiet()
        assert textual_internals.waits_for_messages(slow)
        slow.refresh()
        assert not textual_internals.waits_for_messages(slow), "it is to be painted"


def test_a_key_has_textuals_name():
    assert textual_internals.key_name("/") == "slash"


def test_no_other_module_uses_a_private_part():
    """Every private attribute that a module of the app uses is assigned or defined in the app."""
    used: dict[str, str] = {}
    own: set[str] = set()
    for path in FOLDER.rglob("*.py"):
        if path.stem == "textual_internals":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
                if isinstance(node.ctx, ast.Store):
                    own.add(node.attr)
                else:
                    name = f"super().{node.attr}" if ast.unparse(node.value) == "super()" else node.attr
                    used[name] = f"{path.relative_to(FOLDER)}:{node.lineno}"
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                own |= {target.id for target in targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual"):
                used |= {n.name: str(path.relative_to(FOLDER)) for n in node.names if n.name.startswith("_")}
    foreign = {name: where for name, where in used.items() if name not in own}
    assert foreign == {}, "put what leans on private parts into textual_internals.py"
