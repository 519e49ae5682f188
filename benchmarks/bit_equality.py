"""Whether another checkout gives the same numbers, bit for bit: python -m benchmarks.bit_equality OTHER [--other-seed N] [--only WORD].

Every case is trained by both checkouts on this machine, in processes of their own: SRA-CL and the plain backbone, with packed
windows and with the padded ones of a GPU, by prefix and by sequence; the other backbones; every preset. Compared are all
tensors and the state in the checkpoints, the metrics of every epoch, the rank of every user, and the tables that a run keeps.
With another seed for the other checkout nothing is equal, which shows that a difference is seen. Exit code 1: something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors.numpy import safe_open

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ("max_users=60", "encoder=tfidf", "width=16", "inner=32", "batch=64", "epochs=5", "threads=1")
SMALL = ("--headless", *(word for setting in SETTINGS for word in ("--set", setting)))
PRESETS = ("item-synthesis", "paper", "wo-inter", "wo-intra", "wo-learn", "wo-llm", "wo-semantic")
YOUNGER = (
    "coverage", "gini", "popularity", "reordered", "reordered_by_chance", "reordered_untrained", "spearman_untrained",
)  # fmt: skip
"""Metrics that only some checkouts measure."""
NAMED = 2
"""Differences of a kind that are named."""
PADDED = """
import sys
from importlib import import_module

def first(*names):
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            found = import_module(module)
        except ModuleNotFoundError:
            continue
        if not attribute or hasattr(found, attribute):
            return getattr(found, attribute) if attribute else found
    raise SystemExit(f"none of {names} is here: name the padded windows in benchmarks/bit_equality.py")

padded = first("engine.data.dense:DenseWindows", "engine.data.batching.padded_windows:PaddedWindows",
               "engine.data.batching.padded_windows:DenseWindows")
trainer = first("engine.train:Trainer", "engine.training.trainer:Trainer")
module = sys.modules[trainer.__module__]
if not hasattr(module, "Windows"):
    raise SystemExit(f"{module.__name__} does not choose the windows: say who does in benchmarks/bit_equality.py")
made = []
module.Windows = lambda dataset, length: made.append(padded(dataset, length, "cpu")) or made[-1]

from sracl_tui.cli import main
try:
    main()
finally:
    if not made:
        sys.stderr.write("no padded windows were made")
        sys.exit(1)
"""
"""Starts the command with the windows that a GPU gets, on the CPU; the names are the older and the newer ones."""


def data_of(checkout: Path, words: tuple[str, ...]) -> tuple[str, ...]:
    """Words for the set `goods` and the summaries that every checkout can write; both had other names in older ones."""
    if not (checkout / "engine" / "data" / "goods.py").exists():
        return ("--dataset", "demo")
    return ("--dataset", "goods", *(() if "wo-llm" in words else ("--set", "prompt=offline-1")))


def cases() -> Iterator[tuple[str, bool, tuple[str, ...]]]:
    """Name of a case, whether its windows are padded, and its words."""
    for method, words in (("sracl", ()), ("backbone", ("--preset", "backbone"))):
        for padded in (False, True):
            for mode in ("prefix", "sequence"):
                name = f"{method}, {'padded' if padded else 'packed'}, {mode}"
                yield name, padded, (*words, "--set", f"mode={mode}")
    for backbone in ("gru4rec", "bert4rec"):
        yield f"sracl, {backbone}", False, ("--set", f"backbone={backbone}")
    for name in PRESETS:
        yield f"preset {name}", False, ("--preset", name)


def train(checkout: Path, home: Path, case: tuple[str, bool, tuple[str, ...]], seed: int) -> Path:
    """Train a case in a process; the folder of the run."""
    name, padded, words = case
    run_id = name.replace(", ", "-").replace(" ", "-")
    start = ["-c", PADDED] if padded else ["-m", "sracl_tui.cli"]
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            *start,
            "run",
            *data_of(checkout, words),
            *SMALL,
            *words,
            "--seed",
            str(seed),
            "--run-id",
            run_id,
        ],
        env={**os.environ, "SRACL_HOME": str(home), "PYTHONPATH": str(checkout)},
        cwd=home,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{checkout}, {name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return home / "runs" / run_id


def contents(folder: Path) -> dict[str, dict[str, bytes]]:
    """What of a run is compared, by kind and name, as bytes."""
    found: dict[str, dict[str, bytes]] = {"tensors": {}, "epochs": {}, "ranks": {}, "tables": {}}
    for path in sorted(folder.glob("*.safetensors")):
        if path.name != "previous.safetensors":  # an epoch or a moment within one, by the clock
            _checkpoint(path, found["tensors"])
    for segment in sorted(folder.glob("events-*.jsonl")):
        for raw in segment.read_text("utf-8").splitlines():
            _event(folder, json.loads(raw), found)
    for path in sorted(folder.glob("*.parquet")):
        if not path.name.startswith("events-"):
            _table(path, path.stem, found["tables"])
    return found


def _checkpoint(path: Path, into: dict[str, bytes]) -> None:
    with safe_open(path, framework="np") as file:
        state = json.loads(file.metadata()["state"])
        for name in ("seconds", "config_hash"):  # a hash holds the name of the data set; tests/golden compares hashes
            state.pop(name)
        into[f"{path.stem} state"] = json.dumps(state, sort_keys=True).encode()
        for name in file.keys():  # noqa: SIM118
            value = file.get_tensor(name)
            into[f"{path.stem} {name}"] = f"{value.dtype} {value.shape} ".encode() + value.tobytes()


def _event(folder: Path, line: dict[str, Any], found: dict[str, dict[str, bytes]]) -> None:
    event = line["event"]
    place = " ".join(str(line[name]) for name in ("event", "epoch", "split", "phase", "kind") if name in line)
    if event in ("epoch_finished", "evaluated", "measured"):
        told = {name: line[name] for name in ("step", "improved", "bad_epochs", "metrics") if name in line}
        if "metrics" in told:
            told["metrics"] = [one for one in told["metrics"] if one["name"].split("@")[0] not in YOUNGER]
        found["epochs"][place] = json.dumps(told, sort_keys=True).encode()
    if "table" in line and event in ("evaluated", "weights_sampled", "neighbors_found"):
        _table(folder / line["table"], place, found["ranks" if event == "evaluated" else "tables"])


def _table(path: Path, place: str, into: dict[str, bytes]) -> None:
    table = pq.read_table(path)
    for name in table.column_names:
        into[f"{place} {name}"] = repr(table[name].to_pylist()).encode()


def differing(ours: dict[str, bytes], theirs: dict[str, bytes]) -> list[str]:
    """Names of what is not the same."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def main() -> None:
    """Train, compare, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("--other-seed", type=int, default=1, help="with another than 1 everything must differ")
    parser.add_argument("--only", default="", help="cases whose name has this word")
    options = parser.parse_args()
    checkouts = [ROOT, options.other.resolve()]
    heads = ("tensors", "epochs", "ranks", "tables")
    say(f"{'case':28}" + "".join(f"{head:>20}" for head in heads))
    unequal = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        homes = [Path(folder) / name for name in ("ours", "theirs")]
        for home in homes:
            home.mkdir()
        for case in cases():
            if options.only not in case[0]:
                continue
            ours, theirs = map(contents, pool.map(train, checkouts, homes, (case, case), (1, options.other_seed)))
            bad = {head: differing(ours[head], theirs[head]) for head in heads}
            cells = [
                f"{len(bad[head])} of {len(ours[head])} differ" if bad[head] else f"{len(ours[head])} equal"
                for head in heads
            ]
            say(f"{case[0]:28}" + "".join(f"{cell:>20}" for cell in cells))
            for head in heads:
                for name in bad[head][:NAMED]:
                    say(f"    {head}: {name}")
            unequal += any(bad.values())
    say(f"{unequal} cases differ" if unequal else "everything is equal")
    sys.exit(1 if unequal else 0)


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
