"""The recorded home and bundle, unpacked; and `sracl` in this process."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.commands import sracl_inside

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
UPDATE = "SRACL_UPDATE_GOLDEN"

Sracl = Callable[..., str]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sracl() -> Sracl:
    """Runs `sracl` in this process, checks its exit code, and gives what it printed."""
    return lambda *words, **options: sracl_inside(*words, **options).stdout


@pytest.fixture(scope="session")
def recorded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that older code made; nobody writes into it."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(RECORDED / "home.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python 3.11.2
        archive.extractall(folder)
    return folder / "home"


@pytest.fixture
def old_home(recorded_home: Path, tmp_path: Path) -> Path:
    """A copy of it to write into."""
    return Path(shutil.copytree(recorded_home, tmp_path / "home"))


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Any]:
    """A recorded JSON document."""
    return lambda name: json.loads((RECORDED / name).read_text("utf-8"))


@pytest.fixture
def golden() -> Callable[[str, list[str]], None]:
    """Compares lines with a file in `names/`, or writes it anew where `SRACL_UPDATE_GOLDEN` is set."""

    def check(name: str, lines: list[str]) -> None:
        path = HERE / "names" / f"{name}.txt"
        text = "".join(f"{line}\n" for line in sorted(lines))
        if os.environ.get(UPDATE):
            path.write_text(text, "utf-8")
        known, found = set(path.read_text("utf-8").splitlines()), set(text.splitlines())
        told = [f"- {line}" for line in sorted(known - found)] + [f"+ {line}" for line in sorted(found - known)]
        assert not told, (
            f"{path.name} says otherwise; if that is meant: {UPDATE}=1 python -m pytest tests/golden\n"
            + "\n".join(told)
        )

    return check
