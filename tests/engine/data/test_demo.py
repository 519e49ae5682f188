"""The demo set: the same everywhere, readable, and made so that texts foretell what items alone cannot."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from engine.data.dataset import TEST, TRAIN, Dataset
from engine.data.demo import KINDS, STYLES, USERS, VARIANTS, make_demo
from engine.data.perturb import perturb_items
from engine.data.synthetic import DEMO, GENERATED, generate
from tests.support.commands import ROOT

SHA256 = "da3e65dc6b6818191325d5e7bdfdb8a720137e0e542568bafb6a4621c39b93a4"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_demo()


def kinds_and_styles(titles: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(V + 1,) kind and style of each item, read from its title alone."""
    names = [kind for _, kind, _ in KINDS]
    styles = [next(at for at, style in enumerate(STYLES) if title.startswith(f"{style.words} ")) for title in titles]
    kinds = [
        next(at for at, name in enumerate(names) if title.startswith(f"{STYLES[style].words} {name},"))
        for title, style in zip(titles, styles, strict=True)
    ]
    return np.array([-1, *kinds]), np.array([-1, *styles])


def test_the_same_everywhere(dataset: Dataset) -> None:
    code = "from engine.data.demo import make_demo; print(make_demo().sha256)"
    elsewhere = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert dataset.sha256 == elsewhere.stdout.strip() == SHA256
    assert make_demo(8).sha256 != dataset.sha256


def test_sizes(dataset: Dataset) -> None:
    assert (dataset.name, dataset.users) == (DEMO, USERS)
    assert set(dataset.lengths.tolist()) == {5, 6, 7, 8, 9, 10}
    assert 1200 < len(dataset.items) < len(STYLES) * len(KINDS) * VARIANTS, "only items that somebody bought"
    assert len(dataset.anchors.ids(TRAIN)) == 2700
    assert dataset.options["synthetic"] is True
    assert np.bincount(dataset.sequence)[1:].min() >= 1


def test_times_are_sorted_days_with_few_ties(dataset: Dataset) -> None:
    assert dataset.timestamps is not None
    assert (dataset.timestamps % 86_400 == 0).all()
    within = np.ones(len(dataset.sequence) - 1, bool)
    within[dataset.offsets[1:-1] - 1] = False
    gaps = np.diff(dataset.timestamps)[within]
    assert gaps.min() == 0
    assert 0.05 < (gaps == 0).mean() < 0.15


def test_texts_are_whole(dataset: Dataset) -> None:
    items = dataset.items
    assert len(set(items.titles)) == len(set(items.raw_ids)) == len(items)
    assert all(title.isprintable() and len(title) < 80 for title in items.titles)
    for more in items.attributes:
        assert list(more) == ["brand", "categories"]
        assert all(value for values in more.values() for value in values)
    brands = [brand for style in STYLES for brand in style.brands]
    assert len(set(brands)) == len(brands)
    assert len({kind for _, kind, _ in KINDS}) == len(KINDS)


def test_numbers_do_not_reveal_kind_or_style(dataset: Dataset) -> None:
    kinds, styles = kinds_and_styles(dataset.items.titles)
    assert np.mean(kinds[2:] == kinds[1:-1]) < 0.1  # 0.05 by chance
    assert np.mean(styles[2:] == styles[1:-1]) < 0.13  # 0.083 by chance


def share_foretold(dataset: Dataset, titles: list[str]) -> float:
    """Share of test targets that are of the kind after the last item's and of the style most seen in the prefix."""
    kinds, styles = kinds_and_styles(titles)
    hits = []
    for anchor in dataset.anchors.ids(TEST):
        history, target = dataset.history(int(anchor)), dataset.anchors.targets[anchor - 1]
        style = Counter(styles[history].tolist()).most_common(1)[0][0]
        hits.append(styles[target] == style and kinds[target] == (kinds[history[-1]] + 1) % len(KINDS))
    return float(np.mean(hits))


def test_texts_foretell_the_next_item_and_swapped_texts_do_not(dataset: Dataset) -> None:
    assert share_foretold(dataset, dataset.items.titles) > 0.35  # 1/240 by chance
    swapped = perturb_items(dataset.items, drop=0.0, swap=True)
    assert share_foretold(dataset, swapped.titles) < 0.02


def test_items_alone_hardly_foretell_the_next_item(dataset: Dataset) -> None:
    train = [
        (int(dataset.history(int(a))[-1]), int(dataset.anchors.targets[a - 1])) for a in dataset.anchors.ids(TRAIN)
    ]
    test = [(int(dataset.history(int(a))[-1]), int(dataset.anchors.targets[a - 1])) for a in dataset.anchors.ids(TEST)]
    assert np.mean([pair in set(train) for pair in test]) < 0.15
    assert len({pair for row in np.split(dataset.sequence, dataset.offsets[1:-1]) for pair in pairwise(row)}) < 4000


def test_generated_sets_have_the_names_under_which_they_are_generated() -> None:
    assert (
        {name: generate(name).name for name in GENERATED}
        == {name: name for name in GENERATED}
        == {"demo": "demo", "goods": "goods"}
    )
