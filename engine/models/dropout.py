"""Dropout that is fast on the CPU, where torch draws one slow Bernoulli number per element.

On the CPU a keep-mask is cut from 64 random bits of torch's global generator at a time: 8 bits per element where the
rate is a multiple of 1/256 (0.5 is), else 16, which rounds the rate to a multiple of 1/65536 (at most 65535 of them) and
scales by the rounded rate, so that the mean is kept. On other devices torch's own dropout is used.
Measured with 18,000 x 64 values on two cores: 2.5 ms, against 21 ms with torch's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LOWEST = -(2**63)


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """x with a share `rate` of its values set to 0 and the others scaled by 1 / (1 - rate); x itself outside training."""
    if not training or rate == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate, training)
    return x * keep_mask(x.shape, rate, x)


@dataclass(frozen=True)
class Drawn:
    """Which of some values dropout keeps."""

    words: Tensor | None
    """Random numbers of 8 or 16 bits, one a value, which is kept where its number is at least `cut`; none: all are."""
    cut: int = 0
    scale: float = 1.0
    """Factor of the values kept."""

    def factors(self, dtype: torch.dtype) -> Tensor:
        """0, or the scale, of each value."""
        assert self.words is not None
        return (self.words >= self.cut).to(dtype).mul_(self.scale)


KEEP_ALL = Drawn(None)


def draw(count: int, rate: float) -> Drawn:
    """Which of `count` values dropout keeps, each dropped with probability `rate`, on the CPU."""
    if rate == 0.0:
        return KEEP_ALL
    bits = 8 if (rate * 256).is_integer() else 16
    cut = min(round(rate * 2**bits), 2**bits - 1)
    kind, per_word = (torch.int8 if bits == 8 else torch.int16), 64 // bits
    words = torch.empty(-(-count // per_word), dtype=torch.int64).random_(_LOWEST, None)
    return Drawn(words.view(kind)[:count], cut - 2 ** (bits - 1), 2**bits / (2**bits - cut))


def keep_mask(shape: Sequence[int], rate: float, like: Tensor) -> Tensor:
    """Factors of this shape, of the type and device of `like`: 0 with probability `rate`, else 1 / (1 - rate)."""
    if like.device.type != "cpu":
        return like.new_empty(torch.Size(shape)).bernoulli_(1 - rate).div_(1 - rate)
    return draw(math.prod(shape), rate).factors(like.dtype).view(torch.Size(shape))
