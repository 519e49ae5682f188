"""Dropout that is fast on the CPU, where torch draws one slow Bernoulli number per element.

On the CPU a keep-mask is cut from 64 random bits of torch's global generator at a time: 8 bits per element where the
rate is a multiple of 1/256 (0.5 is), else 16, which rounds the rate to a multiple of 1/65536 (at most 65535 of them) and
scales by the rounded rate, so that the mean is kept. On other devices torch's own dropout is used.
Measured with 18,000 x 64 values on two cores: 2.5 ms, against 21 ms with torch's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def keep_mask(shape: Sequence[int], rate: float, like: Tensor) -> Tensor:
    """Factors of this shape, of the type and device of `like`: 0 with probability `rate`, else 1 / (1 - rate)."""
    if like.device.type != "cpu":
        return like.new_empty(torch.Size(shape)).bernoulli_(1 - rate).div_(1 - rate)
    bits = 8 if (rate * 256).is_integer() else 16
    cut = min(round(rate * 2**bits), 2**bits - 1)
    kept = _keep(math.prod(shape), cut, bits).view(torch.Size(shape))
    return kept.to(like.dtype).mul_(2**bits / (2**bits - cut))


def _keep(count: int, cut: int, bits: int) -> Tensor:
    """(count,) mask of the values kept: each is dropped with probability cut / 2^bits."""
    kind, per_word = (torch.int8 if bits == 8 else torch.int16), 64 // bits
    words = torch.empty(-(-count // per_word), dtype=torch.int64).random_(_LOWEST, None)
    return words.view(kind)[:count] >= cut - 2 ** (bits - 1)
