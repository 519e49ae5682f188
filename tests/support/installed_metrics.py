"""A package with metrics, as pip installs one: modules, and entry points of the group `sracl.metrics`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from engine import metric_registry


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, points: Mapping[str, str], **modules: str) -> None:
    """Install modules by the code in them, beside those that lie in the folder, and entry points `name: module:attribute`."""
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code, "utf-8")
    about = folder / "some_metrics-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: some-metrics\nVersion: 1.0\n", "utf-8")
    lines = [f"{name} = {place}" for name, place in points.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{metric_registry.GROUP}]", *lines, ""]), "utf-8")
    monkeypatch.syspath_prepend(folder)
    forget(points)


def forget(points: Mapping[str, str] | Iterable[str]) -> None:
    """Have entry points read anew, and their modules imported anew."""
    metric_registry._points.cache_clear()
    metric_registry._installed.cache_clear()
    for place in points.values() if isinstance(points, Mapping) else points:
        sys.modules.pop(place.partition(":")[0], None)
