"""A figure written by `sracl export` in a process of its own: whoever asks for it imports no matplotlib and waits for no drawing."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.errors import ConfigError
from store.home import Home

FOLDER = "figures"
"""In the home."""
SECONDS = 600
_LONGEST = 60


def figure_path(home: Home, words: Sequence[str], *, name: str) -> Path:
    """Where a figure is written: one place for each command, so that the same figure replaces itself.

    Args:
        words: the command's, which a hash in the name stands for.
        name: how a person recognizes it.
    """
    text = re.sub(r"[^\w.@+-]+", "-", name).strip("-.")[:_LONGEST]
    digest = hashlib.sha256("\0".join(words).encode()).hexdigest()[:6]
    return home.path / FOLDER / f"{text}-{digest}.svg"


def export_in_process(home: Home, words: Sequence[str], path: Path) -> None:
    """Run `sracl export WORDS --out PATH` to its end.

    Raises:
        ConfigError: it failed; the message is what it said.
        OSError: the folder or the process cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-P",
        "-m",
        "sracl_tui.cli",
        "export",
        *words,
        "--home",
        str(home.path),
        "--out",
        str(path),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"the figure was not drawn in {SECONDS} seconds", where="--figure") from None
    if done.returncode:
        raise ConfigError(done.stderr.strip() or f"sracl export ended with exit code {done.returncode}")
