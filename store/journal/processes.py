"""Facts that tell a process from a later one with the same PID: when it began, and since when the machine runs."""

from __future__ import annotations

import os
from pathlib import Path


def start_of(pid: int) -> float | None:
    """When a process began, in seconds after the machine's start; None where it has ended or /proc does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        ticks = int(stat.rpartition(")")[2].split()[19])  # the name before it may hold anything
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def boot_id() -> str | None:
    """An id that changes with every start of the machine; None where /proc does not give one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
