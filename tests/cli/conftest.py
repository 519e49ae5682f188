"""A home with a few small runs, made once by the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store.home import Home
from tests.support.commands import sracl_inside, sracl_process
from tests.support.earlier_demo import add_earlier_demo
from tests.support.quick_homes import quick_homes
from tests.support.shared_homes import written_once

QUICK = (
    "--dataset",
    "demo",
    "--set",
    "max_users=80",
    "--set",
    "encoder=tfidf",
    "--set",
    "epochs=2",
    "--set",
    "threads=1",
)

Sracl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def _quick_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick_homes(tmp_path_factory.getbasetemp() / "quick"):
        yield


@pytest.fixture(scope="session")
def sracl() -> Sracl:
    """Runs `sracl` in this process and checks its exit code."""
    return lambda *words, home, **options: sracl_inside(home, *words, **options)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a backbone run and an SRA-CL run on the same part of the demo set; nobody writes into it."""

    def write(folder: Path) -> None:
        add_earlier_demo(Home(folder))
        for words in (("--preset", "backbone", "--name", "plain"), ("--name", "full", "--tag", "first")):
            sracl_process(folder, "run", *QUICK, *words, "--headless", "--json")

    return written_once(tmp_path_factory, "two-runs", write)


@pytest.fixture(scope="module")
def home(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That home, for the tests of one file to write into."""
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("copy") / "home"))


@pytest.fixture
def query(sracl: Sracl, home: Path) -> Callable[[str], list[dict[str, Any]]]:
    """Rows of a query on the shared home."""
    return lambda text: json.loads(sracl("sql", text, "--json", home=home).stdout)
