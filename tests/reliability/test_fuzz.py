"""Mutated configs, data files, journals and checkpoints: an error of ours each time, or a good answer; never another one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from engine.config_files import load_config
from engine.errors import CheckpointError, ConfigError, EngineError
from engine.training import checkpoint
from engine.training.optimizer import Optimizers
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import publish
from store.queries import runs

CONFIG = b'preset = "backbone"\n[data]\ndataset = "demo"\nmax_users = 60\n[train]\nlr = 0.001\nepochs = 3\n[loss]\nalpha = 0.1\n'
TABLE = b"user,item,timestamp,title\n" + b"".join(
    f"u{user},i{item},{1_600_000_000 + 100 * item},Title {item}\n".encode() for user in range(6) for item in range(8)
)
ODD = (b"\x00", b"\xff\xfe", b"\n", b'"', b"[", b"=", b"nan", b"-1", b"9" * 40, b"{", b"\\", b"e999")


def mutated(data: bytes, by: random.Random) -> bytes:
    """The bytes with one to four changes: flipped, cut, doubled, or with something odd in between."""
    changed = bytearray(data)
    for _ in range(by.randint(1, 4)):
        place = by.randrange(len(changed) + 1)
        end = min(len(changed), place + by.randrange(1, 30))
        match by.randrange(5):
            case 0 if place < len(changed):
                changed[place] ^= 1 << by.randrange(8)
            case 1:
                del changed[place:end]
            case 2:
                changed[place:place] = changed[place:end]
            case 3:
                del changed[place:]
            case _:
                changed[place:place] = by.choice(ODD)
    return bytes(changed)


def fuzz_configs(folder: Path, count: int) -> int:
    refused, by, path = 0, random.Random(1), folder / "config.toml"
    for _ in range(count):
        path.write_bytes(mutated(CONFIG, by))
        try:
            load_config(files=(path,))
        except ConfigError:
            refused += 1
    return refused


def fuzz_data(folder: Path, count: int) -> int:
    from engine.data.importing import import_dataset

    refused, by, path = 0, random.Random(2), folder / "ratings.csv"
    for _ in range(count):
        path.write_bytes(mutated(TABLE, by))
        try:
            import_dataset(path, name="fuzz")
        except EngineError:
            refused += 1
    return refused


def fuzz_journals(folder: Path, count: int) -> int:
    created: dict[str, Any] = {
        "kind": "train", "name": "n", "preset": "default", "group_name": None, "config": {}, "config_hash": "0",
        "seed": 1, "tags": [], "note": "",
    }  # fmt: skip
    metrics = [{"split": "train", "subgroup": "all", "name": "loss", "value": 0.5}]
    by, told = random.Random(3), 0
    for round_ in range(max(1, count // 25)):
        home = Home(folder / f"home-{round_}")
        open_store(home).close()
        for number in range(25):
            run = home.runs / f"run-{number}"
            journal = Journal(run)
            journal.append("run_created", {**created, "run_id": run.name})
            journal.append("run_started", {"pid": 1, "host": "h", "boot_id": "b"})
            journal.append("measured", {"epoch": 1, "step": 1, "metrics": metrics})
            journal.append("run_ended", {"state": "finished", "reason": None})
            journal.close()
            path = run / "events-0001.jsonl"
            path.write_bytes(mutated(path.read_bytes(), by))
        whole = Journal(home.runs / "whole")
        whole.append("run_created", {**created, "run_id": "whole"})
        whole.append("run_ended", {"state": "finished", "reason": None})
        whole.close()
        told += len(publish(home).warnings)
        with open_store(home) as store:
            assert runs.find_run(store, "whole")["state"] == "finished"
            runs.list_runs(store)
            json.loads("[" + ",".join(runs.list_runs_json(store)) + "]")
    return told


def fuzz_checkpoints(folder: Path, count: int) -> int:
    import torch

    state = checkpoint.LoopState("c", "d", 1, 2, 3, 1, 0.5, 0)
    model, path = torch.nn.Linear(4, 3), folder / "last.safetensors"
    checkpoint.save(
        path,
        model=model,
        state=state,
        optimizers=Optimizers({"all": list(model.parameters())}, lr=0.1, weight_decay=0.0),
    )
    data, by, refused = path.read_bytes(), random.Random(4), 0
    for _ in range(count):
        path.write_bytes(mutated(data, by))
        try:
            assert checkpoint.load(path, model=torch.nn.Linear(4, 3)) == state
        except CheckpointError:
            refused += 1
    return refused


FUZZ = {"configs": fuzz_configs, "data": fuzz_data, "journals": fuzz_journals, "checkpoints": fuzz_checkpoints}


@pytest.mark.parametrize("what", FUZZ)
def test_a_few_mutations(what, tmp_path):
    assert FUZZ[what](tmp_path, 50) > 5


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", FUZZ)
def test_a_thousand_mutations(what, tmp_path, capsys):
    refused = FUZZ[what](tmp_path, 1000)
    with capsys.disabled():
        print(f"\n1,000 mutated {what}: {refused} told or refused, no other error")
