"""The job of kind `leaks`: what the neighbors of each pool reveal of the held-out items."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from engine.config import Config
from engine.retrieval.leaks import leak_table
from sracl_tui.runs.jobs.semantic_vectors import semantic_vectors
from sracl_tui.runs.stages import neighbors as neighbor_stage
from sracl_tui.runs.stages.needs import Needs
from store.opening import open_store

if TYPE_CHECKING:
    from sracl_tui.runs.jobs.base import JobContext

POOLS = ("others", "users", "train", "reference")


def measure_leaks(context: JobContext) -> None:
    """Retrieve by every pool from the same vectors, and record the shares of each as `measured`."""
    base = context.request.config
    with open_store(context.home) as store:
        dataset = context.open_dataset(store)
        vectors = semantic_vectors(context, Needs.of(users_only(base, "reference"), dataset), store)
        for pool in POOLS:
            needs = Needs.of(users_only(base, pool), dataset)
            found = neighbor_stage.find_neighbors(needs, vectors, store, context.clock, context.stop)
            context.check_stop()
            shares = asdict(leak_table(found["user"].table, dataset, max_length=base.data.max_length))
            context.result.leaks[pool] = shares
            metrics = [
                {"split": "leaks", "subgroup": pool, "name": name, "value": value} for name, value in shares.items()
            ]
            context.recorder.write("measured", epoch=0, step=0, metrics=metrics)


def users_only(config: Config, pool: str) -> Config:
    """The same settings with another candidate pool, and neighbors of users alone."""
    retrieval = config.retrieval.model_copy(update={"pool": pool})
    loss = config.loss.model_copy(update={"alpha": config.loss.alpha or 0.1, "beta": 0.0})
    return config.model_copy(update={"retrieval": retrieval, "loss": loss, "method": Config().method})
