"""docs/tutorials and the README: each page's commands, run in its order in one folder, on data and models that are made small."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import openai_server
from tests.support.commands import ROOT, sracl_inside
from tests.support.inside_queue import inside_queue
from tests.support.quick_homes import quick_homes

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
CLUSTER = ROOT / "docs" / "tutorials" / "cluster.md"
"""tests/runs/execution/test_slurm.py runs its commands, where a Slurm can be started."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ("max_users=40", "epochs=1", "encoder=tfidf", "threads=1", "k=4", "width=16", "inner=16", "batch=128")
ELSEWHERE = {
    "make": "by .ci/run and by hand",
    "source": "a shell's own word",
    "export": "a shell's own word",
    "pip": "tests/test_distribution.py installs the wheel",
    "sracl-tui": "tests/tui",
    "sracl study run quick": "tests/studies runs a study of the same form; by hand before a release",
    "sracl study report quick --out quick.html": "the same",
    "sracl data fetch ml-1m": "it needs the network; tests/cli/test_commands.py fetches from a server on loopback",
    "sracl stop last": "tests/runs stops runs that run",
    "sracl slices RUN BASELINE": "tests/cli/test_slices.py names two runs",
    "sracl run --ablations --dataset office --seeds 5": "tests/runs/sweeps/test_variants.py has every ablation as a run to be done",
    "sracl run --queue --grid alpha=0.05,0.1 --grid k=5,10": "tests/cli/test_queue.py",
}
"""Commands that this test does not run: the first word, or all of it, and who does."""


@pytest.fixture(scope="module", autouse=True)
def _quick_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick_homes(tmp_path_factory.getbasetemp() / "quick"):
        yield


def commands_of(page: Path) -> list[str]:
    """The commands of a page's blocks of shell, without comments, in order."""
    blocks = [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind in ("sh", "")]
    lines = [line.partition("  #")[0].strip() for text in blocks for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def left_out(line: str) -> bool:
    return line in ELSEWHERE or line.split()[0] in ELSEWHERE


def write_files(page: Path, folder: Path) -> None:
    """The files that a page names in the first line of a block."""
    for kind, text in BLOCK.findall(page.read_text("utf-8")):
        first, _, rest = text.partition("\n")
        if kind in ("toml", "python") and first.startswith("# "):
            (folder / first.removeprefix("# ")).write_text(rest, "utf-8")


def small(line: str) -> list[str]:
    """The words of a command behind `sracl`, with settings that make it small where it trains."""
    words = shlex.split(line)[1:]
    if (words[0] in ("run", "leaks", "summarize") or words[:2] == ["queue", "add"]) and "--resume" not in words:
        sets = [
            part
            for part in SMALL
            if words[0] in ("run", "queue") or part.partition("=")[0] in ("max_users", "k", "encoder")
        ]
        words += [word for part in sets for word in ("--set", part)]
    return [*words, "--encoder", "minilm"] if words[0] == "search" else words


def shop(folder: Path) -> None:
    """`purchases.csv`: customers who buy of a kind of things, and come back to it."""
    dice = random.Random(7)
    lines = ["customer_id,product_id,timestamp,title"]
    for customer in range(60):
        kind = customer % 4
        for place in range(9):
            product = 12 * kind + dice.randrange(12) if dice.random() < 0.8 else dice.randrange(48)
            lines.append(
                f"C{customer},P{product},2026-03-{place + 1:02} 10:00:00,Gel pens number {product} of kind {product // 12}"
            )
    (folder / "purchases.csv").write_text("\n".join(lines) + "\n", "utf-8")


def served(folder: Path) -> openai_server.Server:
    """A server, and the page's `providers.toml` with its address."""
    server = openai_server.Server(openai_server.Behavior()).start()
    path = folder / "providers.toml"
    path.write_text(path.read_text("utf-8").replace("http://127.0.0.1:8000/v1", server.url), "utf-8")
    return server


@pytest.mark.parametrize("page", [page for page in TUTORIALS if page != CLUSTER], ids=lambda page: page.stem)
def test_a_tutorial_from_top_to_bottom(page, tmp_path, monkeypatch):
    write_files(page, tmp_path)
    shop(tmp_path)
    monkeypatch.setenv("MY_KEY", "no-key-of-anybody")
    server = served(tmp_path) if page.stem == "llm" else None
    study = tmp_path / "mine.toml"
    if study.exists():
        sets = "".join(
            f"{name} = {value if value.isdigit() else repr(value)}\n"
            for name, value in (one.split("=") for one in SMALL)
        )
        study.write_text(study.read_text("utf-8").replace("[settings]\n", f"[settings]\n{sets}"), "utf-8")
    if page.stem == "verdict":
        sracl_inside(tmp_path, *small("sracl run --name demo-sracl"))
    try:
        with inside_queue():
            ran = [sracl_inside(tmp_path, *small(line)) for line in commands_of(page) if not left_out(line)]
    finally:
        if server is not None:
            server.stop()
    assert ran


def test_what_is_left_out_stands_in_a_page():
    lines = [line for page in (*TUTORIALS, ROOT / "README.md") for line in commands_of(page)]
    for name in ELSEWHERE:
        assert any(line == name or line.split()[0] == name for line in lines), name


def test_the_commands_of_the_readme(tmp_path):
    """In its order, on a home in which `office` is a small data set, with a group in place of GROUP, and two seeds for five."""
    shop(tmp_path)
    (tmp_path / "path/to").mkdir(parents=True)
    (tmp_path / "purchases.csv").rename(tmp_path / "path" / "to" / "office")
    lines = [line for line in commands_of(ROOT / "README.md") if not left_out(line)]
    assert len(lines) > 15
    for line in lines:
        if "--seeds 5" in line:
            line += " --group of-five"
        sracl_inside(tmp_path, *small(line.replace("GROUP", "of-five").replace("--seeds 5", "--seeds 2")))
