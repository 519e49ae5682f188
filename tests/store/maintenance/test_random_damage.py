"""Whatever happens to the files of a home: no readable row is lost by a repair, and no check says that all is well."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from store.home import Home
from store.maintenance.check import check_home
from store.maintenance.repair import repair_home
from tests.store.maintenance.conftest import counts_of, fewer

FILES = {
    "main": "sracl.duckdb",
    "vectors": "vectors.duckdb",
    "journal": "runs/*/events-0001.jsonl",
    "table": "runs/*/*.parquet",
    "edits": "edits/events-0001.jsonl",
    "backup": "backups/*/*.duckdb",
    "folder": "runs/*",
}
"""Classes of files, and where they lie."""
HOWS = ("cut", "flip", "delete", "directory", "old")
Damage = tuple[str, str]
UNDONE = {("main", "old")}
"""No damage: an older database is whole once the journals are taken in again."""


def wound(home: Home, kind: str, how: str, by: random.Random) -> None:
    """Damage one file of a class; a folder can only be deleted or replaced by a file."""
    paths = sorted(home.path.glob(FILES[kind]))
    if not paths:
        return
    path = by.choice(paths)
    old = sorted(home.path.glob(f"backups/*/{path.name}"))
    if how == "delete" or kind == "folder":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return
    if not path.is_file():
        return
    data = path.read_bytes()
    if how == "directory":
        path.unlink()
        path.mkdir()
    elif how == "old" and old:
        shutil.copy(old[0], path)
    elif how == "cut" or how == "old":  # an older copy of a file that only grows is the beginning of it
        path.write_bytes(data[: by.randrange(len(data) - 1)])
    else:
        at = by.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << by.randrange(8))]) + data[at + 1 :])


def survive(place: Home, damages: list[Damage], seed: int) -> None:
    """Damage a home, check, repair and check it, and compare what can be read before and after."""
    whole, by = counts_of(place), random.Random(seed)
    for kind, how in damages:
        wound(place, kind, how, by)
    before = counts_of(place)
    ill = bool(check_home(place).problems)
    if not ill and ("main", "old") not in damages:  # an older database cannot know what a cut journal had beyond it
        assert counts_of(place) == whole or any(damage in UNDONE for damage in damages), "a false all-clear"
        assert all(how == "flip" or (kind, how) in UNDONE for kind, how in damages), "a false all-clear"
    told = repair_home(place)
    after = counts_of(place)
    assert fewer(before, after) == {}, "a repair has lost rows"
    again = check_home(place)
    assert not again.files["main"]
    assert not again.files["vectors"]
    assert bool(again.problems) <= bool(told.missing), "what did not come back is named"
    if fewer(whole, after):
        assert told.missing, "rows are gone, and nobody says so"


SINGLE = [
    (kind, how)
    for kind in FILES
    for how in HOWS
    if (kind != "folder" or how == "delete") and (kind, how) != ("backup", "old")
]


def _cases(count: int, seed: int) -> list[tuple[list[Damage], int]]:
    by = random.Random(seed)
    pairs = [[by.choice(SINGLE), by.choice(SINGLE)] for _ in range(max(count - len(SINGLE), 0))]
    return [(damages, by.randrange(2**32)) for damages in [*([single] for single in SINGLE), *pairs]][:count]


@pytest.mark.parametrize(("damages", "seed"), _cases(len(SINGLE) + 4, 1))
def test_one_or_two_damaged_files(place: Home, damages: list[Damage], seed: int) -> None:
    survive(place, damages, seed)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_two_thousand_cases(rich: Path, tmp_path: Path) -> None:
    for number, (damages, seed) in enumerate(_cases(2000, 2)):
        home = Home(shutil.copytree(rich, tmp_path / str(number)))
        try:
            survive(home, damages, seed)
        except BaseException:
            print(number, damages, seed)
            raise
        shutil.rmtree(home.path)
