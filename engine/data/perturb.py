"""Perturbed item texts, to measure how much a result depends on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.data.dataset import Items
from engine.errors import ConfigError

_SWAP, _DROP = 0, 1


def perturb_items(items: Items, *, drop: float, swap: bool, seed: int = 20240) -> Items:
    """Items whose texts (titles and attributes) are shuffled or taken away; ids stay. `items` itself if neither.

    Args:
        drop: share of the V items that lose their text, in [0, 1]: round(drop * V) of them. With one seed a larger
            share takes the smaller one's items and more.
        swap: whether texts change places, so that no item keeps its own; done before the drop.
        seed: of both draws, which do not depend on each other.

    Raises:
        ConfigError: `drop` is outside [0, 1].
    """
    if not 0.0 <= drop <= 1.0:
        raise ConfigError(f"must be between 0 and 1, not {drop}", where="data.drop_titles")
    titles, attributes = list(items.titles), list(items.attributes)
    if swap:
        ring = _permutation(len(items), seed, _SWAP)
        for taker, giver in zip(ring, ring[1:] + ring[:1], strict=True):
            titles[taker], attributes[taker] = items.titles[giver], items.attributes[giver]
    for item in _permutation(len(items), seed, _DROP)[: round(drop * len(items))]:
        titles[item], attributes[item] = "", {}
    return replace(items, titles=titles, attributes=attributes) if swap or drop else items


def _permutation(length: int, seed: int, purpose: int) -> list[int]:
    generator = np.random.Generator(np.random.PCG64([seed, purpose]))
    return np.argsort(generator.random(length), kind="stable").tolist()
