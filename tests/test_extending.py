"""docs/extending.md: every file on the page is written, every command is run, in the order of the page."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from textual.widgets import Static

from engine import extension_points, metric_registry
from engine.method_table import METHODS
from engine.registry import Registry
from sracl_tui.tui import screens
from sracl_tui.tui.app import SraclApp
from store.home import Home
from tests.support import installed_metrics
from tests.support.commands import ROOT, sracl_inside
from tests.support.steady_pilot import drive

PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.\w+)\n")


@dataclass
class Section:
    """What stands under a heading."""

    files: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)


def sections() -> dict[str, Section]:
    """Files and commands by heading; the text before the first heading is `Files`."""
    found: dict[str, Section] = {}
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        section = found.setdefault("Files" if part.startswith("# ") else part.partition("\n")[0], Section())
        for kind, text in BLOCK.findall(part):
            if kind == "sh":
                section.commands += [shlex.split(line) for line in text.splitlines()]
                continue
            name = NAMED.match(text)
            if name is not None:
                section.files[name[1]] = text.partition("\n")[2] if kind == "text" else text
            else:
                assert "of the package" in text, f"a block of {kind} without the name of its file:\n{text}"
    return found


SECTIONS = sections()
Written = Callable[[str], Path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Writes the files of a section into one home, after those before the first heading; gives the home."""
    home = tmp_path_factory.mktemp("home")

    def write(heading: str) -> Path:
        for name, text in (SECTIONS["Files"].files | SECTIONS[heading].files).items():
            (home / name).write_text(text)
        return home

    return write


@pytest.mark.parametrize(
    "heading", [heading for heading, section in SECTIONS.items() if section.commands and heading != "A metric"]
)
def test_every_command_of_the_page_runs(written: Written, heading: str) -> None:
    home, section = written(heading), SECTIONS[heading]
    for words in section.commands:
        assert words[0] == "sracl"
        sracl_inside(home, *words[1:])
    named = [word for words in section.commands for word in words if ".py:" in word]
    assert {re.sub(r"^.*=|:.*$", "", word) for word in named} == {
        name for name in section.files if name.endswith(".py")
    }


def test_the_metric_of_the_page_is_one_file_and_its_entry_point(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = written("A metric")
    (shown,) = (text for text in TOML.findall(PAGE) if metric_registry.GROUP in text)
    points = tomllib.loads(shown)["project"]["entry-points"][metric_registry.GROUP]
    with monkeypatch.context() as patch:
        installed_metrics.install(home, patch, points)
        printed = [sracl_inside(home, *words[1:]).stdout for words in SECTIONS["A metric"].commands]
    installed_metrics.forget(points)
    assert "NDCG@20" in printed[0]
    assert all("Novelty@20" in text for text in printed[:3])
    values = [float(line.split()[1]) for line in printed[3].splitlines() if line.startswith("novelty@")]
    assert len(values) == 3
    assert all(2 < value < 12 for value in values)


def test_the_table_names_every_registry() -> None:
    for registry in (*vars(extension_points).values(), METHODS):
        if isinstance(registry, Registry):
            row = next(line for line in PAGE.splitlines() if f"`{registry.group}`" in line)
            assert f"`{registry.where}`" in row
            assert f"`{registry.base.replace(':', '.')}`" in row


def test_the_transformer_of_the_page_is_that_of_the_example() -> None:
    (shown,) = (text for name, text in SECTIONS["A backbone"].files.items() if name == "transformer.py")
    body = shown[shown.index("    def __init__") :]
    example = (ROOT / "examples" / "padded_backbone.py").read_text("utf-8")
    assert (
        re.sub(r"  #.*", "", body).strip() == re.sub(r"  #.*", "", example[example.index("    def __init__") :]).strip()
    )


def imported(path: Path, name: str) -> ModuleType:
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_screen_of_the_page_opens(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    home = written("A screen")
    name = f"{screens.__name__}.counts"
    monkeypatch.setitem(sys.modules, name, imported(home / "counts.py", name))
    monkeypatch.setitem(screens.DEEPER, "counts", "CountsScreen")
    monkeypatch.setitem(screens.ABOUT, "counts", "how many runs there are")
    app = SraclApp(Home(home))
    async with drive(app, size=(100, 30)) as pilot:
        assert "Counts" in [command.title for command in app.get_system_commands(app.screen)]
        app.action_go("counts")
        await pilot.quiet()
        text = str(app.screen.query_one("#count", Static).render())
    assert re.fullmatch(r"\d+ runs", text)
