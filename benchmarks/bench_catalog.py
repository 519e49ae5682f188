"""A training over made catalogs: `python -m benchmarks.bench_catalog [ITEMS ...]` measures each size and loss in a process of its own.

Seconds and CPU seconds of a step, the most memory of the process, CPU seconds of an evaluation of 256 users, and how each grows: the slope
of its logarithm over that of the number of items.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

SIZES = (100_000, 300_000, 1_000_000)
USERS, LENGTH, STEPS, EVALUATED = 4_000, 12, 4, 256
WAYS: dict[str, dict[str, Any]] = {
    "ce, all at once": {"parts.rec.chunk": 10**9},
    "ce, in chunks": {},
    "ss-logq": {"parts.rec.loss": "ss-logq"},
    "ss-logq, sparse_adam": {"parts.rec.loss": "ss-logq", "sparse_adam": True},
}
MEASURED = ("seconds", "cpu", "gigabytes", "evaluation")


def _one(items: int, way: str) -> dict[str, float]:
    """What one training takes; the medians of its steps but the first."""
    import numpy as np
    import torch

    from engine.config_files import build_config
    from engine.data.batching.windows import Windows
    from engine.data.dataset import TRAIN, VALID, Dataset, Items
    from engine.evaluation.ranking import rank_targets
    from engine.methods.model import Model
    from engine.models.cpu import prepare
    from engine.training.optimizer import Optimizers

    prepare()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    random = np.random.default_rng(1)
    names = [str(number) for number in range(1, items + 1)]
    catalog = Items(raw_ids=names, titles=names, attributes=[{}] * items)
    sequence = (items * random.random(USERS * LENGTH) ** 2).astype(np.int32) + 1
    offsets = np.arange(0, USERS * LENGTH + 1, LENGTH)
    dataset = Dataset("made", [str(n) for n in range(USERS)], catalog, sequence, offsets, None)
    config = build_config({"method": "plain"}, WAYS[way])
    torch.manual_seed(1)
    windows = Windows(dataset, config.data.max_length)
    model = Model(config, dataset=dataset, windows=windows, semantics=None)
    optimizers = Optimizers(model.groups(), lr=1e-3, weight_decay=0.0, by_row=model.sparse_rows)
    batches = windows.batches(torch.from_numpy(dataset.anchors.ids(TRAIN)), config.train.batch, torch.Generator())
    walls, cpus = [], []
    model.train()
    for ids in batches[:STEPS]:
        wall, cpu = time.perf_counter(), time.process_time()
        optimizers.zero_grad()
        model.losses(ids, windows).total.backward()
        optimizers.step("all")
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    trained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.eval()
    started = time.process_time()
    rank_targets(model.backbone, windows, dataset, dataset.anchors.ids(VALID)[:EVALUATED], config.evaluate)
    evaluation = time.process_time() - started
    peak = max(trained, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    middle = {"seconds": median(walls[1:]), "cpu": median(cpus[1:])}
    return middle | {"gigabytes": peak * 1024 / 1e9, "evaluation": evaluation}


def _measured(items: int, way: str) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.bench_catalog", "one", str(items), way]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)


def slope(sizes: Sequence[float], values: list[float]) -> float:
    """The exponent b of values ~ a sizes^b, by least squares of the logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    middle = sum(x) / len(x), sum(y) / len(y)
    rise = sum((a - middle[0]) * (b - middle[1]) for a, b in zip(x, y, strict=True))
    return rise / sum((a - middle[0]) ** 2 for a in x)


def main(sizes: list[int]) -> None:
    """Measure every way at every size, and print a line for each."""
    say = sys.stdout.write
    say(f"load {os.getloadavg()[0]:.1f}\n{'':22}{'items':>11}" + "".join(f"{name:>12}" for name in MEASURED) + "\n")
    for way in WAYS:
        found = []
        for items in sizes:
            found.append(_measured(items, way))
            say(f"{way:22}{items:11,}" + "".join(f"{found[-1][name]:12.3f}" for name in MEASURED) + "\n")
            sys.stdout.flush()
        if len(sizes) > 1:
            slopes = (slope(sizes, [one[name] for one in found]) for name in MEASURED)
            say(f"{way:22}{'exponent':>11}" + "".join(f"{value:12.2f}" for value in slopes) + "\n")
    say(f"load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        sys.stdout.write(json.dumps(_one(int(sys.argv[2]), sys.argv[3])))
    else:
        main([int(word.replace(",", "")) for word in sys.argv[1:]] or list(SIZES))
