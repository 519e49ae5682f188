"""The documentation as a site: built as `make site` builds it, where a link that leads nowhere is an error."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from properdocs.commands.build import build
from properdocs.config import load_config
from typer.main import get_group

from engine.method_table import METHODS
from engine.setting_paths import setting_fields
from sracl_tui.tui.keymap import bindings
from tests.support.commands import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "properdocs.yml"), site_dir=str(folder))
    assert config.strict
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def headings(page: Path) -> list[str]:
    found = re.findall(r'<h[1-4] id="[^"]*">(.*?)<a class="headerlink"', page.read_text("utf-8"))
    return [re.sub(r"<[^>]+>", "", heading) for heading in found]


def test_every_page_of_the_checkout_is_in_the_site(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists()
    for name in ("index", "changelog", "contributing"):
        assert (site / f"{name}.html").exists()


def test_every_command_setting_method_and_key_is_in_its_page(site):
    root = get_group(importlib.import_module("sracl_tui.cli.main").app)
    names = root.list_commands(root.make_context("sracl", [], resilient_parsing=True))
    assert {f"sracl {name}" for name in names} <= set(headings(site / "reference" / "commands.html"))
    settings = (site / "reference" / "settings.html").read_text("utf-8")
    assert [path for path in setting_fields() if f"<code>{path}</code>" not in settings] == []
    assert set(METHODS.ours) <= set(headings(site / "reference" / "methods.html"))
    keys = (site / "reference" / "keys.html").read_text("utf-8")
    assert [name for name in bindings() if f"<code>{name.partition('.')[2]}</code>" not in keys] == []


def test_examples_and_source_that_pages_link_to_are_in_the_site(site):
    for path in (ROOT / "examples").glob("*.toml"):
        assert (site / "files" / "examples" / f"{path.name}.txt").read_bytes() == path.read_bytes()
    assert '"files/engine/config.py.txt' in (site / "index.html").read_text("utf-8")
