"""Commands that see another machine than the test does: one with another name and PIDs, or one without /proc.

They need the right to make Linux namespaces; without it the test that asks for one is skipped.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

SECOND = "second"
"""Name of the other machine."""
_OTHER = (
    "--uts",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
    "sh",
    "-c",
    f'hostname {SECOND} && exec "$@"',
    "sh",
)
_BARE = ("--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")


def second_machine(*command: str) -> list[str]:
    """The command on another machine with the same files: its own host name, its own PIDs. Killing it kills what it started."""
    return _prefixed(_OTHER, command)


def without_proc(*command: str) -> list[str]:
    """The command where /proc is empty, as it is missing on macOS."""
    return _prefixed(_BARE, command)


def _prefixed(how: tuple[str, ...], command: tuple[str, ...]) -> list[str]:
    if problem := _problem(how):
        pytest.skip(f"no namespace can be made here: {problem}")
    return ["unshare", *how, *command]


@cache
def _problem(how: tuple[str, ...]) -> str:
    if shutil.which("unshare") is None:
        return "there is no unshare"
    done = subprocess.run(["unshare", *how, "true"], capture_output=True, text=True)
    return done.stderr.strip() or "refused" if done.returncode else ""
