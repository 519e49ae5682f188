"""What a shell is offered: asked as the script does that `sracl --install-completion` installs, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config_files import preset_names
from engine.method_table import METHODS
from engine.setting_paths import leaf_paths
from sracl_tui.cli import completion
from tests.support.figure_home import WHOLE, write_figure_home
from tests.support.shared_homes import written_once


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_once(tmp_path_factory, "figures", write_figure_home)


class Context:
    """The words before the cursor, as far as a completion reads them."""

    def __init__(self, home: Path) -> None:
        self.params = {"home": home}


def words(offered: list) -> list[str]:
    return [one if isinstance(one, str) else one[0] for one in offered]


def asked(words: str, home: Path) -> tuple[list[str], str]:
    """Completions of the last of these words by a real process, and what it said besides."""
    environment = {**os.environ, "_SRACL_COMPLETE": "complete_zsh", "SRACL_HOME": str(home)}
    environment["_TYPER_COMPLETE_ARGS"] = f"sracl {words}"
    code = "from sracl_tui.cli import main; import sys; sys.argv = ['sracl']; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines(), done.stderr


def test_a_shell_is_offered_runs(home):
    lines, errors = asked("show k5", home)
    text = "\n".join(lines)
    assert errors == ""
    assert all(f"k5-{seed}" in text for seed in (1, 2, 3))
    assert "k20-1" not in text


def test_runs_groups_and_last(home):
    context = Context(home)
    assert set(words(completion.run_names(context, "k20"))) == {"k20-1", "k20-2", "k20-3"}
    assert WHOLE in words(completion.run_names(context, WHOLE[:12]))
    assert words(completion.run_names(context, "la")) == ["last"]
    groups = words(completion.group_names(context, ""))
    assert "plain" in groups
    assert set(groups) <= set(words(completion.run_and_group_names(context, "")))


def test_data_sets_presets_methods_studies(home):
    assert {"demo", "goods"} <= set(words(completion.dataset_names(Context(home), "")))
    assert words(completion.dataset_names(Context(home), "go")) == ["goods"]
    assert completion.preset_names("") == preset_names()
    assert completion.method_names("duo") == ["duorec"]
    assert set(completion.method_names("")) == set(METHODS.names())
    assert completion.study_names(Context(home), "qu") == ["quick"]


def test_settings_and_their_values():
    assert words(completion.assignments("alph")) == ["alpha="]
    assert {f"{name}=" for name in leaf_paths()} >= set(words(completion.assignments("")))
    assert completion.assignments("backbone=gru") == ["backbone=gru4rec"]
    assert set(completion.assignments("vector=")) == {"vector=text", "vector=item-mean", "vector=collaborative"}
    assert completion.assignments("swap_titles=t") == ["swap_titles=true"]
    assert completion.assignments("alpha=") == []


def test_every_name_of_the_table_is_one_of_a_parameter(home, monkeypatch):
    """A renamed parameter would lose its completion silently."""
    import importlib

    import typer
    from typer.models import ParameterInfo

    from sracl_tui.cli.main import COMMANDS

    monkeypatch.setenv(completion.ASKED, "complete_zsh")
    seen = set()
    for command, place in COMMANDS.items():
        module, _, attribute = place.partition(".")
        found = getattr(importlib.import_module(f"sracl_tui.cli.{module}"), attribute)
        functions = [one.callback for one in found.registered_commands] if isinstance(found, typer.Typer) else [found]
        for function in functions:
            hints = completion.get_type_hints(function, include_extras=True)
            for name, hint in hints.items():
                if any(isinstance(info, ParameterInfo) for info in getattr(hint, "__metadata__", ())):
                    seen |= {name, f"{command}.{name}"}
    assert set(completion.OFFERED) <= seen


def test_nothing_is_offered_and_nothing_fails_without_a_home(tmp_path):
    nowhere = tmp_path / "nowhere"
    assert completion.run_names(Context(nowhere), "x") == []
    assert completion.group_names(Context(nowhere), "") == []
    assert not nowhere.exists()
    (tmp_path / "sracl.duckdb").write_text("no database")
    assert completion.run_names(Context(tmp_path), "") == []
    assert asked("show x", nowhere) == (["_files"], ""), "zsh offers files where nothing else is offered"


def test_the_trash_is_offered_to_what_restores(home):
    assert completion.OFFERED["restore.runs"] is completion.removed_names
    assert words(completion.removed_names(Context(home), "")) == ["last"]
