"""One of several jobs that share the prompts of a summary set: each asks those whose keys fall into its ranges."""

from __future__ import annotations

from dataclasses import dataclass

RANGES = 16
"""Ranges of keys, the first digit of their hashes: the most jobs that can share a set."""


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
        """Whether a prompt with this key, a hash in hexadecimal digits, is this job's to ask."""
        return int(key[0], 16) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Shard(1, 1)
"""A job that asks all prompts itself."""
