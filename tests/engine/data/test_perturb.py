"""Texts dropped and swapped on purpose."""

from __future__ import annotations

import pytest

from engine.data.dataset import Items
from engine.data.perturb import perturb_items
from engine.errors import ConfigError


def items_of(count):
    return Items(
        raw_ids=[f"i{number}" for number in range(count)],
        titles=[f"title {number}" for number in range(count)],
        attributes=[{"brand": [f"brand {number}"]} for number in range(count)],
    )


def dropped(items):
    return {number for number, text in enumerate(items.texts) if not text}


def test_nothing_asked_gives_the_same_object():
    items = items_of(9)
    assert perturb_items(items, drop=0.0, swap=False) is items


@pytest.mark.parametrize(("drop", "count"), [(0.1, 5), (0.5, 25), (1.0, 50), (0.001, 0)])
def test_drop_takes_a_share(drop, count):
    items = perturb_items(items_of(50), drop=drop, swap=False)
    assert len(dropped(items)) == count
    assert all(items.attributes[number] == {} for number in dropped(items))
    kept = set(range(50)) - dropped(items)
    assert all(items.titles[number] == f"title {number}" for number in kept)
    assert items.raw_ids == items_of(50).raw_ids


def test_a_larger_share_takes_the_smaller_ones_items():
    few, many = (dropped(perturb_items(items_of(50), drop=drop, swap=False)) for drop in (0.2, 0.6))
    assert few < many


@pytest.mark.parametrize("count", [2, 3, 50])
def test_swap_moves_every_text_once(count):
    items = perturb_items(items_of(count), drop=0.0, swap=True)
    assert sorted(items.titles) == sorted(items_of(count).titles)
    for number, (title, more) in enumerate(zip(items.titles, items.attributes, strict=True)):
        assert title != f"title {number}"
        assert more["brand"][0].split()[1] == title.split()[1]  # title and attributes move together


def test_swap_and_drop_together():
    both = perturb_items(items_of(50), drop=0.4, swap=True)
    assert dropped(both) == dropped(perturb_items(items_of(50), drop=0.4, swap=False))
    swapped = perturb_items(items_of(50), drop=0.0, swap=True)
    assert all(both.titles[n] == swapped.titles[n] for n in set(range(50)) - dropped(both))


def test_the_seed_decides():
    one, same, other = (perturb_items(items_of(50), drop=0.5, swap=True, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_the_given_items_do_not_change():
    items = items_of(20)
    perturb_items(items, drop=1.0, swap=True)
    assert items == items_of(20)


def test_few_items():
    assert perturb_items(items_of(1), drop=0.0, swap=True) == items_of(1)
    assert len(perturb_items(items_of(0), drop=0.5, swap=True)) == 0


@pytest.mark.parametrize("drop", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_range(drop):
    with pytest.raises(ConfigError, match="between 0 and 1") as caught:
        perturb_items(items_of(3), drop=drop, swap=False)
    assert caught.value.where == "data.drop_titles"
