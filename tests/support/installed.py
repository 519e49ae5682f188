"""A package that is installed for one test: a module and its entry points, as `pip install` lays them out."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, module: str, code: str, points: dict[str, str]) -> None:
    """Write a module and the metadata of its package into a folder of `sys.path`.

    Args:
        points: `group:name` of an entry point, and what it names in the module.
    """
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(code)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"[{group}]\n{name} = {module}:{target}\n" for group, _, name, target in _split(points)]
    (metadata / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()


def _split(points: dict[str, str]) -> list[tuple[str, str, str, str]]:
    return [(*point.partition(":"), target) for point, target in points.items()]
