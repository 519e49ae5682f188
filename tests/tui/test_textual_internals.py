"""Private parts of Textual: those that the app leans on are there, and only one module leans on them."""

from __future__ import annotations

import ast
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest
from textual import keys
from textual._compositor import Compositor
from textual.app import App
from textual.message_pump import MessagePump
from textual.screen import Screen

from sracl_tui.tui import textual_internals

FOLDER = Path(textual_internals.__file__).parent
PARTS = [
    (keys, "_character_to_key"),
    (Compositor, "render_strips"),
    (Compositor, "update_widgets"),
    (Screen, "_refresh_layout"),
    (Screen, "_compositor_refresh"),
    (App, "_replace_screen"),
    (App, "_fatal_error"),
    (MessagePump, "_close_messages_no_wait"),
]
SET_BY_INIT = [
    (Screen, "_compositor"),
    (Screen, "_dirty_widgets"),
    (App, "_driver"),
    (App, "_exit_renderables"),
    (App, "_resize_event"),
]


def lacks(owner: object, name: str) -> str:
    where = getattr(owner, "__name__", owner)
    return (
        f"Textual {version('textual')} has no {where}.{name}, which sracl_tui/tui/textual_internals.py uses as it is in "
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
