"""Runs commands, each in a forked process whose system calls wait for an answer here: one may fail, or be the last one.

    python -m tests.support.fault_server FOLDER

reads a JSON list per line: the home, a fault such as `openat:error=EIO:when=7`, `...:when=7+` (from there on) or `write:signal=KILL:when=3`
(the words of `strace --inject`; `all` to count calls, empty for neither), the words of the command, and the most seconds that it may take. It
answers with exit code, stdout, stderr, and the calls that reach the home. Everything is imported before, so that the calls of a command are few and the same each
time, and are counted from its beginning, by thread. What the kernel asks is `seccomp_unotify(2)`: unlike under ptrace, other calls cost nothing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import platform
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

NUMBERS = {
    "openat": 257, "write": 1, "pwrite64": 18, "fsync": 74, "fdatasync": 75, "rename": 82, "link": 86, "unlink": 87, "unlinkat": 263,
    "ftruncate": 77, "mkdir": 83, "rmdir": 84, "flock": 73, "copy_file_range": 326, "sendfile": 40, "chmod": 90, "fchmod": 91,
}  # fmt: skip
"""The calls by which a command changes or opens files, by their numbers on x86-64."""
CREATES = "openat that creates"
"""Beside `openat`, those of them that may make a file, and so may find the disk full."""
_NAMES = {number: name for name, number in NUMBERS.items()}
_PATH_AT = {"openat": 1, "unlinkat": 1, "rename": 0, "link": 0, "unlink": 0, "mkdir": 0, "rmdir": 0, "chmod": 0}
"""Which argument is a path; of the other calls the first one is a file's number."""
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_SECCOMP, _SET_FILTER, _NEW_LISTENER, _NO_NEW_PRIVILEGES = 317, 1, 8, 38
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1


def missing() -> str:
    """Why calls cannot be made to fail here; empty where they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the numbers of system calls are those of Linux on x86-64"
    child = os.fork()
    if child == 0:
        with suppress(OSError):
            _listen([*NUMBERS])
            os._exit(0)
        os._exit(1)
    return "the kernel gives no notice of system calls" if os.waitpid(child, 0)[1] else ""


def _listen(names: list[str]) -> int:
    """Let every call of these names of this thread, and of those that it starts, wait for an answer; the file to answer at."""
    libc = ctypes.CDLL(None, use_errno=True)
    count = len(names)
    lines = [(_LOAD, 0, 0, 0)]  # the number of the call
    lines += [(_EQUAL, count - place, 0, NUMBERS[name]) for place, name in enumerate(names)]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code)))
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    found = libc.syscall(_SECCOMP, _SET_FILTER, _NEW_LISTENER, program)
    if found < 0:
        raise OSError(ctypes.get_errno(), "no listener")
    return found


@dataclass
class Fault:
    """Which call fails, and how."""

    call: str = ""
    error: int = 0
    """Number of the error; 0 kills."""
    first: int = 0
    always: bool = False

    @classmethod
    def read(cls, words: str) -> Fault:
        """From `CALL:error=NAME:when=N`, `CALL:signal=KILL:when=N`, with a `+` behind N for all from there on."""
        if ":" not in words:
            return cls()
        call, how, when = words.split(":")
        name = how.removeprefix("error=")
        number = when.removeprefix("when=")
        return cls(call, 0 if how == "signal=KILL" else getattr(errno, name), int(number.rstrip("+")), "+" in number)

    def hits(self, call: str, number: int) -> bool:
        """Whether it is a thread's call of this number."""
        return call == self.call and (number >= self.first if self.always else number == self.first)


@dataclass
class Calls:
    """The calls of a command, as they are answered."""

    home: str
    fault: Fault
    counts: dict[tuple[int, str], int] = field(default_factory=dict)
    reached: dict[str, set[int]] = field(default_factory=dict)
    """Numbers of the calls by name which reach a file of the home, or do not open or make a file at all."""
    places: list[str] = field(default_factory=list)
    """Files of the calls that failed."""

    def answer(self, listener: int) -> None:
        """Answer one call."""
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECEIVE, asked, True)
        except OSError:  # it was killed meanwhile
            return
        token, pid, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", asked)
        call = _NAMES[number]
        count = self.counts[pid, call] = self.counts.get((pid, call), 0) + 1
        if call == "openat" and arguments[2] & os.O_CREAT:
            self.reached.setdefault(CREATES, set()).add(count)
        hit = self.fault.hits(call, count)
        if hit or call in ("openat", "mkdir"):
            place = _place(pid, call, arguments)
            if hit:
                self.places.append(place)
            if self.home in place or call not in ("openat", "mkdir"):
                self.reached.setdefault(call, set()).add(count)
        else:
            self.reached.setdefault(call, set()).add(count)
        if hit and not self.fault.error:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return
        answer = (token, 0, -self.fault.error, 0) if hit else (token, 0, 0, _CONTINUE)
        with suppress(OSError):
            fcntl.ioctl(listener, _SEND, struct.pack("QqiI", *answer))


def _place(pid: int, call: str, arguments: list[int]) -> str:
    """The file that a call is about."""
    with suppress(OSError):
        if call not in _PATH_AT:
            return os.readlink(f"/proc/{pid}/fd/{arguments[0]}")
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(arguments[_PATH_AT[call]])
            return memory.read(4096).split(b"\0")[0].decode(errors="replace")
    return "?"


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


def run(home: str, inject: str, words: list[str], seconds: float, folder: Path) -> dict[str, object]:
    """Run a command to its end; the code is negative for a signal, and -99 where it took too long."""
    for name in ("out", "err"):
        (folder / name).write_text("")
    here, there = socket.socketpair()
    fault = Fault.read(inject)
    names = [fault.call] if fault.call else [*NUMBERS] if inject else []
    child = os.fork()
    if child == 0:
        here.close()
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(folder / name, os.O_WRONLY | os.O_TRUNC)
            os.dup2(file, number)
            os.close(file)
        if names:
            listener = _listen(names)
            socket.send_fds(there, [b"x"], [listener])
            os.close(listener)
        there.close()
        _command(home, words, folder, record=inject == "all")
    there.close()
    listeners = socket.recv_fds(here, 1, 1)[1]
    here.close()
    calls = Calls(home, fault)
    waiting = select.poll()
    for listener in listeners:
        waiting.register(listener, select.POLLIN)
    code, deadline = None, time.monotonic() + seconds
    while code is None:
        for listener, event in waiting.poll(5):
            if event & select.POLLIN:
                calls.answer(listener)
            else:  # nobody is left who would ask
                time.sleep(0.001)
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            code = -99
    for listener in listeners:
        while waiting.poll(0) == [(listener, select.POLLIN)]:  # of what it started
            calls.answer(listener)
        os.close(listener)
    out, err = ((folder / name).read_text(errors="replace") for name in ("out", "err"))
    reached = {call: sorted(numbers) for call, numbers in calls.reached.items()}
    return {"code": code, "out": out, "err": err, "calls": reached, "places": calls.places}


def main() -> None:
    folder = Path(sys.argv[1])
    import sracl_tui.cli.main  # noqa: F401
    from store.publishing import turns

    turns.SMALL_BYTES = turns.COPIED_PER_TAKEN = 0  # small files take turns, too
    for line in sys.stdin:
        home, inject, words, seconds = json.loads(line)
        found = run(home, inject, words, seconds, folder)
        if inject == "all":  # the next one imports nothing
            for name in (folder / "modules").read_text().split():
                with suppress(Exception):
                    import_module(name)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
