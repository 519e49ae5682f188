"""The set `goods`, formerly the demo set: stable, small, readable, and with tastes that only the texts show."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np

from engine.data.dataset import TRAIN
from engine.data.goods import DEPARTMENTS, GOODS_NAME, KINDS, STYLES, make_goods
from tests.support.commands import ROOT


def style_of(dataset):
    """(V + 1,) style of each item, read from its brand."""
    brands = {brand: number for number, style in enumerate(STYLES) for brand in style.brands}
    return np.array([-1, *(brands[more["brand"][0]] for more in dataset.items.attributes)])


def test_the_same_everywhere():
    code = "from engine.data.goods import make_goods; print(make_goods().sha256)"
    elsewhere = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert make_goods().sha256 == make_goods().sha256 == elsewhere.stdout.strip()
    assert make_goods().sha256 == "ea61dc4ed073de8ea55e376b61e427120a22ddeb91d85d839bd94f40e65085d2"
    assert make_goods(8).sha256 != make_goods().sha256


def test_sizes():
    dataset = make_goods()
    assert (dataset.name, dataset.users, len(dataset.items)) == (GOODS_NAME, 250, 200)
    assert len(dataset.anchors.ids(TRAIN)) == int(np.maximum(dataset.lengths - 3, 0).sum()) <= 1500
    assert all(len(make_goods(seed).anchors.ids(TRAIN)) <= 1500 for seed in range(3))
    assert dataset.options == {"format": "demo", "synthetic": True, "seed": 7}
    assert dataset.train_counts[1:].min() >= 1


def test_times_are_sorted_days_with_some_ties():
    dataset = make_goods()
    assert dataset.timestamps is not None
    assert (dataset.timestamps % 86_400 == 0).all()
    within = np.ones(len(dataset.sequence) - 1, bool)
    within[dataset.offsets[1:-1] - 1] = False
    gaps = np.diff(dataset.timestamps)[within]
    assert gaps.min() == 0
    assert 0.1 < (gaps == 0).mean() < 0.3
    assert 0 < dataset.tied.sum() < dataset.users / 2


def test_texts_are_whole():
    items = make_goods().items
    assert len(set(items.titles)) == len(set(items.raw_ids)) == 200
    assert all(title.isprintable() and len(title) < 80 for title in items.titles)
    for more in items.attributes:
        assert list(more) == ["brand", "categories", "price", "description"]
        assert all(value for values in more.values() for value in values)
    brands = [brand for style in STYLES for brand in style.brands]
    words = [word for style in STYLES for word in style.words]
    assert len(set(brands)) == len(brands)
    assert len(set(words)) == len(words)
    assert {len(department.kinds) for department in DEPARTMENTS} == {KINDS}


def test_numbers_do_not_reveal_the_taste():
    dataset = make_goods()
    styles = style_of(dataset)[1:]
    names = [more["categories"][0] for more in dataset.items.attributes]
    neighbors_alike = (
        np.mean(styles[1:] == styles[:-1]),
        np.mean([a == b for a, b in pairwise(names)]),
    )
    assert all(share < 0.35 for share in neighbors_alike)  # 0.2 by chance
    assert all(not any(character.isalpha() for character in raw.removeprefix("demo-")) for raw in dataset.items.raw_ids)


def test_text_foretells_the_next_item_and_co_occurrence_is_sparse():
    dataset = make_goods()
    styles = style_of(dataset)
    hits = []
    for anchor in dataset.anchors.ids(TRAIN):
        common = Counter(styles[dataset.history(int(anchor))].tolist()).most_common(1)[0][0]
        hits.append(common == styles[dataset.anchors.targets[anchor - 1]])
    assert 0.5 < np.mean(hits) < 0.9  # 0.2 by chance, not certain either
    rows = np.split(dataset.sequence, dataset.offsets[1:-1])
    pairs = {pair for row in rows for pair in pairwise(row.tolist())}
    assert len(pairs) < 0.05 * 200**2  # most pairs of items never follow each other


def test_tastes_drift():
    dataset = make_goods()
    names = np.array(["", *(more["categories"][0] for more in dataset.items.attributes)])
    departments = [
        len(set(names[dataset.sequence[dataset.offsets[u] : dataset.offsets[u + 1]]].tolist()))
        for u in range(dataset.users)
    ]
    assert 0.3 < np.mean(np.array(departments) > 1) < 0.9
