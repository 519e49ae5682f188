"""Scored lists of a model that RecBole has trained, as a file for `sracl import-ranks`.

Call `write_lists` at the end of a script of RecBole's, with its model, its data set and its test loader:

    model, dataset, test_data = ...            # as run_recbole and load_data_and_model give them
    write_lists(model, dataset, test_data, "sasrec.tsv")

    sracl import-ranks sasrec.tsv --dataset office --name recbole-sasrec --seed 2020 --set max_length=50
    sracl compare office-backbone recbole-sasrec-2020 --split test

The data set has to be the same: `sracl data import` reads the folder of atomic files that RecBole has read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


@torch.no_grad()
def write_lists(model: Any, dataset: Any, test_data: Any, path: str | Path, *, k: int = 100) -> int:
    """Write the k best items of every test user with their scores, in RecBole's `name:type` columns; how many users.

    `test_data` is a full-ranking loader (`eval_args: {mode: full}`). An item that RecBole leaves out as seen is left out here.
    """
    model.eval()
    users = 0
    with Path(path).open("w", encoding="utf-8") as file:
        file.write("user_id:token\titem_id:token\tscore:float\n")
        for interaction, history, *_ in test_data:
            scores = model.full_sort_predict(interaction.to(model.device)).view(len(interaction), -1).clone()
            scores[:, 0] = -torch.inf  # padding
            if history is not None:
                scores[history] = -torch.inf
            values, items = scores.topk(min(k, scores.shape[1] - 1))
            tokens = dataset.id2token(dataset.iid_field, items.cpu().numpy())
            names = dataset.id2token(dataset.uid_field, interaction[dataset.uid_field].cpu().numpy())
            for user, row, own in zip(names, tokens, values.tolist(), strict=True):
                file.writelines(f"{user}\t{item}\t{score!r}\n" for item, score in zip(row, own, strict=True))
            users += len(names)
    return users
