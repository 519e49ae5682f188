"""RecTools' SASRec on a folder of atomic files, for comparison; run it with an environment of its own:

    python3 -m venv peer && peer/bin/pip install torch==2.13.0 'rectools[torch]==0.19.0'
    peer/bin/python benchmarks/rectools_peer.py ../shared/data/amazon-office-2014 --epochs 3 --threads 2

Same width, layers, heads, dropout, window, loss and learning rate as our `backbone` preset. RecTools reads a user's window once and predicts at
each of its places, as our mode `sequence` does, so an epoch of that mode is its equal; a batch of 33 users has as many prefixes as one of ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

CUTOFF = 20


def trainer_of(epochs: int, kept: list[float]) -> Any:
    """A trainer without logs and files that notes how long each epoch took."""
    from pytorch_lightning import Callback, Trainer  # type: ignore

    class Timed(Callback):
        """Notes the seconds of an epoch's training."""

        def on_train_epoch_start(self, *_: Any) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            kept.append(time.perf_counter() - self.started)

    return Trainer(
        max_epochs=epochs,
        min_epochs=epochs,
        accelerator="cpu",
        callbacks=[Timed()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def main() -> None:
    """Train, time every epoch, and rank all items for the test item of each user once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=33, help="users")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    from pytorch_lightning import seed_everything  # type: ignore
    from rectools import Columns  # type: ignore
    from rectools.dataset import Dataset  # type: ignore
    from rectools.models import SASRecModel  # type: ignore

    seed_everything(asked.seed)
    torch.set_num_threads(asked.threads)
    folder = asked.folder.resolve()
    table = pd.read_csv(folder / f"{folder.name}.inter", sep="\t")
    table.columns = [Columns.User, Columns.Item, "time"]
    table = table.sort_values([Columns.User, "time"], kind="stable")
    table[Columns.Weight] = 1.0
    table[Columns.Datetime] = pd.to_datetime(np.arange(len(table)), unit="s")  # the order, also of items of one time
    from_end = table.groupby(Columns.User).cumcount(ascending=False)
    train, known, target = table[from_end >= 2], table[from_end >= 1], table[from_end == 0]
    epochs: list[float] = []
    model = SASRecModel(
        n_blocks=2,
        n_heads=2,
        n_factors=64,
        dropout_rate=0.5,
        session_max_len=CUTOFF,
        loss="softmax",
        lr=0.001,
        batch_size=asked.batch,
        recommend_batch_size=4096,
        get_trainer_func=trainer_of,
        get_trainer_func_kwargs={"epochs": asked.epochs, "kept": epochs},
    )
    model.fit(Dataset.construct(train))
    known = known[known[Columns.Item].isin(train[Columns.Item].unique())]  # it has no vectors of other items
    started = time.perf_counter()
    users = known[Columns.User].unique()
    found = model.recommend(users, Dataset.construct(known), k=CUTOFF, filter_viewed=False)
    seconds = time.perf_counter() - started
    ranks = found.merge(target, on=[Columns.User, Columns.Item])[Columns.Rank]
    json.dump(
        {
            "epochs": len(epochs),
            "epoch_seconds": round(float(np.median(epochs)), 2),
            "evaluation_seconds": round(seconds, 2),
            "threads": asked.threads,
            "test": {
                f"hr@{CUTOFF}": len(ranks) / len(target),
                f"ndcg@{CUTOFF}": float((1 / np.log2(ranks + 1)).sum() / len(target)),
            },
        },
        sys.stdout,
    )
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
