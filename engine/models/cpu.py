"""Settings of this process for fast training on a CPU: memory allocation and denormal numbers."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterable

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""
KEEP_BYTES = 1 << 30


def by_hand(x: torch.Tensor) -> bool:
    """Whether our own CPU kernels apply to x: they compute in one type, so under autocast torch's operators are used."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def prepare() -> bool:
    """Keep freed memory for the next step, and take numbers too small for full precision as zero; whether memory is kept.

    By default glibc maps every large tensor anew and gives it back, so each step pays for the same pages again: a third of
    a GRU4Rec step. Elsewhere than with glibc nothing is changed but the arithmetic.
    """
    torch.set_flush_denormal(True)
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(MMAP_THRESHOLD, KEEP_BYTES)) and bool(libc.mallopt(TRIM_THRESHOLD, KEEP_BYTES))


def gathered(parts: Iterable[torch.Tensor], count: int) -> torch.Tensor:
    """Parts of a tensor of `count` rows, at least one part, that are made one after the other.

    The whole is allocated after the first part. A list of them would lie between the large blocks that are freed meanwhile, so that
    the next ones do not fit, and memory grows with the number of parts.
    """
    whole, first = None, 0
    for part in parts:
        whole = part.new_empty((count, *part.shape[1:])) if whole is None else whole
        whole[first : first + len(part)] = part
        first += len(part)
    assert whole is not None, "there is a part"
    return whole
