"""The demo set: a synthetic shop that is made for the method, as a positive control.

Every one of 20 kinds of goods comes in each of 12 styles, and each of these pairs in 8 items. A customer has a style, which
the words of a text show and an item's number does not, and goes through the kinds in a fixed order. There are too many items
for few customers, so what is bought together says little and texts say much: a method that reads texts should gain here,
and should lose the gain where texts are swapped between items. That shows that a gain can be seen, not that there is one
in real data. All names are invented.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.data.dataset import Dataset, Items
from engine.data.draws import Draws
from engine.data.synthetic import DEMO

USERS = 600
SHORTEST, LONGEST = 5, 10
"""Interactions of a user."""
VARIANTS = 8
"""Items of a kind in a style; not all of them are bought."""
POPULARITY = tuple(840 // (place + 3) for place in range(VARIANTS))
"""Shares of these items: the first one is bought more than three times as often as the last."""

CHANGES_STYLE = 0.1
"""Probability that a user takes up another style before a purchase."""
KEEPS_STYLE = 0.9
"""Probability that a purchase has the user's style; else it has any."""
NEXT_KIND = 0.65
"""Probability that a purchase is of the kind that follows the one before; else it is of any."""

FIRST_DAY, DAYS = 20_089, 500
"""Day since 1970 (2025-01-01) and number of days on which users begin."""
LONGEST_BREAK = 20
"""Days between two purchases."""
SAME_DAY = 0.1
"""Probability that a purchase shares the day of the one before."""
DAY = 86_400


@dataclass(frozen=True)
class Style:
    """A style of goods, recognizable by its words."""

    words: str
    """In every title."""
    finishes: tuple[str, str, str, str]
    """Patterns, colors and trims."""
    brands: tuple[str, str, str, str]


STYLES = (
    Style(
        "Rugged weatherproof",
        ("mountain print", "moss green", "pine green", "with steel buckle"),
        ("Granite Mule", "Ironmoor", "Stormholt", "Tarn Ridge"),
    ),
    Style(
        "Minimalist Scandinavian",
        ("plain white", "pale gray", "white ash", "one thin line"),
        ("Blank Acre", "Fjell & Form", "Onefold", "Quietline"),
    ),
    Style(
        "Victorian antique-style",
        ("with brass trim", "faded sepia", "oval medallion", "dark walnut"),
        ("Alder & Finch", "Marlowe Hearth", "Old Quay Company", "Penhallow Sons"),
    ),
    Style(
        "Recycled plant-based",
        ("undyed", "leaf green", "with bamboo trim", "pressed flowers"),
        ("Fern & Fallow", "Mosswell", "Reedhouse", "Wild Tansy"),
    ),
    Style(
        "Children's cartoon",
        ("rainbow colors", "with googly eyes", "smiling bears", "candy stripes"),
        ("Bumblekite", "Jolly Otter", "Pip & Pogo", "Zigzag Parlor"),
    ),
    Style(
        "Nautical sailor's",
        ("anchor print", "with rope trim", "navy stripes", "lighthouse print"),
        ("Driftmark", "Harbor Gull", "Keelhaven", "Salt Lantern"),
    ),
    Style(
        "Gothic vampire",
        ("midnight black", "with bat wings", "skull print", "blood red"),
        ("Blackspire", "Nocturne Vale", "Raven & Thorn", "Velvet Crypt"),
    ),
    Style(
        "Galactic astronaut",
        ("star-map print", "glow-in-the-dark", "moon craters", "rocket print"),
        ("Nebula Works", "Orbit Nine", "Perihelion", "Starling Station"),
    ),
    Style(
        "Japanese zen",
        ("crane pattern", "indigo waves", "cherry blossoms", "bamboo grove"),
        ("Hinoki House", "Kumo Lane", "Maple Torii", "Tsuru Studio"),
    ),
    Style(
        "Mexican fiesta",
        ("cactus print", "serape stripes", "paper flags", "marigold yellow"),
        ("Agave Court", "Casa Marigold", "Luz del Valle", "Papel Sol"),
    ),
    Style(
        "Luxury gilded",
        ("with gold leaf", "pearl white", "crystal studs", "royal crest"),
        ("Goldcrest & Vane", "Lady Sabine", "Maison Aurelle", "Opal Court"),
    ),
    Style(
        "Country farmhouse",
        ("rose print", "checked red", "rooster print", "lace edge"),
        ("Butterchurn", "Clover Barn", "Daisy Mill", "Hen & Hollow"),
    ),
)

KINDS = (
    ("Bedroom", "pillowcase", ("50 x 75 cm", "65 x 65 cm")),
    ("Bedroom", "throw blanket", ("130 x 170 cm", "150 x 200 cm")),
    ("Bedroom", "alarm clock", ("9 cm", "12 cm")),
    ("Bedroom", "table lamp", ("30 cm", "45 cm")),
    ("Living room", "floor rug", ("80 x 150 cm", "120 x 180 cm")),
    ("Living room", "seat cushion", ("40 x 40 cm", "50 x 50 cm")),
    ("Living room", "picture frame", ("13 x 18 cm", "20 x 30 cm")),
    ("Living room", "candle holder", ("for 1 candle", "for 3 candles")),
    ("Kitchen", "apron", ("short", "long")),
    ("Kitchen", "tea kettle", ("1.2 l", "1.8 l")),
    ("Kitchen", "mug", ("250 ml", "350 ml")),
    ("Kitchen", "serving tray", ("round", "oblong")),
    ("Desk", "notebook", ("A5, 160 pages", "A6, 120 pages")),
    ("Desk", "pencil case", ("18 cm", "21 cm")),
    ("Desk", "bookends", ("a pair", "two pairs")),
    ("Desk", "letter opener", ("18 cm", "22 cm")),
    ("On the way", "backpack", ("16 l", "22 l")),
    ("On the way", "water bottle", ("0.5 l", "0.75 l")),
    ("On the way", "umbrella", ("folding", "full length")),
    ("On the way", "travel wallet", ("slim", "wide")),
)
"""Shelf, kind and measures, in the order in which people go through the kinds; the first one follows the last."""


def make_demo(seed: int = 11) -> Dataset:
    """The demo set: 600 users with 5 to 10 purchases, and the items that have a buyer; the same for a seed everywhere.

    Items are numbered at random, so that neither style nor kind is seen in a number.
    """
    draws = Draws(seed)
    lengths = SHORTEST + draws.shuffled(USERS) % (LONGEST - SHORTEST + 1)  # every length equally often
    bought: list[tuple[int, int, int]] = []
    times: list[int] = []
    for length in lengths.tolist():
        bought += _purchases(draws, length)
        times += _days(draws, length)
    sold = sorted(set(bought))
    order = [sold[place] for place in draws.shuffled(len(sold)).tolist()]
    number = {item: place + 1 for place, item in enumerate(order)}
    return Dataset(
        name=DEMO,
        user_raw_ids=[f"customer-{user:03d}" for user in range(1, USERS + 1)],
        items=_items(order),
        sequence=np.array([number[item] for item in bought], np.int32),
        offsets=np.cumsum([0, *lengths]).astype(np.int64),
        timestamps=np.array(times, np.int64) * DAY,
        options={"format": "demo", "synthetic": True, "made_for": "SRA-CL, as a positive control", "seed": seed},
    )


def _purchases(draws: Draws, length: int) -> list[tuple[int, int, int]]:
    """One user's purchases, oldest first: (style, kind, variant)."""
    style, kind = draws.below(len(STYLES)), draws.below(len(KINDS))
    bought: list[tuple[int, int, int]] = []
    for _ in range(length):
        if draws.chance() < CHANGES_STYLE:
            style = draws.below(len(STYLES))
        shown = style if draws.chance() < KEEPS_STYLE else draws.below(len(STYLES))
        bought.append((shown, kind, draws.by_share(POPULARITY)))
        kind = (kind + 1) % len(KINDS) if draws.chance() < NEXT_KIND else draws.below(len(KINDS))
    return bought


def _days(draws: Draws, length: int) -> list[int]:
    """Days since 1970 of one user's purchases."""
    day = FIRST_DAY + draws.below(DAYS)
    days = [day]
    for _ in range(length - 1):
        day += 0 if draws.chance() < SAME_DAY else 1 + draws.below(LONGEST_BREAK)
        days.append(day)
    return days


def _items(order: list[tuple[int, int, int]]) -> Items:
    """Texts of the items in their order."""
    titles: list[str] = []
    attributes: list[dict[str, list[str]]] = []
    for style_at, kind_at, variant in order:
        style, (shelf, kind, measures) = STYLES[style_at], KINDS[kind_at]
        turn = variant + 3 * kind_at + 5 * style_at  # so that the one most bought has another finish in every kind
        titles.append(f"{style.words} {kind}, {style.finishes[turn % 4]}, {measures[turn // 4 % 2]}")
        attributes.append({"brand": [style.brands[(turn + kind_at) % 4]], "categories": [shelf, kind]})
    return Items([f"item-{place:04d}" for place in range(1, len(order) + 1)], titles, attributes)
