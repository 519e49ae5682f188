"""Homes for tests that are not about making them: copied, as the migrations of a new home take a quarter of a second."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store import opening
from store.home import Home
from store.publishing.publish import create


@contextmanager
def quick_homes(folder: Path) -> Iterator[None]:
    """In this process, give a home without databases and runs a copy of empty ones, which are made in a folder once."""
    template = Home(folder / "template")
    if not template.database.exists():
        template.create()
        create(template)

    def copy(home: Home) -> None:
        if not home.database.exists() and not home.vectors.exists() and not any(home.runs.iterdir()):
            shutil.copy(template.vectors, home.vectors)
            shutil.copy(template.database, home.database)
        create(home)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "create", copy)
        yield
