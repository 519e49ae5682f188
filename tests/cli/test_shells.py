"""Odd surroundings of a command: no home folder, paths that no database opens, ASCII, no terminal, ctrl+c at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sracl_tui.cli.options_and_output import begin
from store.errors import StoreError
from store.home import Home
from tests.support.commands import ROOT

SRACL = (sys.executable, "-P", "-m", "sracl_tui.cli")
ODD = "✓ café 文具"


def run(*words: str, home: Path | None = None, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({"SRACL_HOME": str(home)} if home else {}) | variables
    return subprocess.run([*SRACL, *words], env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)


def test_a_user_without_a_home_folder_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("SRACL_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("no such user")))
    with pytest.raises(StoreError, match=r"no folder for the home is known[\s\S]*--home or SRACL_HOME"):
        Home.resolve(Path("~/somewhere"))
    with pytest.raises(StoreError, match="no folder for the home is known"):
        Home.resolve()


@settings(max_examples=200, deadline=None)
@given(st.text("abé#% ?\\\udcff*[]'\"\n", min_size=1, max_size=8))
def test_a_home_is_usable_or_refused_in_words(name: str) -> None:
    odd = any(letter in name for letter in "?\\\udcff")
    path = Path("/tmp") / name
    if odd:
        with pytest.raises(StoreError, match="UTF-8, without question marks") as caught:
            Home.resolve(path)
        str(caught.value).encode()
    else:
        assert Home.resolve(path).path == path.absolute()


@pytest.mark.parametrize("name", ["x#?q", "x\\q", "x\udcffq"])
def test_such_a_home_is_exit_code_4_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    done = run("runs", home=tmp_path / name)
    assert done.returncode == 4
    assert b"no database can be opened by it" in done.stderr
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_every_text_can_be_printed_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    query = ("sql", f"SELECT '{ODD}' AS x")
    table = run(*query, home=tmp_path / "home", PYTHONIOENCODING=encoding)
    assert table.returncode == 0, table.stderr
    assert b"caf" in table.stdout
    document = run(*query, "--json", home=tmp_path / "home", PYTHONIOENCODING=encoding)
    assert json.loads(document.stdout.decode(encoding)) == [{"x": ODD}]


def test_the_app_without_a_terminal_is_an_error_in_words(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SRACL_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sracl_tui"],
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"needs a terminal" in done.stderr
    assert done.stdout == b""


def test_a_name_of_20_000_letters_is_refused_before_a_run_begins(tmp_path: Path) -> None:
    done = run("run", "--name", "a" * 20_000, "--headless", home=tmp_path / "home")
    assert done.returncode == 2
    assert b"has 20,000 letters; at most 500" in done.stderr
    assert len(done.stderr) < 500
    assert not list((tmp_path / "home").glob("runs/*"))


EARLY = """
import builtins, os, signal, sys
plain, wanted = builtins.__import__, sys.argv[1]
def slow(name, *more):
    if name == wanted:
        os.kill(os.getpid(), signal.SIGINT)
    return plain(name, *more)
builtins.__import__ = slow
from sracl_tui.cli import main
sys.argv[1:] = ["runs"]
main()
"""


@pytest.mark.parametrize("module", ["typer", "engine.errors", "rich.console", "duckdb"])
def test_ctrl_c_in_the_first_second_is_exit_code_130(tmp_path: Path, module: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SRACL_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", EARLY, module], env=environment, capture_output=True, timeout=60)
    assert done.returncode in (130, -signal.SIGINT)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("closed", "code"), [("", 0), ("2>&-", 4)])
def test_the_null_device_is_needed_for_closed_streams_only(tmp_path: Path, closed: str, code: int) -> None:
    """The system cannot open it, as in a bare root directory."""
    start = "import os; os.devnull += '/none'; from sracl_tui.cli.main import main; main()"
    words = [sys.executable, "-P", "-c", start, "methods", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SRACL_HOME": str(tmp_path)}
    shell = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words]
    done = subprocess.run(shell, env=environment, capture_output=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert bool(done.stdout) == (code == 0)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_stream_that_is_closed_is_the_null_device(tmp_path: Path, closed: int) -> None:
    """`sracl ... >&-`: the database must not be opened as stdout, and nothing fails for want of a stream."""
    words = ["sql"] if closed == 0 else ["sql", "SELECT 7 AS n", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SRACL_HOME": str(tmp_path)}
    pipes = {place: subprocess.PIPE if place != closed else None for place in (1, 2)}
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}{"<" if closed == 0 else ">"}&-', "sh", *SRACL, *words],
        env=environment, stdout=pipes[1], stderr=pipes[2], timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert not done.stderr
    assert done.stdout == {0: b"", 1: None, 2: b'[{"n":7}]\n'}[closed]


def test_a_query_in_a_locale_without_its_letters_is_read_as_utf8(tmp_path: Path) -> None:
    query = f"SELECT '{ODD}' AS x"
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = run("sql", query, "--json", home=tmp_path, **plain)
    assert (done.returncode, json.loads(done.stdout)) == (0, [{"x": ODD}])


@pytest.mark.parametrize("columns", ["0", "1", "-5", "abc", "999999999999", "1e3", "", "٣"])
def test_a_width_that_nothing_fits_in_is_not_believed(columns: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    begin(lambda: None)
    assert "COLUMNS" not in os.environ
    monkeypatch.setenv("COLUMNS", "80")
    begin(lambda: None)
    assert os.environ["COLUMNS"] == "80"


def test_a_current_folder_that_was_removed_is_told(monkeypatch, capsys) -> None:
    """A library of torch ends the process there without a word of its own."""

    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    with pytest.raises(SystemExit) as caught:
        begin(lambda: None)
    assert caught.value.code == 2
    assert "the current folder was removed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "file", "file/below"])
def test_a_home_that_cannot_be_made_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="this home cannot be made"):
        Home(tmp_path / name).create()
