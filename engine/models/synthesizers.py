"""Sample synthesizers: how the K retrieved neighbors of an anchor are weighed into one contrastive sample.

Legend: B anchors, K neighbors, S size of a semantic vector (the paper's d~), D width.
Every synthesizer maps scores to weights that sum to 1 over the existing neighbors (`mask`); an anchor without any gets zeros. The learnable ones differ in their score s_j alone.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import SynthesizerConfig
from engine.extension_points import SYNTHESIZERS
from engine.models.dropout import dropout

COSINE_TEMPERATURE = 0.1
"""Of `softmax-cosine`."""
XAVIER_GAIN = 1.414


class Synthesizer(nn.Module):
    """Weights of neighbors, from the anchor's and the neighbors' semantic vectors."""

    learned: ClassVar[bool] = False
    """Whether training changes its weights of the neighbors."""
    one_hot: ClassVar[bool] = False
    """Whether all weight goes to one neighbor; weight dropout then stays off."""
    unsharded: ClassVar[str] = ""
    """Why several processes cannot train it, which all compute it for the whole batch; empty where it draws random numbers from torch alone.
    A class of your own says it itself, also where its base class does."""

    def __init__(self, size: int, width: int, weight_dropout: float = 0.0) -> None:
        """A synthesizer of semantic vectors of `size` S; a learned one projects them to `width` D."""
        super().__init__()
        self.weight_dropout = weight_dropout

    @abstractmethod
    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        """s (B, K) from x_u (B, S), x_j (B, K, S) and the retrieval's similarity (B, K)."""

    def forward(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor, mask: Tensor) -> Tensor:
        """p (B, K): softmax of the scores where `mask` (B, K) is true, else 0; with weight dropout in training."""
        scores = self.scores(anchor, neighbors, similarity).masked_fill(~mask, -math.inf)
        some = mask.any(1, keepdim=True)
        weights = scores.masked_fill(~some, 0.0).softmax(1).masked_fill(~mask, 0.0)  # 0 even where scores are NaN
        return dropout(weights, self.weight_dropout, self.training and not self.one_hot)


class GAT(Synthesizer):
    """s_j = LeakyReLU_0.2(a^T [W^T x_u || W^T x_j]) (paper section 3.3). Static attention: see docs/method.md."""

    learned = True

    def __init__(self, size: int, width: int, weight_dropout: float) -> None:
        super().__init__(size, width, weight_dropout)
        self.projection = _xavier(size, width)
        self.attention = _xavier(2 * width, 1)

    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        own, others = self.attention[:, 0].chunk(2)  # (D,) each
        left = anchor @ self.projection @ own  # (B,)
        right = neighbors @ (self.projection @ others)  # (B, K)
        return F.leaky_relu(left[:, None] + right, 0.2)


class Frozen(GAT):
    """`gat` as it was initialized, never trained."""

    learned = False

    def __init__(self, size: int, width: int, weight_dropout: float) -> None:
        super().__init__(size, width, weight_dropout)
        self.requires_grad_(False)


class GATv2(Synthesizer):
    """s_j = a^T LeakyReLU_0.2(W [x_u || x_j]): the order of the neighbors may depend on the anchor."""

    learned = True

    def __init__(self, size: int, width: int, weight_dropout: float) -> None:
        super().__init__(size, width, weight_dropout)
        self.own, self.other = _xavier(size, width), _xavier(size, width)
        self.attention = _xavier(width, 1)

    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        joint = (anchor @ self.own)[:, None] + neighbors @ self.other  # (B, K, D)
        return (F.leaky_relu(joint, 0.2) @ self.attention).squeeze(2)


class ScaledDot(Synthesizer):
    """s_j = (W_q x_u) . (W_k x_j) / sqrt(D)."""

    learned = True

    def __init__(self, size: int, width: int, weight_dropout: float) -> None:
        super().__init__(size, width, weight_dropout)
        self.query, self.key = _xavier(size, width), _xavier(size, width)

    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        query = anchor @ self.query / math.sqrt(self.query.shape[1])  # (B, D)
        return (neighbors @ self.key @ query[:, :, None]).squeeze(2)


class MLP(Synthesizer):
    """s_j = g(x_u) . g(x_j) / sqrt(D) with g(x) = W_2 GELU(W_1 x): the paper's non-linear adapter."""

    learned = True

    def __init__(self, size: int, width: int, weight_dropout: float) -> None:
        super().__init__(size, width, weight_dropout)
        self.first, self.second = _xavier(size, width), _xavier(width, width)

    def _adapt(self, x: Tensor) -> Tensor:
        return F.gelu(x @ self.first) @ self.second

    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        query = self._adapt(anchor) / math.sqrt(self.second.shape[1])  # (B, D)
        return (self._adapt(neighbors) @ query[:, :, None]).squeeze(2)


class Uniform(Synthesizer):
    """All neighbors alike."""

    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        return torch.zeros_like(similarity)


class SoftmaxCosine(Synthesizer):
    """Softmax of the similarity / 0.1."""

    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        return similarity / COSINE_TEMPERATURE


class RandomPick(Synthesizer):
    """One neighbor at random, anew in every step (the paper's w/o learn.); outside training its expectation, 1 / K."""

    one_hot = True

    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        return torch.rand_like(similarity)

    def forward(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor, mask: Tensor) -> Tensor:
        if not self.training:
            return mask / mask.sum(1, keepdim=True).clamp(min=1)
        return _one_hot(self.scores(anchor, neighbors, similarity), mask)


class Top1(Synthesizer):
    """The most similar neighbor alone."""

    one_hot = True

    def scores(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor) -> Tensor:
        return similarity

    def forward(self, anchor: Tensor, neighbors: Tensor, similarity: Tensor, mask: Tensor) -> Tensor:
        return _one_hot(self.scores(anchor, neighbors, similarity), mask)


def _xavier(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns), gain=XAVIER_GAIN))


def _one_hot(scores: Tensor, mask: Tensor) -> Tensor:
    """All weight on the first of the best scores; nothing where there is no neighbor."""
    best = scores.masked_fill(~mask, -math.inf).argmax(1)
    return F.one_hot(best, scores.shape[1]) * mask.to(scores.dtype)


def build_synthesizer(config: SynthesizerConfig, *, size: int, width: int) -> Synthesizer:
    """The synthesizer that the config names.

    Args:
        size: of the semantic vectors.
        width: of the backbone; also the size of the projections.

    Raises:
        ConfigError: one that is not ours cannot be imported, is no `Synthesizer`, or cannot be built.
    """
    return SYNTHESIZERS.build(config.kind, size, width, config.weight_dropout)
