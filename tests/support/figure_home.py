"""A home with the recorded runs, and with runs of several k whose ranks are set: what figures are drawn of in tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import Config
from sracl_tui.runs.dataset_access import open_dataset
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from tests.support.earlier_demo import add_earlier_demo

RECORDED = Path(__file__).with_name("recorded")
WHOLE = "20260101-092000-0003"
USERS = 60
KS = (1, 5, 20)
SEEDS = (1, 2, 3)


def write_figure_home(folder: Path) -> None:
    """The recorded runs; group `ks`: three seeds of three k, and one seed of a backbone without k; imported ranks, `elsewhere`."""
    home = Home(folder)
    add_earlier_demo(home)
    with open_store(home) as store:
        dataset = open_dataset(store, "demo", max_users=USERS)
    shutil.copytree(RECORDED, home.runs, dirs_exist_ok=True)
    created = _events(home.run_folder(WHOLE))
    for number, k in enumerate(KS):
        for seed in SEEDS:
            settings = {"retrieval": {"k": k}, "train": {"seed": seed}}
            _write_run(
                home, created, f"k{k}-{seed}", settings, best=seed, ranks=ranks_of(k, seed), preset="default", at=number
            )
    settings = {"loss": {"alpha": 0.0, "beta": 0.0}}
    _write_run(home, created, "bare-1", settings, best=2, ranks=ranks_of(0, 1), preset="backbone", at=9)
    settings = {"train": {"batch": 7}}
    _write_run(
        home, created, "elsewhere", settings, best=1, ranks=ranks_of(2, 1), preset="imported", at=10, kind="ranks"
    )
    assert dataset.users == USERS
    with open_store(home):
        pass


def ranks_of(k: int, seed: int) -> np.ndarray:
    """(U,) test and validation ranks of such a run."""
    return np.random.default_rng((k, seed)).integers(1, 60 - k, USERS).astype(np.int32)


def _events(folder: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "events-0001.jsonl").read_text("utf-8").splitlines()]
    return {
        line["event"]: {key: value for key, value in line.items() if key not in ("n", "at", "event")} for line in lines
    }


def _write_run(
    home: Home,
    like: dict[str, dict[str, Any]],
    name: str,
    settings: dict[str, Any],
    *,
    best: int,
    ranks: np.ndarray,
    preset: str,
    at: int,
    kind: str = "train",
) -> None:
    run_id = f"20260102-{at:02d}0000-{name}"
    tree = {section: values | settings.get(section, {}) for section, values in like["run_created"]["config"].items()}
    config = Config.model_validate(tree)
    group = "ks" if kind == "train" else None
    more = {
        "name": name,
        "preset": preset,
        "group_name": group,
        "seed": config.train.seed,
        "tags": [],
        "run_id": run_id,
    }
    more["kind"] = kind
    journal = Journal(home.run_folder(run_id))
    journal.append("run_created", like["run_created"] | more | {"config": tree, "config_hash": config.config_hash()})
    journal.append("run_started", like["run_started"])
    journal.append("dataset_used", like["dataset_used"])
    for epoch in range(1, (4 if best < 3 else 6) if kind == "train" else 1):
        metrics = [
            {"split": "train", "name": "loss", "value": 9.0 - epoch - best / 8, "subgroup": "all"},
            {"split": "valid", "name": "mrr@10", "value": 0.02 + epoch * best / 1000, "subgroup": "all"},
        ]
        fields = {
            "epoch": epoch,
            "step": 10 * epoch,
            "seconds": 2.0 * best,
            "evaluate_seconds": 0.5,
            "metrics": metrics,
        }
        journal.append("epoch_finished", fields | {"improved": epoch <= best, "bad_epochs": max(0, epoch - best)})
    columns = {"user_id": list(range(1, USERS + 1)), "rank": ranks.tolist()}
    for split in ("valid", "test"):
        journal.append("evaluated", {"split": split, "epoch": best, "step": 10 * best, "metrics": []}, columns=columns)
    journal.append("run_ended", like["run_ended"] | {"best_epoch": best, "peak_memory_bytes": 2**20 * (100 + best)})
    journal.close()
