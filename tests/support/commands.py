"""The `sracl` command for tests: in a process of its own, or in this one, which saves the imports of another."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 240
"""After which a command is taken for one that hangs."""


def environment(home: Path) -> dict[str, str]:
    """Environment of a process that runs this checkout's code on a home, with room for wide tables."""
    return {**os.environ, "SRACL_HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def command(*words: str | Path) -> list[str]:
    """Command line of `sracl` with these words."""
    return [sys.executable, "-P", "-m", "sracl_tui.cli", *map(str, words)]


def start(home: Path, *words: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start `sracl` in a process, with what it prints thrown away unless `options` of `Popen` say otherwise."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(*words), env=environment(home), **(silent | options))


def sracl_process(
    home: Path, *words: str | Path, code: int = 0, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `sracl` to its end in a process, in the home's folder, and check its exit code."""
    done = subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        input=stdin,
        timeout=SECONDS,
        cwd=home,
        env=environment(home),
    )
    return _checked(done, code)


def sracl_inside(
    home: Path, *words: str | Path, code: int | tuple[int, ...] = 0, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `sracl` to its end in this process, in the home's folder where there is one, and check its exit code.

    Args:
        code: the one that it has to have, or those of which it may have any.
    """
    from typer.testing import CliRunner

    from sracl_tui.cli.main import app

    with contextlib.chdir(home) if home.is_dir() else contextlib.nullcontext():
        found = CliRunner().invoke(app, [*map(str, words)], input=stdin, env=environment(home))
    said = found.stderr
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        said += "\n" + "".join(traceback.format_exception(found.exception))
    return _checked(subprocess.CompletedProcess(list(map(str, words)), found.exit_code, found.stdout, said), code)


def until(done: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until `done` gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return found


def _checked(done: subprocess.CompletedProcess[str], code: int | tuple[int, ...]) -> subprocess.CompletedProcess[str]:
    codes = code if isinstance(code, tuple) else (code,)
    assert done.returncode in codes, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done
