"""A package with metrics, as pip installs one: a module, and entry points of the group `sracl.metrics`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine import metric_registry


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, **names: str) -> None:
    """Install a module of this code; `names` are entry points, each with the attribute that it names."""
    module = f"some_metrics_{abs(hash(str(folder)))}"
    (folder / f"{module}.py").write_text(code, "utf-8")
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", "utf-8")
    lines = [f"{name} = {module}:{attribute}" for name, attribute in names.items()]
    (about / "entry_points.txt").write_text("\n".join(["[sracl.metrics]", *lines, ""]), "utf-8")
    monkeypatch.syspath_prepend(folder)
    forget()


def forget() -> None:
    """Have the entry points read anew."""
    metric_registry._points.cache_clear()
    for name in [name for name in sys.modules if name.startswith("some_metrics_")]:
        del sys.modules[name]
