"""The set `goods`, the demo set of earlier versions: a small synthetic shop in which titles show what a customer prefers.

Every one of 40 kinds of goods comes in each of 5 styles: 200 items. A customer has a style and moves through the kinds
of a department in a loose order; now and then the style or the department changes. Style and kind speak through the
words of a text, never through an item's number; single items have few buyers, so texts are more informative than co-occurrence.
All names are invented.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset, Items
from engine.data.draws import Draws

GOODS_NAME = "goods"
USERS = 250
SHORTEST, LONGEST = 4, 13
"""Interactions of a user."""
FIRST_DAY, DAYS = 18_628, 500
"""Day since 1970 (2021-01-01) and number of days on which users begin."""
LONGEST_BREAK = 20
"""Days between two purchases."""
DAY = 86_400

KEEPS_STYLE = 0.8
"""Probability that a purchase has the user's style; else it has any."""
CHANGES_STYLE, CHANGES_DEPARTMENT = 0.06, 0.1
"""Probability of a drift before a purchase."""
NEXT_KIND, KIND_AFTER = 0.25, 0.4
"""Cumulative probability of the kind that comes next in the department, and of the one after that; else any."""
SAME_DAY = 0.2
"""Probability that a purchase shares the day of the one before."""


@dataclass(frozen=True)
class Style:
    """A style of goods, recognizable by its brands and words."""

    share: int
    """Percent of the users who begin with it."""
    brands: tuple[str, ...]
    words: tuple[str, ...]
    lines: tuple[str, ...]
    """Descriptions."""
    markup: int
    """Percent on the price."""


@dataclass(frozen=True)
class Department:
    """Kinds of goods in the order in which people tend to buy them: (shelf, kind, measure, price)."""

    name: str
    kinds: tuple[tuple[str, str, str, int], ...]


STYLES = (
    Style(
        28,
        ("Granite Mule", "Holt & Barrow", "Ironmoor", "Tarn Ridge"),
        ("heavy-duty", "weatherproof", "reinforced", "all-terrain", "shockproof"),
        ("Made for rough weather and hard use.", "Takes knocks, mud and frost.", "Double-stitched and bolted to last."),
        20,
    ),
    Style(
        24,
        ("Blank Acre", "Fjell & Form", "Quietline", "Onefold"),
        ("slim", "matte", "pared-back", "plain", "unadorned"),
        ("Nothing but what it needs.", "Clean lines and one quiet color.", "Folds flat and stays out of sight."),
        10,
    ),
    Style(
        20,
        ("Alder & Finch", "Marlowe Hearth", "Old Quay Company", "Penhallow Sons"),
        ("heirloom", "brass-trimmed", "retro", "hand-finished", "antique-style"),
        (
            "After a pattern from the attic.",
            "Looks better with every year.",
            "As grandparents knew it, with brass and patina.",
        ),
        40,
    ),
    Style(
        16,
        ("Fern & Fallow", "Mosswell", "Reedhouse", "Wild Tansy"),
        ("bamboo", "undyed", "cork", "recycled", "plant-based"),
        ("Grown, not drilled for.", "No dyes, no plastics, compost at the end.", "From renewable and recycled fibers."),
        15,
    ),
    Style(
        12,
        ("Bumblekite", "Jolly Otter", "Pip & Pogo", "Zigzag Parlor"),
        ("candy-striped", "polka-dot", "confetti", "neon", "rainbow"),
        (
            "Loud, bright and a little silly.",
            "Fun for the young and the not so young.",
            "Brings a party to a dull day.",
        ),
        0,
    ),
)

SHARES = [style.share for style in STYLES]

DEPARTMENTS = (
    Department(
        "Camping",
        (
            ("Shelter", "dome tent", "2 persons", 140),
            ("Shelter", "sleeping mat", "180 cm", 45),
            ("Shelter", "sleeping bag", "down to 5 C", 90),
            ("Camp kitchen", "camp stove", "2.8 kW", 40),
            ("Camp kitchen", "cooking pot", "1.5 l", 25),
            ("Camp kitchen", "water bottle", "0.75 l", 18),
            ("On the way", "day pack", "22 l", 60),
            ("On the way", "head lamp", "300 lm", 30),
        ),
    ),
    Department(
        "Kitchen",
        (
            ("Cookware", "skillet", "26 cm", 48),
            ("Cookware", "saucepan", "2 l", 42),
            ("Cookware", "tea kettle", "1.2 l", 35),
            ("Preparing", "chef's knife", "20 cm", 55),
            ("Preparing", "cutting board", "40 x 28 cm", 28),
            ("Baking", "mixing bowl", "3 l", 20),
            ("Baking", "bread tin", "30 cm", 16),
            ("Baking", "apron", "one size", 22),
        ),
    ),
    Department(
        "Music",
        (
            ("Instruments", "practice guitar", "6 strings", 130),
            ("Instruments", "guitar strap", "5 cm", 19),
            ("Instruments", "instrument case", "110 cm", 75),
            ("Practice", "tuner", "clip-on", 17),
            ("Practice", "metronome", "40 to 208 bpm", 26),
            ("Practice", "music stand", "folding", 33),
            ("Playing together", "songbook", "64 pages", 14),
            ("Playing together", "hand drum", "25 cm", 58),
        ),
    ),
    Department(
        "Garden",
        (
            ("Growing", "seed tray", "24 cells", 12),
            ("Growing", "plant pot", "18 cm", 15),
            ("Growing", "watering can", "5 l", 24),
            ("Tools", "hand trowel", "30 cm", 13),
            ("Tools", "pruning shears", "20 cm", 32),
            ("Tools", "garden gloves", "size M", 11),
            ("Outdoors", "kneeling pad", "45 cm", 16),
            ("Outdoors", "bird feeder", "1 l", 27),
        ),
    ),
    Department(
        "Desk",
        (
            ("Writing", "fountain pen", "fine nib", 38),
            ("Writing", "notebook", "A5, 160 pages", 14),
            ("Writing", "pencil case", "21 cm", 17),
            ("Furnishing", "desk lamp", "6 W", 49),
            ("Furnishing", "desk mat", "80 x 35 cm", 29),
            ("Keeping order", "letter tray", "3 levels", 25),
            ("Keeping order", "bookends", "a pair", 23),
            ("Keeping order", "wall calendar", "30 x 40 cm", 18),
        ),
    ),
)
KINDS = len(DEPARTMENTS[0].kinds)


def make_goods(seed: int = 7) -> Dataset:
    """The set `goods`: 250 users, 200 items, 1,375 training prefixes; the same for a seed everywhere."""
    draws = Draws(seed)
    numbers = draws.shuffled(len(STYLES) * len(DEPARTMENTS) * KINDS).reshape(len(STYLES), len(DEPARTMENTS), KINDS) + 1
    items = _items(draws, numbers)
    lengths = SHORTEST + draws.shuffled(USERS) % (LONGEST - SHORTEST + 1)  # every length equally often
    bought: list[int] = []
    times: list[int] = []
    for length in lengths.tolist():
        bought += _purchases(draws, numbers, length)
        times += _days(draws, length)
    return Dataset(
        name=GOODS_NAME,
        user_raw_ids=[f"customer-{number:03d}" for number in range(1, USERS + 1)],
        items=items,
        sequence=np.array(bought, np.int32),
        offsets=np.cumsum([0, *lengths]).astype(np.int64),
        timestamps=np.array(times, np.int64) * DAY,
        options={"format": "demo", "synthetic": True, "seed": seed},
    )


def _items(draws: Draws, numbers: NDArray[np.int64]) -> Items:
    """Texts by item number; `numbers` (styles, departments, kinds) says which item has which."""
    titles, attributes = [""] * numbers.size, [dict[str, list[str]]() for _ in range(numbers.size)]
    for (style_at, department_at, kind_at), number in np.ndenumerate(numbers):
        style, department = STYLES[style_at], DEPARTMENTS[department_at]
        shelf, kind, measure, price = department.kinds[kind_at]
        brand, word, line = (words[draws.below(len(words))] for words in (style.brands, style.words, style.lines))
        titles[number - 1] = f"{brand} {word} {kind}, {measure}"
        attributes[number - 1] = {
            "brand": [brand],
            "categories": [department.name, shelf],
            "price": [f"{price * (100 + style.markup) // 100}.{draws.below(10)}0"],
            "description": [line],
        }
    return Items([f"demo-{number:03d}" for number in range(1, numbers.size + 1)], titles, attributes)


def _purchases(draws: Draws, numbers: NDArray[np.int64], length: int) -> list[int]:
    """One user's items, oldest first."""
    style, department, kind = draws.by_share(SHARES), draws.below(len(DEPARTMENTS)), draws.below(KINDS)
    bought: list[int] = []
    for _ in range(length):
        if draws.chance() < CHANGES_STYLE:
            style = draws.by_share(SHARES)
        if draws.chance() < CHANGES_DEPARTMENT:
            department = (department + 1) % len(DEPARTMENTS)
        shown = style if draws.chance() < KEEPS_STYLE else draws.by_share(SHARES)
        bought.append(int(numbers[shown, department, kind]))
        point = draws.chance()
        step = 1 if point < NEXT_KIND else 2 if point < KIND_AFTER else 1 + draws.below(KINDS - 1)
        kind = (kind + step) % KINDS
    return bought


def _days(draws: Draws, length: int) -> list[int]:
    """Days since 1970 of one user's purchases."""
    day = FIRST_DAY + draws.below(DAYS)
    days = [day]
    for _ in range(length - 1):
        day += 0 if draws.chance() < SAME_DAY else 1 + draws.below(LONGEST_BREAK)
        days.append(day)
    return days
