"""Facts about processes of this machine, and its name: what tells a process from a later one with the same PID.

They are read from /proc. Where that cannot be read, as on macOS, `ps` and `sysctl` are asked.
"""

from __future__ import annotations

import os
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from store.locks import host

PROC = Path("/proc")


def own_id() -> str:
    """What the local executor calls this process: `PID@HOST`."""
    return f"{os.getpid()}@{host()}"


def own_facts() -> dict[str, Any]:
    """PID, machine, boot id and start of this process: fields of `run_started`, and columns of a run."""
    pid = os.getpid()
    return {"pid": pid, "host": host(), "boot_id": boot_id(), "process_started": start_of(pid)}


def start_of(pid: int) -> float | None:
    """When a process began; None where it has ended or the system does not tell.

    Seconds after the machine's start, to hundredths, from /proc; Unix seconds, to whole ones, from `ps`.
    """
    if _has_proc():
        try:
            stat = (PROC / str(pid) / "stat").read_text()
            ticks = int(stat.rpartition(")")[2].split()[19])  # the name before it may hold anything
            return ticks / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None
    try:
        return time.mktime(time.strptime(_output("ps", "-o", "lstart=", "-p", str(pid)), "%a %b %d %H:%M:%S %Y"))
    except ValueError:
        return None


def owned_name(name: str) -> str:
    """The name of a temporary folder of this process, which `is_abandoned` recognizes once the process is dead."""
    return f"{name}@{host()}.{os.getpid()}"


def is_abandoned(name: str) -> bool:
    """Whether the process of this machine whose temporary folder has this name is dead; earlier versions named no machine."""
    owner, _, pid = name.rpartition(".")
    machine = owner.partition("@")[2] or host()
    return pid.isdigit() and machine == host() and not is_running(int(pid))


def is_running(pid: int) -> bool:
    """Whether a process of this machine has this PID, whoever it belongs to."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def boot_id() -> str | None:
    """An id that changes with every start of the machine; None where the system does not give one."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _session_id()


@lru_cache(maxsize=1)
def _session_id() -> str | None:
    """The name that macOS gives to the time since its start."""
    return _output("sysctl", "-n", "kern.bootsessionuuid") or None


def _has_proc() -> bool:
    return (PROC / "self").exists()


def _output(*command: str) -> str:
    """What a system's tool prints in plain English; empty where it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
