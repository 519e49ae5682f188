"""Keys of one's own: names of bindings, keys.toml in both places, what is wrong in it, the template."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from textual.dom import DOMNode
from textual.widgets import Input, Static

from sracl_tui.tui import bindings, keymap
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.widgets.dialogs import HelpDialog
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from tests.support.steady_pilot import drive


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's config folder, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "sracl"
    folder.mkdir(parents=True)
    return folder


def marks(app: SraclApp) -> int:
    return len(app.screen_stack[0].marked)  # type: ignore[attr-defined]


def test_every_class_with_keys_names_them():
    assert keymap.bindings()  # imports every screen and widget
    waiting: list[type] = [DOMNode]
    while waiting:
        waiting += (cls := waiting.pop()).__subclasses__()
        if cls.__module__.startswith("sracl_tui.") and cls.__dict__.get("BINDINGS"):
            assert issubclass(cls, bindings.NamedBindings), f"{cls.__module__}: {cls.__name__} must be a Keyed"
            assert all(binding.id for binding in cls.__dict__["BINDINGS"])


def test_the_apps_own_keys_are_known_whatever_was_imported_before():
    script = "from sracl_tui.tui import keymap; assert keymap.bindings().keys() >= {'app.leave', 'app.turn-theme', 'app.help'}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_template_changes_nothing_and_has_every_action(home: Home):
    text = keymap.template(home)
    tables = tomllib.loads(text)
    assert tables["runs"]["baseline"] == "b"
    assert {f"{table}.{action}" for table, actions in tables.items() for action in actions} == set(keymap.bindings())
    (home.path / keymap.FILE).write_text(text)
    assert keymap.read(home) == keymap.Keymap()


def test_no_two_actions_of_a_section_have_one_key():
    seen: dict[tuple[str, str], str] = {}
    for name, (text, _) in keymap.bindings().items():
        section = name.partition(".")[0]
        if section == "dialogs":  # several dialogs, each with keys of its own
            continue
        for key in text.split(","):
            assert (section, key) not in seen, f"{name} and {seen[section, key]}: {key}"
            seen[section, key] = name


async def test_chosen_keys_work_and_stand_in_help_and_footer(home: Home, own: Path):
    (own / keymap.FILE).write_text('[runs]\nmark = "f6"\nfilter = "ctrl+f"\n[app]\nhelp = "f1"\n')
    (home.path / keymap.FILE).write_text('[runs]\nmark = ["M", "f7"]\nsort = "S"\nturn = "s"\n')
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        assert pilot.told == []
        await pilot.press("space", "f6")
        assert marks(app) == 0
        await pilot.press("M", "f7")
        assert marks(app) == 2
        await pilot.press("S")
        assert app.preferences.sort != "created"
        before = app.preferences.descending
        await pilot.press("s")
        assert app.preferences.descending is not before
        await pilot.quiet()
        footer = "".join(strip.text for strip in app.screen._compositor.render_strips()[-1:])
        assert "^f Filter" in footer
        assert "f1 Help" in footer
        await pilot.press("f1")
        await pilot.quiet()
        assert isinstance(app.screen, HelpDialog)
        lines = [str(line.render()) for line in app.screen.query(Static)]
        assert any("M f7  Mark" in line for line in lines)
        await pilot.press("escape", "ctrl+f")
        assert isinstance(app.focused, Input)


async def test_what_is_wrong_is_told_once_and_the_rest_works(home: Home):
    (home.path / keymap.FILE).write_text(
        '[runs]\nmark = "f6"\nfly = "F"\nsort = "f"\nnote = "notakey"\nclone = "j"\n[nowhere]\nx = "y"\n[app]\nleave = "x"\n'
    )
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        (said,) = pilot.told
        for part in (
            "fly: there is no such action",
            "note = 'notakey'",
            "[nowhere]",
            "that key is runs.fold (Fold seeds)",
        ):
            assert part in said
        assert "[runs] clone = 'j': that key is table.down" in said
        assert "[app] leave = 'x': that key is " in said
        await pilot.press("f6")
        assert marks(app) == 1
        await pilot.press("s")
        assert app.preferences.sort != "created", "what is not used leaves the key as it was"
        assert app.screen.query_one(Table).has_focus


@pytest.mark.parametrize("text", ["[runs\n", "\x00", "runs = 3\n", "[runs]\nmark = 3.5\n", '[runs]\nmark = ""\n'])
def test_a_broken_file_is_one_message(home: Home, text: str):
    (home.path / keymap.FILE).write_text(text)
    found = keymap.read(home)
    assert found.keys == {}
    assert len(found.problems) == 1


def test_a_file_of_other_bytes_is_one_message(home: Home):
    (home.path / keymap.FILE).write_bytes(b"\xff\xfe[runs]")
    assert len(keymap.read(home).problems) == 1
