"""A step of every method on Office, batch 256, beside a step of the plain backbone: python -m benchmarks.bench_methods [--rounds N].

All methods step in turns in one process, so that what else the machine does falls on all of them. A row has the median, its
ratio to the plain step, and the passes that `sracl methods` names. A method whose backbone is another one is beside the plain step
of the default backbone too. The plain method is also timed with other losses, layers and modes, such as `plain-ss`, and a pretraining
as `s3rec-pretrain`: the row `s3rec` is a step of the training after it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.conftest import Bench, _load
from engine.config import Config
from engine.config_files import build_config
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.evaluation.ranking import encode
from engine.method_table import METHODS, Stage, Step
from engine.methods.model import Model
from engine.models.cpu import prepare
from engine.training.optimizer import Optimizers

WARM = 3
CONTROLS: dict[str, dict[str, Any]] = {
    "plain-bce": {"method": "plain", "parts.rec.loss": "bce"},
    "plain-ss": {"method": "plain", "parts.rec.loss": "ss"},
    "plain-gbce": {"method": "plain", "parts.rec.loss": "gbce"},
    "plain-bsarec": {"method": "plain", "backbone": "bsarec"},
    "plain-ligr": {"method": "plain", "backbone": "ligr"},
    "plain-dual": {"method": "plain", "backbone": "dual"},
    "plain-sequence": {"method": "plain", "mode": "sequence"},
    "esasrec": {"method": "plain", "mode": "sequence", "backbone": "ligr", "parts.rec.loss": "ss"},
}
"""Rows that are no methods of their own."""


STAGES = {f"{name}-{stage.name}": (name, stage) for name in METHODS.names() for stage in METHODS.load(name).stages}
"""The trainings before the main one, each a row."""


def stepper(office: Bench, config: Config, stage: Stage | None) -> Callable[[], None]:
    """A function that trains the model of a config on the next batch, in a stage or in the main training."""
    torch.manual_seed(1)
    semantics = office.semantics(config) if config.needs else None
    kind = SharedWindows if config.train.mode == "sequence" else Windows
    windows = kind(office.dataset, config.data.max_length)
    model = Model(config, dataset=office.dataset, windows=windows, semantics=semantics)
    model.start()
    model.before_epoch(1, lambda ids: encode(model.backbone, windows, ids.numpy()), stage)
    model.train()
    optimizers = Optimizers(model.groups(), lr=1e-3, weight_decay=0.0)
    ids = torch.from_numpy(office.anchor_ids)
    batches = _endless(windows, ids)

    def step() -> None:
        batch = next(batches)
        notes: dict[str, Any] = {}
        for update in model.definition.steps if stage is None else (Step(),):
            losses = model.losses(batch, windows, stage=stage, step=update, notes=notes)
            optimizers.zero_grad()
            losses.total.backward()
            optimizers.step(update.updates)

    return step


def _endless(windows: Windows, ids: torch.Tensor) -> Iterator[torch.Tensor]:
    epoch = 0
    while True:
        epoch += 1
        yield from windows.batches(ids, 256, torch.Generator().manual_seed(epoch))


def main() -> None:
    """Time the methods in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=[*METHODS.names(), *CONTROLS, *STAGES])
    parser.add_argument("--cache", type=Path, default=Path(".pytest_cache/sracl"))
    options = parser.parse_args()
    prepare()
    options.cache.mkdir(parents=True, exist_ok=True)
    office = _load("amazon-office-2014", options.cache)
    names = list(dict.fromkeys(["plain", *options.only]))
    stages = {name: STAGES.get(name, (name, None)) for name in names}
    configs = {
        name: build_config(CONTROLS.get(name, {"method": method}), {"vector": "item-mean"})
        for name, (method, _) in stages.items()
    }
    steps = {name: stepper(office, config, stages[name][1]) for name, config in configs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(WARM + options.rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if number >= WARM:
                seconds[name].append(time.perf_counter() - started)
    plain = statistics.median(seconds["plain"])
    lines = [f"{'method':14} {'median ms':>9} {'x plain':>8}  passes"]
    for name, values in seconds.items():
        median = statistics.median(values)
        lines.append(
            f"{name:14} {median * 1000:9.1f} {median / plain:8.2f}  {METHODS.load(configs[name].method.name).passes}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
