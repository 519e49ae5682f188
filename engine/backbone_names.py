"""What `model.backbone` may be: one of ours, an entry point, or `path.py:Class`. Imports no torch."""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

OURS = ("sasrec", "gru4rec", "bert4rec")
GROUP = "sracl.backbones"
"""Entry points under which an installed package offers backbones."""
_FILE = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")


def split_file(name: str) -> tuple[Path, str] | None:
    """Path and class name of `path.py:Class`; none for any other form."""
    match = _FILE.fullmatch(name)
    return (Path(match["path"]), match["name"]) if match else None


def absolute(name: str) -> str:
    """The same backbone with an absolute path: a run starts and resumes in other working directories."""
    parts = split_file(name)
    return f"{parts[0].expanduser().resolve()}:{parts[1]}" if parts else name


def entry_point(name: str) -> EntryPoint | None:
    """The installed entry point of a name."""
    return next(iter(entry_points(group=GROUP, name=name)), None)


def problem_of(name: str) -> str | None:
    """Why a name cannot be looked up, as a message; none where it can. Imports nothing."""
    if name in OURS:
        return None
    parts = split_file(name)
    if parts is not None:
        return None if parts[0].is_file() else f"there is no file {parts[0]}"
    if entry_point(name) is not None:
        return None
    others = [point.name for point in entry_points(group=GROUP)]
    return f"there is no backbone {name!r}; there are {', '.join([*OURS, *others])}, and path.py:Class for your own"


def identity_of(name: str) -> str:
    """The name for `Config.config_hash`: a file counts by the SHA-256 of its content, not by its path."""
    parts = split_file(name)
    if parts is None:
        return name
    try:
        digest = hashlib.sha256(parts[0].read_bytes()).hexdigest()
    except OSError:
        digest = "missing"
    return f"{digest}:{parts[1]}"


KEPT = "own_backbone.py"
"""Name of that copy."""


def keep(name: str, folder: Path) -> None:
    """Copy a file with a backbone into a run's folder, so that the trained model can be rebuilt after the file has changed.

    Raises:
        OSError: the file cannot be read or copied.
    """
    parts = split_file(name)
    if parts is not None and not (folder / KEPT).exists():
        (folder / KEPT).write_bytes(parts[0].read_bytes())


def kept(name: str, folder: Path) -> str:
    """The same backbone from the copy in a folder, where there is one."""
    parts = split_file(name)
    return f"{folder.resolve() / KEPT}:{parts[1]}" if parts and (folder / KEPT).exists() else name
