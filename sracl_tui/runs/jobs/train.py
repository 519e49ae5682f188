"""The job of kind `train`: semantic stages, training, test, and the arrays that other screens and jobs read.

Legend: R anchors that represent users, D model width, K neighbors.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from engine.data.dataset import TRAIN
from engine.methods.combination import check_combination
from engine.models.cpu import gathered
from engine.processes import ALONE, Processes, under_torchrun
from engine.setting_paths import named_entries
from engine.training.trainer import LAST, PREVIOUS, Trainer
from sracl_tui.runs.jobs.analysis_metrics import measure, weighing
from sracl_tui.runs.jobs.semantic_vectors import semantic_vectors
from sracl_tui.runs.stages import neighbors as neighbor_stage
from sracl_tui.runs.stages.needs import Needs
from store.journal.journal import read_events
from store.opening import open_store
from store.queries.text_search import find_set

if TYPE_CHECKING:
    from engine.config import Config
    from engine.data.dataset import Dataset
    from engine.methods.semantics import Semantics
    from sracl_tui.runs.jobs.base import JobContext
    from store.database.database import Store

WEIGHED = 65_536
"""Anchors whose weights are computed and written at once."""


def train(context: JobContext) -> None:
    """Train on the dataset of the settings, test the best epoch, and keep its user vectors and neighbor weights.

    The store is closed before training begins: it must not hold the database through hours of epochs.
    """
    config = context.request.config
    check_combination(config)
    several = _several(config)
    with ExitStack() as processes:
        with open_store(context.home) as store:
            dataset = context.open_dataset(store)
            semantics = _semantics(context, store, dataset) if config.needs else None
            group = ALONE if several is None else processes.enter_context(several(config, dataset, semantics))
            trainer = _trainer(context, dataset, semantics, group)
        if context.resume:
            _restore(context, trainer)
        _train(context, trainer)


def _several(config: Config) -> Callable[..., AbstractContextManager[Processes]] | None:
    """What starts the other processes of a training; none where there are no others.

    Raises:
        ConfigError: torchrun has started another number of processes.
    """
    if config.train.processes == 1 and not under_torchrun():
        return None
    from engine.training import workers

    workers.check(config)
    return workers.started


def _with_first_prompt(config: Config, folder: Path, store: Store) -> Config:
    """The settings of a resumed run, with the version of the summaries that it began with in place of `auto`, the newest one."""
    if config.semantics.prompt != "auto":
        return config
    version = None
    for _, line in read_events(folder):
        if line.event == "summary_set_made":
            version = line.fields["prompt_version"]
        elif line.event == "lists_used" and version is None:
            set_id = line.fields.get("user_set_id") or line.fields.get("item_set_id")
            found = find_set(store, set_id=set_id) if set_id else None
            version = found["prompt_version"] if found else None
    if version is None:
        return config
    return config.model_copy(update={"semantics": config.semantics.model_copy(update={"prompt": version})})


def _semantics(context: JobContext, store: Store, dataset: Dataset) -> Semantics:
    """Vectors and neighbor lists as tensors; the sets and lists they come from are recorded as `lists_used`."""
    config = context.request.config
    if context.resume:
        config = _with_first_prompt(config, context.recorder.folder, store)
    needs = Needs.of(config, dataset)
    if not context.request.allow_degraded and not (context.resume and _has_checkpoint(context.recorder.folder)):
        needs.check_texts()
    vectors = semantic_vectors(context, needs, store)
    found = neighbor_stage.find_neighbors(needs, vectors, store, context.clock, context.stop)
    context.check_stop()
    used = {f"{kind}_set_id": set_id for kind, set_id in vectors.set_ids.items()}
    used |= {f"{kind}_list_id": named.list_id for kind, named in found.items()}
    context.recorder.write("lists_used", **dict[str, Any](used))
    return neighbor_stage.as_semantics(needs, vectors, found)


def _trainer(context: JobContext, dataset: Dataset, semantics: Semantics | None, processes: Processes) -> Trainer:
    config, recorder = context.request.config, context.recorder
    for _, registry, name in named_entries(config):
        registry.keep(name, recorder.folder)
    trainer = Trainer(
        config,
        dataset,
        semantics,
        folder=recorder.folder,
        report=recorder.report,
        stop=context.stop,
        processes=processes,
    )
    recorder.write("device_used", device=str(trainer.device), threads=torch.get_num_threads())
    return trainer


def _has_checkpoint(folder: Path) -> bool:
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def _restore(context: JobContext, trainer: Trainer) -> None:
    """Continue from the last checkpoint; a run that keeps none repeats its epochs. One without an epoch begins plainly."""
    folder, result = context.recorder.folder, context.result
    saved = _has_checkpoint(folder)
    if not saved and not any(line.event == "epoch_finished" for _, line in read_events(folder)):
        return
    state = trainer.resume() if saved else trainer.state
    best = state.best_epoch or None
    context.recorder.write("run_resumed", epoch=state.epoch, step=state.step, best_epoch=best)
    result.epochs, result.best_epoch = state.epoch, best


def _train(context: JobContext, trainer: Trainer) -> None:
    result, recorder = context.result, context.recorder
    try:
        done = trainer.run()
        result.valid, result.test = done.valid, done.test
        own, samples = _write_arrays(trainer, recorder.folder)
        metrics = measure(trainer, recorder.folder, own=own, samples=samples)
        recorder.write("measured", epoch=trainer.state.best_epoch, step=trainer.state.step, metrics=metrics)
    finally:
        result.seconds["train"] += trainer.train_seconds
        result.seconds["evaluate"] += trainer.evaluate_seconds
        result.epochs, result.best_epoch = trainer.state.epoch, trainer.state.best_epoch or None


def _write_arrays(trainer: Trainer, folder: Path) -> tuple[Any, Any]:
    """Weights of all training anchors and items, h and h+ (R, D) of the representing anchors, at the best checkpoint.

    Returns:
        h and h+; h+ is None for a run without a synthesizer.
    """
    users, items = weighing(trainer, "inter"), weighing(trainer, "intra")
    if users is None:
        ids, own = trainer.user_vectors()
        columns, samples = {"anchor_id": pa.array(ids), "h": _lists(own)}, None
    else:
        ids = trainer.dataset.anchors.representing
        parts = torch.from_numpy(ids).split(256)
        both = (torch.cat(users.samples(trainer.model.backbone, part, trainer.windows), dim=1) for part in parts)
        own, samples = (side.cpu().numpy().copy() for side in gathered(both, len(ids)).chunk(2, dim=1))
        columns = {"anchor_id": pa.array(ids), "h": _lists(own), "h_plus": _lists(samples)}
        anchors = trainer.dataset.anchors.ids(TRAIN)
        _write_weights(folder / "weights.parquet", "anchor_id", anchors, users.user_table)
    if items is not None and trainer.config.synthesizer.item_kind == "synthesize":
        item_ids = np.arange(1, len(trainer.dataset.items) + 1)
        _write_weights(folder / "item_weights.parquet", "item_id", item_ids, items.item_table)
    pq.write_table(pa.table(columns), folder / "user_vectors.parquet", compression="zstd")
    return own, samples


def _write_weights(path: Path, owner: str, ids: NDArray[np.int64], table: Callable[..., Any]) -> None:
    """One row per neighbor; padding is left out. `table` gives neighbors (B, K) and weights (B, K) of ids (B,)."""
    schema = pa.schema({owner: pa.int64(), "neighbor_id": pa.int64(), "weight": pa.float32()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for first in range(0, max(1, len(ids)), WEIGHED):
            part = ids[first : first + WEIGHED]
            neighbors, weights = table(part)
            rows, ranks = np.nonzero(neighbors)
            columns = [part[rows], neighbors[rows, ranks], weights[rows, ranks]]
            writer.write_table(pa.table(columns, schema=schema))


def _lists(matrix: NDArray[np.float32]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
