"""Whatever happens to the files of a home: no readable row is lost by a repair, no check says that all is well, no command hangs."""

from __future__ import annotations

import os
import random
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import duckdb
import pytest

from engine.config import Config
from sracl_tui.runs.request import RunRequest
from sracl_tui.studies.library import SHIPPED
from store.errors import StoreError
from store.home import Home
from store.journal.journal import Journal
from store.maintenance import trash
from store.maintenance.backups import backup
from store.maintenance.check import check_home
from store.maintenance.repair import Repaired, repair_home
from store.opening import open_store
from store.publishing.publish import publish
from store.queries.runs import find_run
from store.queue import Queue
from tests.store.conftest import CREATED
from tests.store.maintenance.conftest import Counts, copy_turning, counts_of, dataset_of, fewer, write_run
from tests.store.maintenance.damages import (
    GUARDED,
    SINGLE,
    UNDONE,
    WHOLE,
    WITHOUT_ROWS,
    Damage,
    within,
    without_privileges,
    wound,
)
from tests.support.commands import sracl_inside

CPU_SECONDS, SECONDS = 10.0, 120.0
"""After which a command hangs, of the processor and in all, on a machine that does other things meanwhile."""
READING = (
    "runs", "runs --json", "show one", "show two --log", "compare one two", "costs", "costs --by gain", "queue list --all",
    "data list", "data show small", "study list", "study show mine", "inspect one u1", "search text --encoder tfidf", "prompts list",
    "llm list", "methods", "alerts show", "sql FROM(run_results)", "sql FROM(metrics)", "sql FROM(removed_runs)", "db sync",
    "export one --out {home}/out.csv", "export two --bundle --out {home}/out.zip", "recommend one u1", "run --resume waits --dry-run",
)  # fmt: skip
"""Commands that read a home."""
MADE_ANEW = ("standby", "vectors", "backup")
"""What commands meanwhile make anew of the rest, or beside it: by then nothing may be damaged any more."""
CODES = (0, 2, 4)
"""What a command may end with where files are damaged: done, bad input, the store cannot be used."""
PROMPT = 'domain = "pens"\nuser = "Say what they like: {items}"\nitem = "Say what it is: {item}"\n'
Made = TypeVar("Made")


@pytest.fixture(scope="module")
def everything(
    rich: Path, turning: Path, begin_run: Callable[..., Journal], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A home with files of every class, and beside it the log of a session that was killed."""
    home = copy_turning(turning, tmp_path_factory.mktemp("everything") / "home")
    write_run(begin_run(home, "gone", name="gone"), "gone", dataset_of(home))
    waits = Journal(home.runs / "waits")
    waits.append("run_created", {**CREATED, "run_id": "waits", "name": "waits"})
    waits.close()
    for run_id in ("one", "two", "waits"):
        RunRequest(run_id=run_id, config=Config()).write(home.runs / run_id)
    Queue(home).add(["waits"])
    with open_store(home) as store:
        assert trash.remove(store, [find_run(store, "gone")])
    texts = {
        "alerts.toml": 'bell = "off"\n',
        "providers.toml": "",
        "keys.toml": "",
        "ui.json": "{}",
        ".env": "X_KEY=1\n",
    }
    texts |= {
        "sql_history.jsonl": '{"sql": "FROM runs"}\n',
        "allowed-code.jsonl": "",
        "runs/one/last.safetensors": "x" * 99,
    }
    texts |= {"studies/mine.toml": SHIPPED.joinpath("quick.toml").read_text(), "prompts/mine-1.toml": PROMPT}
    for name, text in texts.items():
        (home.path / name).parent.mkdir(exist_ok=True)
        (home.path / name).write_text(text)
    (home.path / ".env").chmod(0o600)
    publish(home, both=True)
    publish(home, both=True)
    assert check_home(home).problems == []
    copied = Path(shutil.copy(home.database, home.path.parent / "copy.duckdb"))
    with duckdb.connect(str(copied)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO \"my notes\" VALUES ('2026-01-02', 'y')")
    assert copied.with_name("copy.duckdb.wal").stat().st_size
    return home.path


def place_of(everything: Path, to: Path, damages: list[Damage]) -> Home:
    """A copy of the home, with a log where that is to be damaged."""
    home = copy_turning(everything, to)
    if any(kind == "log" for kind, _ in damages):
        shutil.copy(everything.parent / "copy.duckdb.wal", f"{home.database}.wal")
    return home


def soon(do: Callable[[], Made]) -> Made:
    """What it returns, without a hang."""
    with within(CPU_SECONDS, SECONDS):
        return do()


def read(home: Home, command: str) -> None:
    """Run a command on a home; it ends with words, and never with the word that this is a bug."""
    words = [word.format(home=home.path).replace("FROM(", "FROM ").rstrip(")") for word in command.split(" ")]
    with patch("sracl_tui.logs.crash", side_effect=_again):
        soon(lambda: sracl_inside(home.path, *words, code=CODES))


def _again(home: Home, error: Exception, what: str) -> None:
    raise error


def told_by_repair(home: Home) -> Repaired:
    """What a repair says, also where it is refused."""
    try:
        return soon(lambda: repair_home(home))
    except StoreError as error:
        return Repaired(missing=[str(error)])


def no_all_clear(damages: list[Damage], before: Counts, whole: Counts) -> None:
    """Raise where nothing was said, and something is damaged."""
    if ("main", "old") in damages:  # an older database cannot know what a cut journal had beyond it
        return
    assert not fewer(whole, before) or any(damage in UNDONE for damage in damages), "a false all-clear"
    for kind, how in damages:
        assert kind not in GUARDED or how in WHOLE or how == "flip" or (kind, how) in UNDONE, "a false all-clear"


def survive(home: Home, whole: Counts, damages: list[Damage], seed: int, *, thorough: bool) -> None:
    """Damage a home, use it, repair it, and compare what can be read before and after.

    Args:
        thorough: also check, make a backup, and read with more commands, and repair where nothing is damaged that holds rows.
    """
    by = random.Random(seed)
    for kind, how in damages:
        wound(home, kind, how, by)
    commands = by.sample(READING, 5 if thorough else 1)
    with without_privileges():
        before = counts_of(home)
        if thorough and not soon(lambda: check_home(home)).problems:
            no_all_clear(damages, before, whole)
        for command in commands[:4]:
            read(home, command)
        if thorough:
            with suppress(StoreError):
                soon(lambda: backup(home))
        if thorough or not all(kind in WITHOUT_ROWS for kind, _ in damages):
            _repair(home, whole, damages)
        after = counts_of(home)
        assert fewer(before, after) == {}, "rows were lost"
        for command in commands[4:]:
            read(home, command)


def _repair(home: Home, whole: Counts, damages: list[Damage]) -> None:
    before = counts_of(home)  # a command that publishes takes in anew what journals have of a lost file
    told = told_by_repair(home)
    if not told.missing and not told.done:
        no_all_clear([(kind, how) for kind, how in damages if kind not in MADE_ANEW], before, whole)
    elif told.done:
        again = soon(lambda: check_home(home))
        assert bool(again.problems) <= bool(told.missing), "what did not come back is named"
    if fewer(whole, counts_of(home)) and ("main", "old") not in damages:
        assert told.missing, "rows are gone, and nobody says so"


def cases(count: int, seed: int) -> list[tuple[list[Damage], int]]:
    """Every damage by itself, in an order by the seed, then pairs."""
    by = random.Random(seed)
    single = [[damage] for damage in by.sample(SINGLE, len(SINGLE))]
    pairs = [[by.choice(SINGLE), by.choice(SINGLE)] for _ in range(max(count - len(SINGLE), 0))]
    return [(damages, by.randrange(2**32)) for damages in [*single, *pairs]][:count]


@pytest.mark.parametrize(("damages", "seed"), cases(60, 1))
def test_one_damaged_file(everything: Path, tmp_path: Path, damages: list[Damage], seed: int) -> None:
    home = place_of(everything, tmp_path / "home", damages)
    survive(home, counts_of(Home(everything)), damages, seed, thorough=False)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_two_thousand_cases(everything: Path, tmp_path: Path) -> None:
    """SRACL_CASES of them from number SRACL_FIRST on, in an order by SRACL_SEED, as far as they begin within SRACL_SECONDS."""
    first, count, seed = (
        int(os.environ.get(f"SRACL_{name}", value)) for name, value in (("FIRST", 0), ("CASES", 2000), ("SEED", 2))
    )
    end = time.monotonic() + float(os.environ.get("SRACL_SECONDS", "inf"))
    whole, ends = counts_of(Home(everything)), Counter[str]()
    for number, (damages, of_case) in list(enumerate(cases(first + count, seed)))[first:]:
        if time.monotonic() > end:
            break
        print(number, damages, of_case, flush=True)
        home = place_of(everything, tmp_path / str(number), damages)
        try:
            survive(home, whole, damages, of_case, thorough=True)
            ends["passed"] += 1
        except Exception:
            ends["failed"] += 1
            print("FAILED", number, damages, of_case, traceback.format_exc(), flush=True)
        shutil.rmtree(home.path)
    print(dict(ends), flush=True)
    assert not ends["failed"]
