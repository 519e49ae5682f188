"""Homes of a size that takes people years: `python -m benchmarks.many FOLDER [RUNS]` makes one.

Every run's journal is what a real run writes, with numbers drawn by a seed in place of measured ones; the store takes them in as it
takes in those of dead runs.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engine.config_files import build_config
from store.home import Home
from store.journal.processes import boot_id
from store.opening import open_store

DATASETS = ("office", "beauty", "sports", "yelp")
STATES = ("finished", "finished", "finished", "finished", "finished", "failed", "stopped")
EPOCHS = 5
START = 1_760_000_000.0


def make_runs(home: Home, count: int, *, seed: int = 1) -> None:
    """Fill a home with runs of five epochs each, in groups of five seeds."""
    make_journals(home, count, seed=seed)
    with open_store(home) as store:
        assert store.behind is None, store.behind
        assert store.rows("SELECT count(*) AS n FROM runs")[0]["n"] == count


def make_journals(home: Home, count: int, *, seed: int = 1) -> None:
    """The journals of such runs, in a new home without a database."""
    home.create()
    random = np.random.default_rng(seed)
    configs = [
        build_config({"dataset": dataset, "alpha": alpha, "k": k})
        for dataset in DATASETS
        for alpha in (0.0, 0.05, 0.1, 0.3)
        for k in (5, 10, 20)
    ]
    for number in range(count):
        config = configs[number // 5 % len(configs)]
        _write(home, number, config, number % 5 + 1, random)


def _write(home: Home, number: int, config: Any, seed: int, random: np.random.Generator) -> None:
    run_id = f"20260101-{number // 10000:02d}{number % 10000:04d}-{number:04x}"
    folder = home.run_folder(run_id)
    folder.mkdir(parents=True)
    state = STATES[int(random.integers(len(STATES)))]
    at = START + number * 600.0
    lines: list[dict[str, Any]] = [
        {
            "event": "run_created",
            "run_id": run_id,
            "kind": "train",
            "name": f"{config.data.dataset}-{number // 5}-{seed}",
            "preset": "default",
            "group_name": f"{config.data.dataset}-{number // 60}",
            "config": config.model_dump(),
            "config_hash": config.config_hash(),
            "seed": seed,
            "tags": ["paper"] if number % 7 == 0 else [],
            "note": "",
        },
        {
            "event": "run_started",
            "pid": os.getpid(),
            "host": platform.node(),
            "boot_id": boot_id(),
            "code_version": "1",
        },
    ]
    scores = np.sort(random.uniform(0.02, 0.2, (EPOCHS + 1, 3)), axis=0)
    names = ("hr@20", "ndcg@20", "mrr@10")
    for epoch in range(1, EPOCHS + 1):
        metrics = [{"split": "train", "name": "loss", "value": 8.0 / epoch, "subgroup": "all"}]
        metrics += [_metric("valid", n, v) for n, v in zip(names, scores[epoch], strict=True)]
        lines.append(
            {
                "event": "epoch_finished",
                "epoch": epoch,
                "step": epoch * 100,
                "seconds": 10.0,
                "evaluate_seconds": 1.0,
                "improved": True,
                "bad_epochs": 0,
                "metrics": metrics,
            }
        )
    if state == "finished":
        metrics = [_metric("test", n, v) for n, v in zip(names, scores[-2], strict=True)]
        lines.append({"event": "evaluated", "split": "test", "epoch": EPOCHS, "step": EPOCHS * 100, "metrics": metrics})
    ended = {"reason": None if state == "finished" else "loss is no longer a number", "exit_code": 0}
    lines.append({"event": "run_ended", "state": state, **ended})
    with (folder / "events-0001.jsonl").open("w", encoding="utf-8") as file:
        for place, line in enumerate(lines, 1):
            file.write(json.dumps({"n": place, "at": at + place, **line}, default=str) + "\n")


def _metric(split: str, name: str, value: float) -> dict[str, Any]:
    return {"split": split, "name": name, "value": float(value), "subgroup": "all"}


if __name__ == "__main__":
    make_runs(Home(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
