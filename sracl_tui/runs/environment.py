"""Describes the environment of a run: machine, packages, git state. Imports nothing heavy."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.models import kernel_library
from sracl_tui.version import __version__

PACKAGES = (
    "torch",
    "numpy",
    "duckdb",
    "pyarrow",
    "sentence-transformers",
    "scikit-learn",
    "annoy",
    "pydantic",
)


def describe() -> dict[str, Any]:
    """Environment fields of the event `run_started`."""
    return {"code_version": __version__, "packages": package_versions(), "machine": machine(), **git_state()}


def package_versions() -> dict[str, str]:
    """Installed versions of Python and of the packages that can affect results, or `not installed`; and what a CPU trains with."""
    versions = {"python": platform.python_version(), "kernels": kernel_library.name()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def machine() -> str:
    """One line with system, processor, cores and memory; `processor_of` parses it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.system()} {platform.release()}, {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def processor_of(machine: str) -> str:
    """The processor from a line of `machine()`."""
    return ", ".join(machine.split(", ")[1:-2])


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_state() -> dict[str, str | None]:
    """Commit and uncommitted patch of the checkout that the code runs from; None for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return {"git_sha": None, "git_patch": None}
    return {"git_sha": _git(folder, "rev-parse", "HEAD"), "git_patch": _git(folder, "diff", "HEAD") or None}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def peak_memory() -> int:
    """Peak resident memory of this process, in bytes."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
