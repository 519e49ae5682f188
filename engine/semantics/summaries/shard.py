"""One of several jobs that share the prompts of a summary set: each asks those whose keys fall into its ranges."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

RANGES = 16
"""Ranges of keys: the most jobs that can share a set."""


@dataclass(frozen=True)
class Shard:
    """Job `number` of `of`, counted from 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= RANGES:
            raise ValueError(f"there is no shard {self.number} of {self.of}; at most {RANGES} share a set")

    @property
    def ranges(self) -> list[int]:
        """Its ranges of keys."""
        return list(range(self.number - 1, RANGES, self.of))

    def has(self, key: str) -> bool:
        """Whether a prompt with this key is this job's to ask."""
        return range_of(key) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def range_of(key: str) -> int:
    """The range of a key, from 0; ranges are of about the same size."""
    return zlib.crc32(key.encode()) % RANGES


WHOLE = Shard(1, 1)
"""A job that asks all prompts itself."""
