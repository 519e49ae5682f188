"""RecBole's SASRec on a folder of atomic files, for comparison; run it with an environment of its own:

    python3 -m venv peer && peer/bin/pip install 'numpy<2' 'pandas<2.3' torch==2.13.0 recbole==1.2.1
    peer/bin/python benchmarks/recbole_peer.py ../shared/data/amazon-office-2014 --epochs 5 --threads 1

Same width, layers, window, batch, loss, learning rate, early stopping and full ranking as our `backbone` preset. RecBole 1.2.1 is
older than its dependencies: the aliases that NumPy dropped are set back, checkpoints of its own are loaded whole, and
`ray.tune`, which it imports and does not need here, is stood in for.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, Any] = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "MAX_ITEM_LIST_LENGTH": 20,
    "hidden_size": 64,
    "inner_size": 256,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dropout_prob": 0.5,
    "attn_dropout_prob": 0.5,
    "loss_type": "CE",
    "train_neg_sample_args": None,
    "train_batch_size": 256,
    "eval_batch_size": 4096,
    "learning_rate": 0.001,
    "stopping_step": 10,
    "topk": [5, 10, 20],
    "metrics": ["Hit", "NDCG", "MRR"],
    "valid_metric": "MRR@10",
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
    "use_gpu": False,
    "show_progress": False,
    "state": "WARNING",
    "save_dataset": False,
}


def stand_in() -> None:
    """What RecBole 1.2.1 expects of its dependencies."""
    for name, kind in {"bool": bool, "int": int, "float": float, "object": object, "str": str}.items():
        if name not in np.__dict__:
            setattr(np, name, kind)
    for old, new in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        if old not in np.__dict__:
            setattr(np, old, new)
    torch.load = functools.partial(torch.load, weights_only=False)
    ray, tune = types.ModuleType("ray"), types.ModuleType("ray.tune")
    ray.tune = tune  # type: ignore[attr-defined]
    sys.modules.update({"ray": ray, "ray.tune": tune})


def main() -> None:
    """Train, time every epoch and evaluation, read the test split once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--lists", type=Path, help="write scored lists of the test users, for sracl import-ranks")
    asked = parser.parse_args()
    stand_in()
    from recbole.config import Config  # type: ignore
    from recbole.data import create_dataset, data_preparation  # type: ignore
    from recbole.model.sequential_recommender import SASRec  # type: ignore
    from recbole.trainer import Trainer  # type: ignore
    from recbole.utils import init_seed  # type: ignore

    folder, lists = asked.folder.resolve(), asked.lists and asked.lists.resolve()
    place_of_logs = tempfile.TemporaryDirectory()  # it writes logs and models into the current folder
    os.chdir(place_of_logs.name)
    place = {"data_path": str(folder.parent), "epochs": asked.epochs, "seed": asked.seed}
    sys.argv = sys.argv[:1]
    config = Config(model="SASRec", dataset=folder.name, config_dict=SETTINGS | place)
    init_seed(asked.seed, True)
    torch.set_num_threads(asked.threads)
    train, valid, test = data_preparation(config, create_dataset(config))
    model = SASRec(config, train.dataset)
    times: dict[str, list[float]] = {"_train_epoch": [], "_valid_epoch": []}

    class Timed(Trainer):  # type: ignore[misc]
        """Notes how long each epoch and each evaluation took."""

    for name, kept in times.items():
        setattr(Timed, name, _timed(getattr(Trainer, name), kept))
    trainer = Timed(config, model)
    trainer.fit(train, valid, saved=True, show_progress=False)
    result = trainer.evaluate(test, load_best_model=True, show_progress=False)
    if lists is not None:
        sys.path.append(str(HERE / "examples"))
        from recbole_ranks import write_lists  # type: ignore

        write_lists(model, train.dataset, test, lists)
    sys.stdout.write(
        json.dumps(
            {
                "epochs": len(times["_train_epoch"]),
                "epoch_seconds": round(float(np.median(times["_train_epoch"])), 2),
                "evaluation_seconds": round(float(np.median(times["_valid_epoch"])), 2),
                "threads": asked.threads,
                "test": {name: float(value) for name, value in result.items()},
            }
        )
        + "\n"
    )


def _timed(method: Any, kept: list[float]) -> Any:
    def run(*words: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = method(*words, **named)
        kept.append(time.perf_counter() - started)
        return result

    return run


if __name__ == "__main__":
    main()
