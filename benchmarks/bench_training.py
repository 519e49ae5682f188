"""A training step on Office, both contrasts, batch 256, k 10: ours, plain and vectorized, and as the released code does it.

The floor is the arithmetic of what must be computed (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks.plain import PlainStep
from engine.data.batches import Windows
from engine.data.passes import Passes
from engine.models.sracl import SRACL
from engine.processor import prepare

WAYS = {"ours": (5, 8), "sequence": (5, 8), "plain": (1, 5), "as released": (1, 3)}
"""Warm-up steps, and measured ones."""


@pytest.fixture(scope="module")
def office(bench):
    return bench("amazon-office-2014")


def _stepper(office, config, way: str) -> Callable[[], float]:
    settings = config()
    prepare()  # for every way, as this process keeps what it has freed for all of them
    torch.manual_seed(1)
    model = SRACL(settings, items=len(office.dataset.items), semantics=office.semantics(settings)).train()
    windows = (Passes if way == "sequence" else Windows)(office.dataset, settings.data.max_length)
    plain = None if way in ("ours", "sequence") else PlainStep(model, office.dataset, per_sample=way != "plain")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=plain is None)
    ids = torch.from_numpy(office.anchor_ids)
    batches = iter(windows.batches(ids, 256, torch.Generator().manual_seed(1)))

    def step() -> float:
        batch = next(batches)
        loss = model.losses(batch, windows).total if plain is None else plain(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.benchmark(group="training step, Office, batch 256, k 10")
def test_step(benchmark, office, config, way):
    warm, rounds = WAYS[way]
    step = _stepper(office, config, way)
    loss = benchmark.pedantic(step, rounds=rounds, warmup_rounds=warm)
    assert 0 < loss < 20
