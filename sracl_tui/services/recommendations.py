"""A finished run as a recommender, and what it costs in time beside the same backbone without SRA-CL."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import ConfigError, DataError
from sracl_tui.runs.request import RunRequest
from store.database.database import Store
from store.queries import runs
from store.run_row import StoredRun

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from engine.config import Config
    from engine.data.dataset import Dataset
    from engine.recommend import Recommender

At = Literal["next", "test", "valid"]
LEFT: dict[str, int] = {"next": 0, "test": 1, "valid": 2}
"""Items at the end of a history that are left out."""
ROUNDS = 200


@dataclass(frozen=True)
class Latency:
    """Milliseconds per user, medians of rounds in which both took turns."""

    ours: float
    alone: float
    against: str
    """What `alone` is."""

    @property
    def ratio(self) -> float:
        """Latency of the loaded model divided by that of the backbone alone."""
        return self.ours / self.alone


def recommender_of(store: Store, run: StoredRun) -> tuple[Recommender, Dataset]:
    """The backbone of a run with its best weights, and the dataset that it was trained on.

    Raises:
        ConfigError: the run has no best weights.
        CheckpointError: they are damaged.
    """
    from engine.extension_points import BACKBONES
    from engine.recommend import Recommender, build
    from engine.training import checkpoint
    from engine.training.checkpoint_files import BEST
    from sracl_tui.runs.dataset_access import open_dataset

    folder = store.home.run_folder(run["run_id"])
    if run["kind"] != "train" or not (folder / BEST).exists():
        raise ConfigError(
            f"{run['run_id']} has no trained model", where="RUN", hint="`sracl runs` lists the finished ones."
        )
    config = RunRequest.read(folder).config
    dataset = open_dataset(store, str(run["dataset_id"]))
    model = config.model.model_copy(update={"backbone": BACKBONES.kept_in(config.model.backbone, folder)})
    weights = checkpoint.read_weights(folder / BEST, "backbone.")
    length = config.data.max_length
    backbone = build(weights, model, max_length=length, items=len(dataset.items), where=folder / BEST)
    about = {
        "run_id": run["run_id"],
        "name": run["name"],
        "dataset": run["dataset_name"],
        "dataset_sha256": run["dataset_sha256"],
        "config_hash": run["config_hash"],
        "seed": run["seed"],
        "best_epoch": run["best_epoch"],
        "mask_seen": config.evaluate.mask_seen,
        "test": {m["name"]: m["value"] for m in runs.final_metrics(store, run["run_id"]) if _is_test(m)},
    }
    items = dataset.items
    return Recommender(backbone, model, length, items.raw_ids, items.titles, about), dataset


def _is_test(metric: dict[str, Any]) -> bool:
    return metric["split"] == "test" and metric["subgroup"] == "all" and metric["name"] != "n"


def history_of(dataset: Dataset, user_id: int, at: At) -> NDArray[np.int32]:
    """A user's items, oldest first: all of them, or those before the test or the validation item."""
    start, end = int(dataset.offsets[user_id - 1]), int(dataset.offsets[user_id])
    return dataset.sequence[start : end - LEFT[at]]


def users_with(dataset: Dataset, at: At) -> list[int]:
    """Users who have a history: for `test` and `valid` those with such a target."""
    least = 3 if at != "next" else 1
    return [user for user, length in enumerate(dataset.lengths.tolist(), 1) if length >= least]


def recommend_all(model: Recommender, dataset: Dataset, *, k: int, at: At, mask_seen: bool) -> pa.Table:
    """Columns user_id, rank, item_id and score for every user with a history."""
    import numpy as np
    import pyarrow as pa

    users = users_with(dataset, at)
    if not users:
        raise DataError(f"no user of {dataset.name} has a history", where=f"--at {at}")
    ids, scores = model.top([history_of(dataset, user, at) for user in users], k=k, mask_seen=mask_seen)
    count = ids.shape[1]
    kept = np.isfinite(scores).reshape(-1)
    table = pa.table(
        {
            "user_id": pa.array(np.repeat(np.array(users, np.int32), count)),
            "rank": pa.array(np.tile(np.arange(1, count + 1, dtype=np.int32), len(users))),
            "item_id": pa.array(ids.reshape(-1).astype(np.int32)),
            "score": pa.array(scores.reshape(-1)),
        }
    )
    return table.filter(pa.array(kept))


def without_contrast(store: Store, run: StoredRun, model: Recommender) -> tuple[Recommender, str]:
    """The same backbone trained without SRA-CL, and what it is; where no run has trained it, one with fresh weights.

    How long a backbone takes does not depend on its weights.
    """
    from engine.config import Config
    from engine.models.registry import build_backbone

    own = Config.model_validate(run["config"])
    for row in runs.list_runs(store):
        same = row["state"] == "finished" and row["kind"] == "train" and row["run_id"] != run["run_id"]
        if same and row["dataset_name"] == run["dataset_name"]:
            config = Config.model_validate(row["config"])
            if config.is_plain and _alike(config, own):
                other, _ = recommender_of(store, runs.find_run(store, row["run_id"]))
                return other, f"run {row['run_id']}, {row['name']}" if row["name"] != row[
                    "run_id"
                ] else f"run {row['run_id']}"
    fresh = build_backbone(model.model, items=len(model.item_ids), max_length=model.max_length).eval()
    return replace(model, backbone=fresh), "untrained, as no run has trained it alone"


def _alike(one: Config, other: Config) -> bool:
    return one.model == other.model and one.data.max_length == other.data.max_length


def latency(
    ours: Recommender,
    alone: Recommender,
    against: str,
    histories: Sequence[NDArray[np.integer]],
    *,
    rounds: int = ROUNDS,
) -> Latency:
    """Time one user after the other with both, in turns, on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spent: dict[int, list[float]] = {0: [], 1: []}
    try:
        for number in range(rounds + 10):
            history = histories[number % len(histories)]
            for side in ((0, 1), (1, 0))[number % 2]:
                started = time.perf_counter()
                (ours, alone)[side].top([history])
                if number >= 10:  # the first ones warm up
                    spent[side].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return Latency(1000 * statistics.median(spent[0]), 1000 * statistics.median(spent[1]), against)
