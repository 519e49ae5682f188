"""A BERT that encodes texts on the CPU by the kernels of the backbones: without padding, and with fewer passes over memory.

Measured with all-MiniLM-L6-v2 and 1,000 texts of 1 to 7 titles (benchmarks/bench_embedding.py): 22.3 s, where sentence-transformers takes 29.5 s.
Vectors differ by rounding, 2e-7 at most there.

Legend: N texts, T tokens of some texts, laid end to end, S size of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.models.attention import AttentionSpec, attend
from engine.models.feed_forward import feed_forward_half
from engine.models.kernels import kernels_for
from engine.models.linear import linear
from engine.models.residual_norm import normed_sum, projected_norm

TEXTS, TOKENS = 256, 4096
"""At once: to the tokenizer, and to the model."""
TRIAL = ("a cast-iron skillet", "", "Ordner A4, grün: " * 9)
CLOSE = 1e-4
"""Largest difference of a trial's vectors, as a share of their largest number."""


class PackedBert:
    """A sentence-transformers model of this kind."""

    def __init__(self, model: Any) -> None:
        self._bert = model[0].auto_model
        self._tokenized = model.preprocess if hasattr(model, "preprocess") else model.tokenize
        self._first_token = model[1].pooling_mode == "cls"
        self._normalizes = len(model) > 2
        layers = (layer.attention.self for layer in self._bert.encoder.layer)
        self._projections = [
            (
                torch.cat([each.query.weight, each.key.weight, each.value.weight]),
                torch.cat([each.query.bias, each.key.bias, each.value.bias]),
            )
            for each in layers
        ]

    @classmethod
    def of(cls, model: Any) -> PackedBert | None:
        """For a model that can be encoded so, on this machine, with the vectors that its own `encode` gives; else none."""
        try:
            if not _fits(model):
                return None
            packed = cls(model)
            ours, theirs = packed.encode(list(TRIAL)), model.encode(list(TRIAL), show_progress_bar=False)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):  # built otherwise inside
            return None
        same = ours.shape == theirs.shape and np.abs(ours - theirs).max() <= CLOSE * np.abs(theirs).max()
        return packed if same else None

    @torch.no_grad()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors (N, S)."""
        vectors = np.empty((len(texts), self._bert.config.hidden_size), np.float32)
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        for start in range(0, len(order), TEXTS):
            numbers = order[start : start + TEXTS]
            features = self._tokenized([texts[number] for number in numbers])
            shortest_first = features["attention_mask"].sum(1).sort(stable=True)
            for some, lengths in _parts(shortest_first.indices, shortest_first.values):
                found = self._pooled(self._states(features, some, lengths), lengths)
                vectors[[numbers[number] for number in some.tolist()]] = found.numpy()
        return vectors

    def _states(self, features: Any, some: Tensor, lengths: Tensor) -> Tensor:
        """(T, S) of the last layer, for texts with these lengths, shortest first."""
        real = features["attention_mask"][some].bool()
        embeddings, config = self._bert.embeddings, self._bert.config
        positions = torch.arange(real.shape[1]).expand(len(some), -1)[real]
        kinds = features["token_type_ids"][some][real] if "token_type_ids" in features else torch.zeros_like(positions)
        x = embeddings.word_embeddings(features["input_ids"][some][real]) + embeddings.token_type_embeddings(kinds)
        x = normed_sum(x, embeddings.position_embeddings(positions), embeddings.LayerNorm, 0.0)
        blocks = tuple((len(list(same)), length) for length, same in groupby(lengths.tolist()))
        spec = AttentionSpec(blocks, config.num_attention_heads, causal=False, dropout=0.0)
        for (weight, bias), layer in zip(self._projections, self._bert.encoder.layer, strict=True):
            mixed = attend(linear(x, weight, bias), spec)
            x = projected_norm(mixed, layer.attention.output.dense, x, layer.attention.output.LayerNorm, 0.0)
            x = feed_forward_half(x, layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm, 0.0)
        return x

    def _pooled(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(N, S) from states (T, S)."""
        stops = torch.cumsum(lengths, 0)
        if self._first_token:
            pooled = states[stops - lengths]
        else:
            numbers = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
            pooled = states.new_zeros(len(lengths), states.shape[1]).index_add_(0, numbers, states) / lengths[:, None]
        return F.normalize(pooled, dim=1) if self._normalizes else pooled


def _fits(model: Any) -> bool:
    """Whether a model is a BERT with GELU whose tokens' mean, or first token, is the vector, in float32 on a CPU that has the kernels."""
    if [type(module).__name__ for module in model][1:] not in (["Pooling"], ["Pooling", "Normalize"]):
        return False
    bert = model[0].auto_model
    config, weights = bert.config, next(bert.parameters())
    plain = (
        type(bert).__name__ == "BertModel"
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not getattr(config, "is_decoder", False)
        and model.default_prompt_name is None
        and model.truncate_dim is None
        and model[1].pooling_mode in ("mean", "cls")
    )
    widths = (config.hidden_size, config.intermediate_size)
    return (
        plain and weights.dtype == torch.float32 and kernels_for(weights, products=widths, rows=widths[:1]) is not None
    )


def _parts(indices: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Texts and their lengths, some `TOKENS` tokens at a time, at least one text."""
    parts = (torch.cumsum(lengths, 0) - lengths) // TOKENS
    counts = torch.unique_consecutive(parts, return_counts=True)[1].tolist()
    yield from zip(indices.split(counts), lengths.split(counts), strict=True)
