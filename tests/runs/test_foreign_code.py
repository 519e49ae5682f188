"""Code that an imported run names is imported only from files that a person trusts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.extension_points import BACKBONES, BACKENDS, ENCODERS, PROVIDERS, SYNTHESIZERS
from engine.method_table import METHODS
from engine.registry import only_files
from sracl_tui.runs.foreign_code import named_code, trusted
from store.home import Home

POINTS = (BACKBONES, BACKENDS, ENCODERS, METHODS, PROVIDERS, SYNTHESIZERS)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    path = tmp_path / "evil.py"
    path.write_text("import os\nos.environ['SRACL_EVIL'] = 'ran'\nclass Part: pass\n")
    return path


@pytest.mark.parametrize("number", range(len(POINTS)))
def test_nothing_is_imported(evil: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.delenv("SRACL_EVIL", raising=False)
    with only_files([]), pytest.raises(ConfigError, match="was not imported") as caught:
        POINTS[number].load(f"{evil}:Part")
    assert "--allow-code" in str(caught.value.hint)
    assert "SRACL_EVIL" not in os.environ


def test_a_trusted_file_is(evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRACL_EVIL", "")
    with only_files([evil]), pytest.raises(ConfigError, match="subclass"):
        BACKBONES.load(f"{evil}:Part")
    assert os.environ["SRACL_EVIL"] == "ran"


def test_only_imported_runs_are_distrusted(evil: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    for run_id in ("own", "foreign"):
        home.run_folder(run_id).mkdir()
    (home.run_folder("foreign") / "bundle.zip").touch()
    with trusted(home, "own"), pytest.raises(ConfigError, match="subclass"):
        BACKBONES.load(f"{evil}:Part")
    with trusted(home, "foreign"), pytest.raises(ConfigError, match="was not imported"):
        BACKBONES.load(f"{evil}:Part")
    with trusted(home, "foreign", [evil]), pytest.raises(ConfigError, match="subclass"):
        BACKBONES.load(f"{evil}:Part")


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=8), st.just("some/path.py:NAME")),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    )
)
def test_it_is_found_wherever_it_stands(settings: object) -> None:
    assert named_code(settings).count("some/path.py:NAME") == repr(settings).count("'some/path.py:NAME'")
