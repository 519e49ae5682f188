"""The local executor: a run is a process of this machine, in a session of its own, so it outlives whoever started it.

Whether it lives is told by the lock that it holds, which ends with it. No other module knows of locks, PIDs and machines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sracl_tui.runs.execution.base import LOG, Alive, Executor, Exited, Handle, ProcessState, Unknown, resume_words
from sracl_tui.runs.request import RunRequest
from store.errors import LookupFailed
from store.home import VARIABLE, Home
from store.journal.journal import lock_process
from store.journal.processes import start_of
from store.journal.submission import SUBMITTED
from store.locks import host
from store.publishing.liveness import local_state

FROM_QUEUE = "SRACL_FROM_QUEUE"
"""Set in the environment of a run that a worker of the queue starts here."""
_KEPT = 64
"""Ended children of which the exit code is remembered."""


class LocalExecutor(Executor):
    """Runs as processes of this machine, one at a time on each GPU."""

    poll_seconds = 0.05

    def submit(self, run_id: str, request: RunRequest, *, slot: str | None = None) -> Handle:
        """Start the process. Its output goes to `launch.log`."""
        more = {SUBMITTED: run_id} | ({FROM_QUEUE: "1", **_device(slot)} if slot is not None else {})
        child = spawn(self.home, resume_words(run_id), self.home.run_folder(run_id) / LOG, more)
        return Handle(run_id=run_id, id=f"{child.pid}@{host()}")

    def state(self, handle: Handle) -> ProcessState:
        """By its lock; of a child of this process also how it ended."""
        child = _child(handle)
        if child is not None and child.process.poll() is None:
            return Alive()
        state = local_state(self.home, handle.run_id)
        return child.end() if child is not None and isinstance(state, Exited) else state

    def wait(self, handle: Handle) -> Exited | Unknown:
        """Wait for the process, where it is a child of this one, and until its lock is free."""
        child = _child(handle)
        if child is not None:
            child.process.wait()
        return super().wait(handle)

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """Signal the process that holds the run's lock."""
        run_id = handle.run_id
        pid, began, machine = lock_process(self.home.run_folder(run_id))
        if pid is None:
            raise LookupFailed(f"run {run_id} is running on another machine: stop it there")
        if machine not in (None, host()) and (began is None or start_of(pid) != began):  # a machine may be renamed
            raise LookupFailed(f"run {run_id} is running on machine {machine}: stop it there")
        send_signal(run_id, pid, began, signal.SIGKILL if force else signal.SIGTERM)

    def slots(self) -> list[str]:
        """`cpu-0`, or one for each GPU: `cuda0-0`, `cuda1-1`."""
        gpus = devices()
        return ["cpu-0"] if gpus == [""] else [f"cuda{number}-{number}" for number in range(len(gpus))]

    def pid(self, handle: Handle) -> int | None:
        """PID of the process that took the run's lock last."""
        return lock_process(self.home.run_folder(handle.run_id))[0] or _pid(handle)

    def describe(self, handle: Handle) -> str:
        """`PID 7`."""
        return f"PID {_pid(handle) or self.pid(handle)}"


def spawn(home: Home, words: list[str], log: Path, variables: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `sracl` as a process of its own; its output is appended to a log.

    Args:
        words: the command, such as `["queue", "work", "cpu-0"]`.
        variables: of the environment, beside this process's own.

    Raises:
        OSError: the process cannot be started, or the log cannot be written.
    """
    command = [sys.executable, "-P", "-m", "sracl_tui.cli", *words]
    kills = memory_kills()
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, VARIABLE: str(home.path), **(variables or {})},
        )
    ended = [child for child in _children if child.process.poll() is not None]
    _children[:] = [child for child in _children if child not in ended[:-_KEPT]]
    _children.append(_Child(process, kills))
    return process


@dataclass(frozen=True, eq=False)
class _Child:
    """A process that this one started; it is kept so that it is reaped, and never killed."""

    process: subprocess.Popen[bytes]
    kills: int
    """`memory_kills()` when it was started."""

    def end(self) -> Exited:
        """How it ended."""
        code = self.process.returncode
        if code is None or code >= 0:
            return Exited(code=code)
        if -code == signal.SIGKILL and memory_kills() > self.kills:
            return Exited(signal="SIGKILL", reason="out of memory: the system killed its process (signal 9)")
        return Exited(signal=signal_name(-code), reason=f"killed by signal {-code} ({signal_name(-code)})")


_children: list[_Child] = []


def _pid(handle: Handle) -> int | None:
    pid = (handle.id or "").partition("@")[0]
    return int(pid) if pid.isdigit() else None


def _child(handle: Handle) -> _Child | None:
    """The child of this process that a handle names."""
    if handle.id != f"{_pid(handle)}@{host()}":
        return None
    return next((child for child in reversed(_children) if child.process.pid == _pid(handle)), None)


def devices() -> list[str]:
    """The value of `CUDA_VISIBLE_DEVICES` for each GPU of this machine; one empty string without a GPU."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        found = [word.strip() for word in named.split(",") if word.strip() not in ("", "-1")]
    else:
        try:
            found = [str(number) for number, _ in enumerate(os.listdir("/proc/driver/nvidia/gpus"))]
        except OSError:
            found = []
    return found or [""]


def _device(slot: str) -> dict[str, str]:
    kind = slot.partition("-")[0]
    return {"CUDA_VISIBLE_DEVICES": devices()[int(kind[4:])]} if kind.startswith("cuda") else {}


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; the number where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def memory_kills() -> int:
    """Processes that the kernel has killed for lack of memory so far; 0 where it does not count them."""
    for path, word in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        try:
            for line in Path(path).read_text().splitlines():
                if line.split()[0] == word:
                    return int(line.split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return 0


def send_signal(run_id: str, pid: int, began: float | None, number: signal.Signals) -> None:
    """Send a signal to the process that began then, not to a later one with the same PID."""
    try:
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        try:
            if began is not None and start_of(pid) not in (began, None):
                return  # it has ended; the PID is another process's now
            if handle is None:
                os.kill(pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        finally:
            if handle is not None:
                os.close(handle)
    except ProcessLookupError:
        return
    except PermissionError:
        raise LookupFailed(f"process {pid} of run {run_id} belongs to another user") from None
