"""Code by path (`path.py:NAME`) that the settings of an imported run name: somebody else chose it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from engine.registry import only_files
from store.home import Home
from store.publishing.bundle_reader import FILE

_NAMES_CODE = re.compile(r".+\.py:\w+", re.DOTALL)


def named_code(settings: Any) -> list[str]:
    """Every `path.py:NAME` in settings, in order."""
    if isinstance(settings, str):
        return [settings] if _NAMES_CODE.fullmatch(settings) else []
    parts = settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list | tuple) else ()
    return [name for part in parts for name in named_code(part)]


def is_imported(home: Home, run_id: str) -> bool:
    """Whether a run came in a bundle."""
    return (home.run_folder(run_id) / FILE).exists()


@contextmanager
def trusted(home: Home, run_id: str, allowed: Sequence[Path] = ()) -> Iterator[None]:
    """While the block works on an imported run, code by path is imported from `allowed` alone; one's own runs are as they were."""
    with only_files(allowed) if is_imported(home, run_id) else nullcontext():
        yield
