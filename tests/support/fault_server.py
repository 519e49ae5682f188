"""Runs commands, each in a forked process under `strace`, which lets chosen system calls fail or kills at them.

    python -m tests.support.fault_server

reads a JSON list per line: the home, an expression for `strace -e inject=` (empty for none), the words of the command, the most
seconds that it may take, and whether it is traced at all. It answers with exit code, stdout, stderr, and the calls of each traced name. Everything is imported
before, so that the calls of a command are few and the same each time, and are counted from its beginning.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

CALLS = (
    "openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "link", "unlink", "unlinkat", "ftruncate", "mkdir",
    "rmdir", "flock", "copy_file_range", "sendfile", "pread64", "read", "chmod", "fchmod",
)  # fmt: skip
"""The calls by which a command reaches files."""


def _command(home: str, words: list[str], folder: Path, *, record: bool) -> None:
    """What the forked process does."""
    os.environ["SRACL_HOME"] = home
    sys.argv = ["sracl", *words]
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    from sracl_tui.cli.main import main

    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 99
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):
        sys.stderr.flush()
    if record:
        (folder / "modules").write_text("\n".join(sys.modules))
    os._exit(code)


def run(home: str, inject: str, words: list[str], seconds: float, folder: Path, *, traced: bool) -> dict[str, object]:
    """Run a command to its end; the code is negative for a signal, and -99 where it took too long."""
    for name in ("out", "err"):
        (folder / name).write_text("")
    go, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(folder / name, os.O_WRONLY | os.O_TRUNC)
            os.dup2(file, number)
            os.close(file)
        os.read(go, 1)
        os.close(go)
        _command(home, words, folder, record=traced and not inject)
    os.close(go)
    tracer = _trace(child, inject, folder) if traced else None
    os.write(told, b"x")
    os.close(told)
    code, deadline = None, time.monotonic() + seconds
    while code is None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            code = -99
        else:
            time.sleep(0.005)
    if tracer is not None:
        tracer.wait(30)
    trace = "" if tracer is None else (folder / "trace").read_text(errors="replace")
    calls_of = _calls(trace, home)
    out, err = ((folder / name).read_text(errors="replace") for name in ("out", "err"))
    places = re.findall(r'"([^"]*)"[^"]*\(INJECTED\)', trace) + ["a signal"] * trace.count("killed by SIGKILL")
    return {"code": code, "out": out, "err": err, "calls": calls_of, "places": places}


def _trace(child: int, inject: str, folder: Path) -> subprocess.Popen[bytes]:
    """A `strace` that holds the process."""
    calls = inject.split(":")[0] if inject else ",".join(CALLS)
    options = [f"--trace={calls}", *([f"--inject={inject}"] if inject else [])]
    words = ["strace", "-f", "-qqq", "-p", str(child), "-y", "-s", "300", "-o", str(folder / "trace"), *options]
    tracer = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    while "TracerPid:\t0\n" in Path(f"/proc/{child}/status").read_text() and tracer.poll() is None:
        time.sleep(0.002)
    return tracer


def _calls(trace: str, home: str) -> dict[str, list[int]]:
    """Numbers of the calls by name which reach a file of the home, or have no name of a file, as each process counts them."""
    counts: dict[tuple[str, str], int] = {}
    found: dict[str, set[int]] = {}
    for pid, call, words in re.findall(r"^(\d+) +(\w+)\((.*)", trace, re.M):
        counts[pid, call] = counts.get((pid, call), 0) + 1
        if not call.startswith(("open", "mkdir")) or home in words:
            found.setdefault(call, set()).add(counts[pid, call])
    return {call: sorted(numbers) for call, numbers in found.items()}


def main() -> None:
    folder = Path(sys.argv[1])
    import sracl_tui.cli.main  # noqa: F401
    from store.publishing import turns

    turns.SMALL_BYTES = turns.COPIED_PER_TAKEN = 0  # small files take turns, too
    for line in sys.stdin:
        home, inject, words, seconds, traced = json.loads(line)
        found = run(home, inject, words, seconds, folder, traced=traced)
        if traced and not inject:  # the next one imports nothing
            for name in (folder / "modules").read_text().split():
                with suppress(Exception):
                    import_module(name)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
