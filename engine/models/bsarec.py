"""BSARec: in each layer a frequency filter beside attention (Shin et al., AAAI 2024).

Legend: B sequences, C of one length L in a block, T packed tokens, n the window, D width.

A layer gives y = a F(x) + (1 - a) A(x) and then SASRec's feed-forward half. A is SASRec's attention half. F splits x along the n
positions into its lowest frequencies z and the rest, rescales the rest, and adds: F(x) = LayerNorm(x + Dropout(z + s^2 (x - z))).
z is a product with a fixed matrix, z = P x, of which a sequence of L items needs the last L rows and columns, so no padding
and no Fourier transform is computed. In the released code the positions before a short sequence have vectors, which the filter mixes in;
here they are 0, packed or padded.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.models.sasrec import SASRec
from engine.models.transformer import LAYER_NORM_EPS, Layer


class BSARec(SASRec):
    """f: SASRec with a filter in its layers, which sees both ways; read at the last position."""

    causal: ClassVar[bool] = False

    def _layer(self, config: ModelConfig, max_length: int) -> nn.Module:
        return FilterLayer(config, max_length)

    def encode_at(self, packed: Packed, indices: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        """None: with the filter a state depends on later items, too."""
        raise NotImplementedError


class FilterLayer(Layer):
    """A frequency filter beside self-attention, then feed-forward."""

    def __init__(self, config: ModelConfig, max_length: int) -> None:
        super().__init__(config)
        self.mix, self.bands, self.max_length = config.filter_mix, config.filter_bands, max_length
        self.high_scale = nn.Parameter(torch.randn(config.width))
        self.filter_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)

    def _mixed(self, attended: Tensor, queried: Tensor, x: Tensor, packed: Packed, *, last_only: bool) -> Tensor:
        low = self._low(x, packed, last_only=last_only)
        filtered = self._drop(low + self.high_scale.square() * (queried - low))
        attention = super()._mixed(attended, queried, x, packed, last_only=last_only)
        return self.mix * self.filter_norm(queried + filtered) + (1 - self.mix) * attention

    def _low(self, x: Tensor, packed: Packed, *, last_only: bool) -> Tensor:
        """The lowest frequencies of every sequence, at its tokens (T, D) or at the last one (B, D)."""
        matrix = lowpass(self.max_length, self.bands, x.dtype, x.device)
        if packed.padding_mask is not None:
            x = x.masked_fill(packed.padding_mask.view(-1, 1), 0.0)
        found: list[Tensor] = []
        token = 0
        for count, length in packed.blocks:
            block = x[token : token + count * length].view(count, length, -1)  # (C, L, D)
            rows = matrix[self.max_length - 1 if last_only else self.max_length - length :, self.max_length - length :]
            low = torch.bmm(rows.expand(count, -1, -1), block)  # (C, L or 1, D)
            found.append(low.flatten(0, 1))
            token += count * length
        return torch.cat(found)


@lru_cache(maxsize=16)
def lowpass(length: int, bands: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """P (n, n): what the lowest `bands` // 2 + 1 frequencies of the real Fourier transform of n values make of them."""
    places = torch.arange(length, dtype=torch.float64)
    angles = 2 * math.pi / length * (places[:, None] - places)  # (n, n)
    kept = torch.zeros(length, length, dtype=torch.float64)
    for frequency in range(min(bands // 2, length // 2) + 1):
        once = frequency == 0 or 2 * frequency == length  # a conjugate pair otherwise
        kept += (1 if once else 2) * torch.cos(frequency * angles)
    return (kept / length).to(device, dtype)
