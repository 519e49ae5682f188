"""Draws for synthetic data sets, from uniform numbers alone: these are the same on every platform and in every version of numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Draws:
    """A sequence of draws that a seed determines."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def chance(self) -> float:
        """A number in [0, 1)."""
        return float(self._generator.random())

    def below(self, number: int) -> int:
        """An integer from 0 to `number` - 1, each equally often."""
        return int(self.chance() * number)

    def shuffled(self, number: int) -> NDArray[np.int64]:
        """The integers from 0 to `number` - 1 in any order, (number,)."""
        return np.argsort(self._generator.random(number), kind="stable")

    def by_share(self, shares: Sequence[int]) -> int:
        """An index, as often as its integer share of their sum."""
        return int(np.searchsorted(np.cumsum(shares), self.below(sum(shares)), side="right"))
