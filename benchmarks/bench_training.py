"""A training step on Office, both contrasts, batch 256, k 10: ours, plain and vectorized, and as the released code does it.

Each way has a process of its own, as what ours asks of the C library's memory (engine/models/cpu.py) would speed up the others too.
The floor is the arithmetic of what must be computed (docs/performance.md).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

import pytest
import torch

from benchmarks.conftest import Bench
from benchmarks.plain import PlainStep
from engine.config import Config
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.methods.model import Model
from engine.models.cpu import prepare

OURS = ("ours", "sequence", "backbone")
WAYS = {"ours": (5, 15), "sequence": (5, 15), "backbone": (5, 15), "plain": (2, 7), "as released": (2, 5)}
"""Warm-up steps, and measured ones. `backbone`: ours without contrasts."""


def _stepper(office: Bench, settings: Config, way: str) -> Callable[[], float]:
    torch.manual_seed(1)
    semantics = office.semantics(settings) if settings.contrasts else None
    if way in OURS:
        prepare()
    windows = (SharedWindows if way == "sequence" else Windows)(office.dataset, settings.data.max_length)
    model = Model(settings, dataset=office.dataset, windows=windows, semantics=semantics).train()
    plain = None if way in OURS else PlainStep(model, office.dataset, per_sample=way != "plain")
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


def _serve(connection: Connection, office: Bench, settings: Config, way: str) -> None:
    """A step for every line that comes, until the other side is gone."""
    step = _stepper(office, settings, way)
    connection.send(0.0)
    try:
        while connection.recv():
            connection.send(step())
    except EOFError:
        return


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.benchmark(group="training step, Office, batch 256, k 10")
def test_step(benchmark, bench, config, way):
    settings = config(**({"alpha": 0.0, "beta": 0.0} if way == "backbone" else {}))
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, bench("amazon-office-2014"), settings, way), daemon=True)
    process.start()
    there.close()
    here.recv()  # it is ready

    def step() -> float:
        here.send(True)
        return here.recv()

    warm, rounds = WAYS[way]
    loss = benchmark.pedantic(step, rounds=rounds, warmup_rounds=warm)
    here.close()
    process.join()
    assert 0 < loss < 20
