"""A home with a part of the demo set, and a tiny study whose runs take a fraction of a second."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.home import Home
from tests.support.commands import sracl_inside
from tests.support.inside_queue import Inside, inside_queue
from tests.support.quick_homes import quick_homes
from tests.support.shared_homes import written_once

SMALL = """
[settings]
max_users = 60
epochs = 1
threads = 1
encoder = "tfidf"
provider = "titles"
vector = "item-mean"
k = 4
width = 16
inner = 16
"""
STUDY = f"""title = "Does anything gain?"
datasets = ["demo"]
metric = "ndcg@20"
[seeds]
first = 2
add = 1
cap = 3
{SMALL}
[variants.full]
about = "SRA-CL"
[variants.plain]
preset = "backbone"
[claims.gain]
sentence = "SRA-CL gains."
variant = "full"
against = "plain"
margin = 0.005
[claims.tail]
sentence = "Unpopular targets gain."
question = "Who gains?"
variant = "full"
against = "plain"
users = "tail"
margin = 0.005
[claims.rank]
sentence = "Users' vectors have more than one dimension."
variant = "full"
against = 1.5
metric = "effective_rank"
margin = 0.1
[claims.llm]
sentence = "Summaries of an LLM help."
not_run = "there is none here"
"""
Sracl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def _quick_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick_homes(tmp_path_factory.getbasetemp() / "quick"):
        yield


@pytest.fixture(scope="session")
def sracl() -> Sracl:
    """Runs `sracl` in this process and checks its exit code."""
    return lambda *words, home, **options: sracl_inside(home, *words, **options)


@pytest.fixture
def inside() -> Iterator[type[Inside]]:
    """A queue that executes runs in this process."""
    with inside_queue() as found:
        yield found


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the study was run; nobody writes into it."""

    def write(folder: Path) -> None:
        (folder / "studies").mkdir(parents=True)
        (folder / "studies" / "tiny.toml").write_text(STUDY)
        with inside_queue():
            sracl_inside(folder, "study", "run", "tiny", "--headless")

    return written_once(tmp_path_factory, "study", write)


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """That home, for one test to write into."""
    return Path(shutil.copytree(finished, tmp_path / "home"))


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A home with the study and without runs."""
    home = Home(tmp_path / "fresh")
    (home.path / "studies").mkdir(parents=True)
    (home.path / "studies" / "tiny.toml").write_text(STUDY)
    return home.path
