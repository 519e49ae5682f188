"""Code by path is imported only as a home allows it: what a person named, with the content that it had."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.extension_points import BACKBONES, BACKENDS, ENCODERS, PROVIDERS, READERS, SYNTHESIZERS
from engine.method_table import METHODS
from engine.registry import Registry
from sracl_tui.runs import own_code
from sracl_tui.runs.execution.answers import with_executors
from sracl_tui.runs.execution.registry import EXECUTORS
from store.home import Home
from store.journal.submission import read_handle, write_handle
from store.process_state import Handle, Unknown

POINTS = (BACKBONES, BACKENDS, ENCODERS, EXECUTORS, METHODS, PROVIDERS, READERS, SYNTHESIZERS)
CODE = "import os\nos.environ['SRACL_EVIL'] = 'ran'\nclass Part: pass\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A guarded home; what is imported leaves a trace in the environment."""
    monkeypatch.setenv("SRACL_EVIL", "")
    home = Home(tmp_path / "home")
    home.create()
    own_code.guard(home)
    return home


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    path = tmp_path / "evil.py"
    path.write_text(CODE)
    return path


def imported(path: Path, registry: Registry = BACKBONES) -> bool:
    """Whether the code of a file runs when its class, which is no part, is looked up."""
    with pytest.raises(ConfigError):
        registry.load(f"{path}:Part")
    ran, os.environ["SRACL_EVIL"] = os.environ["SRACL_EVIL"], ""
    return ran == "ran"


@pytest.mark.parametrize("registry", POINTS, ids=lambda point: point.kind)
def test_nothing_is_imported_that_nobody_allowed(home: Home, evil: Path, registry: Registry) -> None:
    assert not imported(evil, registry)
    with pytest.raises(ConfigError, match="nobody has allowed this file in this home") as caught:
        registry.load(f"{evil}:Part")
    assert f"--allow-code {evil}" in str(caught.value.hint)


def test_what_was_allowed_is_and_what_it_becomes_is_not(home: Home, evil: Path, tmp_path: Path) -> None:
    own_code.allow(home, evil, by=own_code.OPTION)
    assert imported(evil)
    copied = tmp_path / "copied.py"  # as a run keeps it in its folder
    copied.write_text(CODE)
    assert imported(copied)
    evil.write_text(CODE + "#")
    with pytest.raises(
        ConfigError, match=r"changed since it was allowed by --allow-code on 20.*SHA-256 \w{12} then, \w{12} now"
    ):
        BACKBONES.load(f"{evil}:Part")
    assert not imported(evil)


def test_the_words_of_a_command_line_allow(home: Home, evil: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "a file.py"
    spaced.write_text(CODE + "# other")
    names = [f"{evil}:Part", f"model.backbone={evil}:Part", f"backend=exact,{evil}:Part", f'k=["{evil}:Part", "x"]']
    for number, word in enumerate(names):
        evil.write_text(f"{CODE}#{number}")
        assert not imported(evil), word
        own_code.allow_words(home, ["run", "--set", word])
        assert imported(evil), word
    own_code.allow_words(home, ["--set", f"backbone={spaced}:Part"])
    assert imported(spaced)


def test_a_settings_file_is_ones_own_once_its_code_was_allowed(home: Home, evil: Path, tmp_path: Path) -> None:
    night, other = tmp_path / "night.toml", tmp_path / "other.toml"
    for path in (night, other):
        path.write_text(f'backbone = "{evil}:Part"\n')
    own_code.allow_settings(home, night)
    assert not imported(evil)
    own_code.allow(home, evil, by=own_code.OPTION)
    own_code.allow_settings(home, night)
    evil.write_text(CODE + "#")
    own_code.allow_settings(home, other)  # never used with it: somebody else's
    assert not imported(evil)
    own_code.allow_settings(home, night)
    assert imported(evil)
    more = tmp_path / "more.py"
    more.write_text(CODE + "# more")
    night.write_text(f'backbone = "{more}:Part"\n')
    own_code.allow_settings(home, night)
    assert not imported(more)


def test_another_home_and_its_record_alone_decide(home: Home, evil: Path, tmp_path: Path) -> None:
    own_code.allow(home, evil, by=own_code.APP)
    other = Home(tmp_path / "other")
    other.create()
    own_code.guard(other)
    assert not imported(evil)
    for junk in (
        b"\xff{",
        b"[1]\n",
        b'{"path": 1}\n',
        b"[" * 9999 + b"\n",
        b'{"sha256": "x", "path": "y", "by": "z"}\n',
    ):
        (other.path / own_code.FILE).write_bytes(junk)
        assert not imported(evil)
    (other.path / own_code.FILE).unlink()
    os.mkfifo(other.path / own_code.FILE)
    assert not imported(evil)
    assert (home.path / own_code.FILE).stat().st_mode & 0o777 == 0o600


def test_a_compiled_copy_of_other_code_is_not_run(home: Home, evil: Path) -> None:
    evil.write_text("import os\nos.environ['SRACL_EVIL'] = 'pyc'\nclass Part: pass\n")
    py_compile.compile(str(evil))
    stamp = evil.stat()
    evil.write_text("import os\nos.environ['SRACL_EVIL'] = 'ran'\nclass Part: pass\n")  # of the same length
    os.utime(evil, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert Path(importlib.util.cache_from_source(str(evil))).exists()
    own_code.allow(home, evil, by=own_code.OPTION)
    assert imported(evil)


def test_no_executor_comes_from_a_file_in_a_run(home: Home, evil: Path) -> None:
    folder = home.run_folder("run")
    folder.mkdir()
    write_handle(folder, Handle(run_id="run", executor=f"{evil}:Part", id="7"))
    asked = with_executors(home)
    assert isinstance(asked.ask_executor(read_handle(folder)), Unknown)
    assert os.environ["SRACL_EVIL"] == ""


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=8), st.just("some/path.py:NAME")),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    )
)
def test_it_is_found_wherever_it_stands(settings: Any) -> None:
    assert own_code.named_code(settings).count("some/path.py:NAME") == json.dumps(settings).count('"some/path.py:NAME"')
