"""A step of every method on Office, batch 256, beside a step of the plain backbone: python -m benchmarks.bench_methods [--rounds N].

All methods step in turns in one process, so that what else the machine does falls on all of them, and the CPU time of one thread is
measured, which other processes change least. A row has the median, its ratio to the plain step, its ratio to the step that `REFERENCES`
names, which has the passes of the method and L_rec but no other loss, and the ratio of their matrix products, counted in multiply-adds: a
row whose time is no further above its reference than its products has no time beside its arithmetic. The plain method is also timed with
other losses, layers and modes, such as `plain-ss`, and a pretraining as `s3rec-pretrain`: the row `s3rec` is a step of the training after it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.conftest import Bench, _load
from engine.config import Config
from engine.config_files import build_config
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.evaluation.ranking import encode
from engine.method_table import METHODS, Stage, Step
from engine.methods.augmented import Masking
from engine.methods.base import View
from engine.methods.encoding import encode_views
from engine.methods.model import Model
from engine.methods.operators import Rows
from engine.methods.semantics import Semantics
from engine.models.backbone import input_width
from engine.models.cpu import prepare
from engine.models.losses import recommendation_loss
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


@dataclass(frozen=True)
class Passes:
    """A step of the plain method that encodes as many sequences as a method does, as often as it updates, with nothing but L_rec."""

    updates: tuple[tuple[int, int], ...] = ((1, 0),)
    """For each update by a batch the passes over its prefixes with gradient, and those without; L_rec and Adam where there is a gradient."""
    causal: bool = True
    backbone: str = "sasrec"
    also: Literal["", "edited", "every"] = ""
    """Where the first of the passes with gradient is read besides its last items: at every item, or at those that are hidden, 15 %."""

    def __str__(self) -> str:
        counts = ", ".join(f"{own}+{without}" if without else f"{own}" for own, without in self.updates)
        also = f", first read at {self.also}" if self.also else ""
        return f"{self.backbone} {counts}{also}" + ("" if self.causal else " both ways")

    def first(self, ids: torch.Tensor, windows: Windows, vector: torch.Tensor) -> View:
        """The first view of a batch of prefixes, `vector` (D,) in place of what is hidden."""
        if self.also != "edited":
            return View(ids, causal=self.causal, read=self.also or "last")
        rows = Rows.of(*windows.aligned(ids))
        hidden = replace(rows, masked=torch.rand(rows.items.shape) < 0.15)
        return View(ids, causal=self.causal, read="edited", edit=Masking(hidden, vector))


REFERENCES: dict[str, Passes] = {
    "plain": Passes(),
    "sracl": Passes(((9, 0),)),
    "cl4srec": Passes(((3, 0),)),
    "coserec": Passes(((3, 0),)),
    "iclrec": Passes(((3, 0),)),
    "duorec": Passes(((3, 0),)),
    "icsrec": Passes(((3, 0),)),
    "mclrec": Passes(((3, 0), (0, 2), (3, 0))),
    "rlmrec-con": Passes(),
    "rlmrec-gen": Passes(also="edited"),
    "llm-esr": Passes(((1, 10),), backbone="dual"),
    "s3rec": Passes(),
    "alpharec": Passes(),
    "s3rec-pretrain": Passes(((4, 0),), causal=False, also="every"),
    "plain-dual": Passes(((2, 0),)),
}
"""What a row is held against. `sracl` needs 14 passes where neighbors of weight 0 are encoded too. A pass of `llm-esr` is one of its backbone
`dual`, which encodes two views of each sequence; what that costs beside two plain passes is the row `plain-dual`. `rlmrec-gen` and the pretraining
read states at other items than the last, so their passes do, too. `alpharec` has no encoder and is
held against one pass."""
STAGES = {f"{name}-{stage.name}": (name, stage) for name in METHODS.names() for stage in METHODS.load(name).stages}
"""The trainings before the main one, each a row."""


def stepper(office: Bench, config: Config, stage: Stage | None, semantics: Semantics) -> Callable[[], None]:
    """A function that trains the model of a config on the next batch, in a stage or in the main training."""
    torch.manual_seed(1)
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


def passes_stepper(office: Bench, passes: Passes, semantics: Semantics) -> Callable[[], None]:
    """A function that trains the plain model on the next batch, with further passes over its prefixes that nothing is read from."""
    torch.manual_seed(1)
    config = build_config({"method": "plain", "backbone": passes.backbone}, {"vector": "item-mean"})
    windows = Windows(office.dataset, config.data.max_length)
    backbone = Model(config, dataset=office.dataset, windows=windows, semantics=semantics).backbone.train()
    optimizers = Optimizers({"all": list(backbone.parameters())}, lr=1e-3, weight_decay=0.0)
    batches = _endless(windows, torch.from_numpy(office.anchor_ids))
    vector = torch.zeros(input_width(backbone), requires_grad=True)

    def step() -> None:
        ids = next(batches)
        for count, without in passes.updates:
            views = [passes.first(ids, windows, vector)] * min(count, 1)
            views += [View(ids, causal=passes.causal)] * (count - 1) + [View(ids, grad=False)] * without
            read = encode_views(backbone, views, windows)
            if count:
                last = read[0] if isinstance(read[0], torch.Tensor) else read[0].last(len(ids))
                loss = recommendation_loss(backbone.scores(last), windows.targets[ids])
                rest = [each if isinstance(each, torch.Tensor) else each.hidden for each in read[:count]]
                _update(optimizers, loss + sum(each.sum() for each in rest) * 1e-9)

    return step


def _update(optimizers: Optimizers, loss: torch.Tensor) -> None:
    optimizers.zero_grad()
    loss.backward()
    optimizers.step("all")


def products(step: Callable[[], None]) -> int:
    """Multiply-adds of the matrix products of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() // 2


def _endless(windows: Windows, ids: torch.Tensor) -> Iterator[torch.Tensor]:
    epoch = 0
    while True:
        epoch += 1
        yield from windows.batches(ids, 256, torch.Generator().manual_seed(epoch))


def main() -> None:
    """Time the methods in turns and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=[*METHODS.names(), *CONTROLS, *STAGES])
    parser.add_argument("--cache", type=Path, default=Path(".pytest_cache/sracl"))
    options = parser.parse_args()
    prepare()
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    office = _load("amazon-office-2014", options.cache)
    names = list(dict.fromkeys(["plain", *options.only]))
    stages = {name: STAGES.get(name, (name, None)) for name in names}
    configs = {
        name: build_config(CONTROLS.get(name, {"method": method}), {"vector": "item-mean"})
        for name, (method, _) in stages.items()
    }
    semantics = office.semantics(build_config({"method": "sracl"}, {"vector": "item-mean"}))
    steps = {name: stepper(office, config, stages[name][1], semantics) for name, config in configs.items()}
    for reference in dict.fromkeys(REFERENCES[name] for name in names if name in REFERENCES):
        steps[str(reference)] = passes_stepper(office, reference, semantics)
    sys.stdout.write("\n".join(table(steps, measured(steps, options.rounds))) + "\n")


def measured(steps: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of CPU time of each step, all of them in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(WARM + rounds):
        for name, step in steps.items():
            started = time.process_time()
            step()
            if number >= WARM:
                seconds[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def table(steps: Mapping[str, Callable[[], None]], medians: Mapping[str, float]) -> list[str]:
    """A line for each row: its time, beside a plain step, beside its reference, and its matrix products beside those of the reference."""
    counts = {name: products(step) for name, step in steps.items()}
    lines = [f"{'row':18} {'median ms':>9} {'x plain':>8} {'x reference':>12} {'x its products':>15}"]
    for name, median in medians.items():
        line = f"{name:18} {median * 1000:9.1f} {median / medians['plain']:8.2f}"
        if name in REFERENCES:
            reference = str(REFERENCES[name])
            line += f" {median / medians[reference]:12.2f} {counts[name] / counts[reference]:15.2f}"
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
