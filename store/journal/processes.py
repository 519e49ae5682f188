"""What tells a process from a later one with the same PID."""

from __future__ import annotations

import os
from pathlib import Path


def start_of(pid: int) -> float | None:
    """When a process began, in seconds after the start of the machine; none where there is none or the system is silent."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
        ticks = int(told.rpartition(")")[2].split()[19])  # the name before it may hold anything
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def boot_id() -> str | None:
    """Changes with every start of the machine; none where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
