"""Items by their texts alone, averaged along the graph of users and items (AlphaRec, Sheng et al., ICLR 2025).

Legend: B sequences, T packed tokens, D width, H hidden size, V items, U users, S semantic size, K negatives, N_i and N_u training users of
an item and training items of a user.

i^0 = M x of an item's text vector x, u^0 = M(mean x of the user's training items), with a perceptron M of one hidden layer; then
i^l = sum of u^(l-1) / sqrt(N_u N_i) over the item's users, u^l likewise over the user's items (LightGCN); an item is the mean over all layers.
A history S of L items is scored by cosine as such a user would be: M(mean x_S) and, for each layer, sum of i^(l-1) / sqrt(L N_i)
over S, added up. So h is a bag of the items in the window, in which each place counts, and users of validation and test need no node.
Training users of S are users of the graph, which has training interactions alone.

As M begins with a linear layer, W(mean x) is the mean of W x: tables of W x + b and of the sums are all that a saved model needs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.data.dataset import Dataset
from engine.models.chosen_scores import chosen_scores
from engine.models.folded import FoldedBackbone


class AlphaRec(FoldedBackbone):
    """f: the direction of a history's mean text and of its items' neighborhoods; without embeddings of items."""

    has_own_loss: ClassVar[bool] = True
    accepts_padding: ClassVar[bool] = True
    graph: TrainingGraph

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        tables = {"hidden": config.inner, "neighborhood": config.width, "items": config.width}
        super().__init__(config, items=items, max_length=max_length, tables=tables)
        self.layers, self.inner = config.layers, config.inner
        self.negatives, self.temperature = config.loss_negatives, config.loss_temperature
        self.output = nn.Linear(config.inner, config.width)

    def before_training(self, dataset: Dataset, item_vectors: Tensor | None) -> None:
        super().before_training(dataset, item_vectors)
        assert self.item_vectors is not None
        self.adapt = nn.Linear(self.item_vectors.shape[1], self.inner)
        self.graph = TrainingGraph(dataset).to(self.item_vectors)

    def fold(self) -> dict[str, Tensor]:
        """W x + b (V + 1, H) before the activation; what an item adds to a history (V + 1, D); unit vectors of items (V + 1, D)."""
        assert self.adapt is not None
        graph = self.graph
        hidden = self.adapt(self.item_vectors)
        items, users = self._mapped(hidden), self._mapped(graph.of_users(hidden) / graph.user_counts)
        layers = [items]
        for _ in range(self.layers):
            after = graph.of_items(users / graph.user_counts.sqrt()) / graph.item_counts.sqrt()
            if len(layers) < self.layers:  # nobody reads the users behind the last layer
                users = graph.of_users(items / graph.item_counts.sqrt()) / graph.user_counts.sqrt()
            items = after
            layers.append(items)
        neighborhood = torch.stack(layers[:-1]).sum(0) / graph.item_counts.sqrt()
        return {"hidden": hidden, "neighborhood": neighborhood, "items": F.normalize(torch.stack(layers).mean(0))}

    def _mapped(self, hidden: Tensor) -> Tensor:
        """M behind its first layer: (..., D) for (..., H)."""
        return self.output(F.leaky_relu(hidden))

    def input_vectors(self, items: Tensor) -> Tensor:
        """(T, H + D) what items add to a history."""
        tables = self.tables()
        return torch.cat([F.embedding(items, tables[name]) for name in ("hidden", "neighborhood")], -1)

    def table(self) -> Tensor:
        """(V, D) unit vectors of items 1..V."""
        return self.tables()["items"][1:]

    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        """Unit vectors (B, D)."""
        return self._read(packed, self.input_vectors(packed.items) if token_vectors is None else token_vectors)

    def _read(self, packed: Packed, x: Tensor) -> Tensor:
        """Unit vectors (B, D) of sequences whose tokens are x (T, H + D)."""
        lengths = packed.lengths
        if packed.padding_mask is not None:
            x = x.masked_fill(packed.padding_mask.view(-1, 1), 0.0)
            lengths = (~packed.padding_mask).sum(1)
        sums = x.new_zeros(len(packed.last), x.shape[1]).index_add(0, packed.sequences, x)
        hidden, neighborhood = sums.split([self.inner, x.shape[1] - self.inner], 1)
        count = lengths[:, None].to(x.dtype)
        return F.normalize(self._mapped(hidden / count) + neighborhood / count.sqrt())[packed.restore]

    def loss_of_anchors(self, packed: Packed, targets: Tensor, anchor_ids: Tensor) -> Tensor:
        """Cross-entropy of the target's cosine among those of sampled items that its user has nowhere in training, by temperature."""
        tables = self.tables()
        x = torch.cat([F.embedding(packed.items, tables[name]) for name in ("hidden", "neighborhood")], -1)
        negatives, exist = self.graph.draw(anchor_ids.to(targets.device), self.negatives)  # (B, K)
        chosen = torch.cat([targets[:, None], negatives], 1)
        scores = chosen_scores(self._read(packed, x), tables["items"], chosen) / self.temperature
        scores = scores.masked_fill(F.pad(~exist, (1, 0)), float("-inf"))
        return F.cross_entropy(scores, torch.zeros_like(targets))


class TrainingGraph(nn.Module):
    """Which users have which items in training, each pair once; it has no state."""

    user_counts: Tensor
    """(U, 1) N_u, at least 1."""
    item_counts: Tensor
    """(V + 1, 1) N_i, at least 1 for the sake of division."""
    items: Tensor
    """(N,) items of the pairs, by user, ascending."""
    item_starts: Tensor
    """(U + 1,) where the items of each user begin, and behind the last."""
    users: Tensor
    """(N,) users of the pairs, by item, ascending from 0."""
    user_starts: Tensor
    """(V + 2,) where the users of each item begin, and behind the last."""
    user_of: Tensor
    """(A + 1,) user of each anchor, from 0."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self._item_number = len(dataset.items)
        rows = self._item_number + 1
        every = np.repeat(np.arange(dataset.users), dataset.lengths)[dataset.train_mask]
        pairs = np.unique(every * rows + dataset.sequence[dataset.train_mask].astype(np.int64))
        users, items = torch.from_numpy(pairs // rows), torch.from_numpy(pairs % rows)
        by_user, by_item = torch.bincount(users, minlength=dataset.users), torch.bincount(items, minlength=rows)
        self._longest = int(by_user.max())
        found = {
            "user_counts": by_user.clamp(min=1)[:, None].float(),
            "item_counts": by_item.clamp(min=1)[:, None].float(),
            "items": items,
            "item_starts": F.pad(by_user.cumsum(0), (1, 0)),
            "users": users[torch.argsort(items, stable=True)],
            "user_starts": F.pad(by_item.cumsum(0), (1, 0)),
            "user_of": torch.from_numpy(np.concatenate([[0], dataset.anchors.user_ids.astype(np.int64) - 1])),
        }
        for name, tensor in found.items():
            self.register_buffer(name, tensor, persistent=False)

    def of_users(self, rows: Tensor) -> Tensor:
        """(U, D) sums over each user's items of rows (V + 1, D)."""
        return _Sums.apply(rows, self.items, self.item_starts, self.users, self.user_starts)  # pyright: ignore[reportReturnType]

    def of_items(self, rows: Tensor) -> Tensor:
        """(V + 1, D) sums over each item's users of rows (U, D)."""
        return _Sums.apply(rows, self.users, self.user_starts, self.items, self.item_starts)  # pyright: ignore[reportReturnType]

    def draw(self, anchor_ids: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Items (B, K), each uniform over those that the anchor's user has nowhere in training, and whether there is any (B, K)."""
        users = self.user_of[anchor_ids]  # (B,)
        starts, counts = (
            self.item_starts[users][:, None],
            (self.item_starts[users + 1] - self.item_starts[users])[:, None],
        )
        places = torch.arange(self._longest, device=users.device)
        own = self.items[(starts + places).clamp(max=len(self.items) - 1)]  # (B, N)
        # A user's item number `place` has item - 1 - place others below it: the others are counted, and those items skipped.
        below = torch.where(places < counts, own - 1 - places, self._item_number)
        others = self._item_number - counts  # (B, 1)
        drawn = (torch.rand(len(users), count, device=users.device) * others).long()
        drawn = torch.minimum(drawn, (others - 1).clamp(min=0))  # float32 can round up to `others`
        skipped = torch.searchsorted(below, drawn, right=True)
        exist = (others > 0).expand(-1, count)
        return torch.where(exist, 1 + drawn + skipped, 1), exist


class _Sums(torch.autograd.Function):
    """Sums of the rows that each member of one side has on the other side; the gradient is the same the other way round.

    No row is copied, and nothing is turned or sorted in a step.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, members: Tensor, starts: Tensor, *other_way: Tensor) -> Tensor:
        ctx.save_for_backward(*other_way)
        return _sums(rows, members, starts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _sums(grads[0], *ctx.saved_tensors), None, None, None, None


def _sums(rows: Tensor, members: Tensor, starts: Tensor) -> Tensor:
    return F.embedding_bag(members, rows.contiguous(), starts, mode="sum", include_last_offset=True)
