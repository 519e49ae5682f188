"""What the screen Everyone says in words and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.population import Population
from sracl_tui.services.projections import Bucket, Map, Vectors
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

PHASES = {"best": "at the best epoch", "last": "at the last epoch", "initial": "before training (epoch 0)"}
BAR = 10
OTHERS = 38
"""Columns that a histogram needs beside its bars."""
Range = tuple[float, float]


def histogram_table(name: str, buckets: Sequence[Bucket], width: int) -> TableData:
    """A histogram as a table with one row per bucket; `width` columns limit the bars."""
    long = max(BAR, width - OTHERS)
    columns = (
        Column("range", name.title(), right=True),
        Column("bar", "", least=long),
        Column("users", "users", right=True),
        Column("note", "", flex=True, least=1),
    )
    most = max((len(bucket.indices) for bucket in buckets), default=0) or 1
    rows = []
    for number, bucket in enumerate(buckets):
        share = len(bucket.indices) / most
        drawn = formatting.bar(share, long) or ("▏" if len(bucket.indices) else "")
        note = f"◂ {bucket.note}" if bucket.note else ""
        cells = (bucket.label, drawn.ljust(long), f"{len(bucket.indices):,}", note)
        rows.append(Row(number, cells, ("dim", "live", "", "accent")))
    return lay_out(columns, rows)


def spearman_text(population: Population, when: str) -> Text:
    """Mean and median of the users' Spearman correlations, and how many are positive."""
    known = population.spearman[~np.isnan(population.spearman)]
    if not len(known):
        return Text()
    above, below = int((known > 0).sum()), int((known < 0).sum())
    text = Text()
    text.append("Spearman of similarity and weight ", "bold").append(f"{when}: mean {known.mean():+.3f}, ")
    text.append(f"median {np.median(known):+.3f}. {above:,} users above 0, {below:,} below, of {len(known):,}. ")
    text.append("+1: the most similar weigh most.", "italic")
    return text


def entropy_text(population: Population, when: str) -> Text:
    """Mean and extremes of the users' entropy in nats, and the mean's share of log k."""
    known = population.entropy[~np.isnan(population.entropy)]
    if not len(known):
        return Text()
    counts = population.neighbor_weights.counts
    k = int(counts.max())
    text = Text()
    text.append("Entropy of the weights ", "bold").append(f"{when}: mean {known.mean():.3f} nats, ")
    text.append(f"lowest {known.min():.3f}, highest {known.max():.3f}")
    if k > 1:
        text.append(
            f"; log {k} = {math.log(k):.3f} would be equal weights, the mean is {known.mean() / math.log(k):.1%}"
        )
        fewer = int((counts < k).sum())
        text.append(f". {fewer:,} users have fewer than {k} neighbors: their most is lower." if fewer else ".")
    return text


def density_text(
    population: Population, when: str, ranges: tuple[Range, Range] | None = None, pairs: int = 0, users: int = 0
) -> Text:
    """What a cell holds, or how far similarity decides the weight over all neighbors."""
    mask = population.neighbor_weights.mask
    if not mask.any():
        return Text()
    text = Text()
    if ranges is not None:
        (left, right), (low, high) = ranges
        text.append(f"{pairs:,} neighbors of {users:,} users", "bold")
        text.append(f": similarity {left:.3f} to {right:.3f}, weight {low:.4f} to {high:.4f}")
        return text
    similarity, weights = population.neighbor_weights.similarity[mask], population.neighbor_weights.weights[mask]
    text.append(f"{mask.sum():,} neighbors of {len(population.neighbor_weights.rows):,} users ", "bold").append(
        f"{when}. "
    )
    if similarity.std() > 0 and weights.std() > 0:
        text.append(f"Correlation over all of them {np.corrcoef(similarity, weights)[0, 1]:+.3f}. ")
    text.append("Arrows or a click look into a cell, n the next.", "italic")
    return text


def vectors_text(found: Vectors, drawn: Map | None) -> Text:
    """The numbers that a map cannot show, and what the map is."""
    text = Text()
    sides = [
        (name.partition(",")[0], values) for name, values in zip(found.names, found.measures, strict=True) if values
    ]
    width = 0 if found.a is None else found.a.shape[1]
    if sides:
        text.append(f"{'':<15}" + "".join(f"{name:>7}" for name, _ in sides) + "\n", "bold")
    for label, key, digits, meaning in (
        ("effective rank", "effective_rank", 1, f"of {width} in use"),
        ("uniformity", "uniformity", 2, "less: more even"),
        ("mean cosine", "mean_cosine", 2, "1: all one way"),
    ):
        if sides:
            text.append(f"{label:<15}", "bold")
            text.append("".join(f"{values.get(key, math.nan):>7.{digits}f}" for _, values in sides))
            text.append(f"  {meaning}\n", "dim")
    text.append(drawn.description if drawn is not None else "", "italic")
    if found.note:
        text.append(f"{' ' if drawn is not None else ''}{formatting.text(found.note)}", "italic")
    return text
