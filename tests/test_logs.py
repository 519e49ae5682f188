"""The logs: rotated, shared by processes, without keys; an error that nobody expected is a sentence and a traceback in the log."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from sracl_tui import logs
from sracl_tui.cli.main import app
from sracl_tui.redaction import permission_problem, redact
from sracl_tui.runs import environment
from sracl_tui.tui.app import SraclApp
from store.home import Home

KEY = "sk-test-5a1e77c0ffee"
WRITER = """
import logging, sys
from pathlib import Path
from sracl_tui.logs import SharedFileHandler
handler = SharedFileHandler(Path(sys.argv[1]), Path(sys.argv[1]).parent, most_bytes=4000, kept=30)
for number in range(150):
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, f"{sys.argv[2]}-{number}", (), None))
"""


def test_processes_share_a_rotated_file_and_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "sracl.log"
    several = [subprocess.Popen([sys.executable, "-P", "-c", WRITER, str(path), name]) for name in ("a", "b", "c")]
    assert [process.wait(60) for process in several] == [0, 0, 0]
    files = list(tmp_path.glob("sracl.log*"))
    assert len(files) > 5
    assert all(file.stat().st_size <= 4000 for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    told = [json.loads(line)["what"] for file in files for line in file.read_text().splitlines()]
    assert sorted(told) == sorted(f"{name}-{number}" for name in "abc" for number in range(150))


def test_no_more_is_kept_than_was_asked_for(tmp_path: Path) -> None:
    handler = logs.SharedFileHandler(tmp_path / "x.log", tmp_path, most_bytes=500, kept=2)
    for number in range(100):
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", (), None))
    handler.close()
    assert sorted(file.name for file in tmp_path.glob("x.log*")) == ["x.log", "x.log.1", "x.log.2"]
    assert "line 99" in (tmp_path / "x.log").read_text()


def test_keys_stand_in_no_log(tmp_path: Path, monkeypatch) -> None:
    home = Home(tmp_path)
    monkeypatch.setenv("SOME_API_KEY", "environment-secret")
    (tmp_path / ".env").write_text('HOOK="https://chat.example/services/T0/B1/quoted-secret"\nSHORT=abc\n')
    try:
        raise RuntimeError(f"Bearer abc.def refused {KEY}")
    except RuntimeError as error:
        logs.crash(home, error, "posting to https://chat.example/services/T0/B1/quoted-secret with environment-secret")
    logs.log(home, "told", level=logging.WARNING, reason=f"{KEY} abc")
    text = logs.path_of(home).read_text()
    assert not any(secret in text for secret in (KEY, "quoted-secret", "environment-secret", "abc.def"))
    first, second = map(json.loads, text.splitlines())
    assert first["traceback"].startswith("Traceback")
    assert (second["level"], second["reason"]) == ("warning", "[key] abc")
    assert redact("a short word", tmp_path) == "a short word"
    assert (
        redact("no http://me:p@ss@10.0.0.1:8080/x, see a@b.c", tmp_path) == "no http://[key]@10.0.0.1:8080/x, see a@b.c"
    )
    assert redact("https://x.example:8080/v1 of a@b.c", tmp_path) == "https://x.example:8080/v1 of a@b.c"


def test_a_log_that_cannot_be_written_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    logs.log(Home(tmp_path), "nobody hears it")


def test_an_unexpected_error_of_a_command_is_a_sentence_and_a_traceback_in_the_log(tmp_path, monkeypatch) -> None:
    def broken() -> str:
        raise KeyError("a bug")

    monkeypatch.setattr(environment, "machine", broken)
    done = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)])
    assert done.exit_code == 1
    assert "KeyError" in done.stderr
    assert str(logs.path_of(Home(tmp_path))) in done.stderr
    assert "Traceback" not in done.output
    assert "raise KeyError" in json.loads(logs.path_of(Home(tmp_path)).read_text().splitlines()[-1])["traceback"]


def test_a_file_that_the_database_cannot_read_is_no_bug(tmp_path, monkeypatch) -> None:
    def broken() -> str:
        raise duckdb.IOException('IO Error: Cannot open file "/proc/self/cgroup": Input/output error')

    monkeypatch.setattr(environment, "machine", broken)
    done = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)])
    assert done.exit_code == 4
    assert "Store error: IO Error: Cannot open file" in " ".join(done.stderr.split())


def test_where_nothing_can_be_opened_the_error_itself_is_told(tmp_path, monkeypatch) -> None:
    def broken() -> str:
        monkeypatch.setitem(sys.modules, "sracl_tui.logs", None)
        raise KeyError("a bug")

    monkeypatch.setattr(environment, "machine", broken)
    done = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)])
    assert done.exit_code == 1
    assert "KeyError('a bug'), and its log cannot be written" in " ".join(done.stderr.split())


def test_an_unexpected_error_of_the_app_too(tmp_path, monkeypatch, capsys) -> None:
    def broken(self, **_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(SraclApp, "refresh_runs", broken)
    home = Home(tmp_path)
    home.create()
    made = SraclApp(home)
    made.run(headless=True)
    assert made.return_code == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "the app has ended by an error: KeyError" in told
    assert "Traceback" not in told
    assert 'raise KeyError("a bug")' in json.loads(logs.path_of(home).read_text().splitlines()[0])["traceback"]


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o644, True), (0o620, True)])
def test_keys_that_others_can_read_are_told_of(tmp_path: Path, mode: int, told: bool) -> None:
    assert permission_problem(tmp_path) == ""
    (tmp_path / ".env").write_text(f"A_KEY={KEY}\n")
    (tmp_path / ".env").chmod(mode)
    said = permission_problem(tmp_path)
    assert bool(said) is told
    assert KEY not in said
    done = CliRunner().invoke(app, ["alerts", "show", "--home", str(tmp_path)])
    assert ("chmod 600" in done.stderr) is told
    assert KEY not in done.output
