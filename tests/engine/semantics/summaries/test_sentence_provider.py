"""Summaries in sentences: what they say in which order, and rules that hold for every one of them on three data sets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from engine.config import SemanticsConfig
from engine.data.dataset import TRAIN, Dataset, Items
from engine.data.demo import make_demo
from engine.data.histories import window_items
from engine.data.importing import import_dataset
from engine.errors import ConfigError
from engine.semantics.summaries.lexicon import fold
from engine.semantics.summaries.phrases import Phrases
from engine.semantics.summaries.registry import build_provider
from engine.semantics.summaries.rule_provider import OfflineProvider
from engine.semantics.summaries.sentence_provider import MAX_WORDS, SentenceProvider
from tests.support.commands import ROOT

REAL = ROOT.parent / "shared" / "data"
TITLES = [
    "Avery Self-Adhesive Laminating Sheets, 9 x 12 Inches, Box of 50",
    "Pilot Retractable Ballpoint Pens, Fine Point, Black",
    "Avery Laminating Machine with Warm Rollers",
    "Pilot Erasable Ballpoint Pens, Assorted Colors",
    "Motorola DECT 6.0 Cordless Phone (2 Handsets)",
    "Scotch(R) Magic Tape 3/4 x 300 Inches",
    "Brownline Desk Calendar 2014",
    "",
]
BRANDS = ["Avery", "Pilot", "Avery", "Pilot", "Motorola", "3M", "Brownline", ""]
CATEGORIES = ["Laminating", "Pens & Refills", "Laminating", "Pens & Refills", "Phones", "Tape", "Calendars", ""]


def shop(histories: list[list[int]]) -> Dataset:
    return Dataset(
        name="toy",
        user_raw_ids=[f"u{n}" for n in range(len(histories))],
        items=Items(
            raw_ids=[f"i{n}" for n in range(len(TITLES))],
            titles=TITLES,
            attributes=[
                {"brand": [brand], "category": [category]} if brand else {}
                for brand, category in zip(BRANDS, CATEGORIES, strict=True)
            ],
        ),
        sequence=np.array([item for items in histories for item in items], np.int32),
        offsets=np.cumsum([0, *map(len, histories)]),
        timestamps=None,
    )


def longest(histories: list[list[int]]) -> str:
    """The summary of the first user's longest training prefix."""
    dataset = shop(histories)
    return SentenceProvider(dataset, max_length=20).texts("user", dataset.anchors.representing[:1])[0]


OTHERS = [[5, 6, 7, 5, 6, 7, 7], [6, 7, 5, 6, 7, 5], [7, 5, 6, 7, 6, 7, 5]]
"""So that what the first user buys is not what half of the items are."""


def test_what_recurs_comes_first_and_the_latest_items_follow() -> None:
    assert longest([[1, 2, 4, 5, 6, 6, 6], *OTHERS]) == (
        'This person keeps choosing what is called "Ballpoint Pens", often from Pilot. The latest choices are Motorola DECT 6.0 '
        "Cordless Phone, Pilot Erasable Ballpoint Pens and Pilot Retractable Ballpoint Pens."
    )


def test_labels_alone_recur() -> None:
    assert longest([[1, 3, 5, 6, 6], *OTHERS]).startswith(
        "This person keeps coming back to Laminating and Avery. The latest"
    )


def test_nothing_recurs() -> None:
    assert longest([[7, 6, 1, 5, 5, 5], *OTHERS]) == (
        "This person last chose Avery Self-Adhesive Laminating Sheets. Before that came Scotch Magic Tape and Brownline Desk Calendar."
    )
    assert longest([[6, 5, 5, 5], *OTHERS]) == "The only choice so far is Scotch Magic Tape. It comes from 3M."
    assert longest([[8, 5, 5, 5], *OTHERS]) == "", "of an item without text nothing can be said"


def test_an_item_and_its_buyers() -> None:
    dataset = shop([[1, 2, 4, 5, 6, 6], [2, 4, 5, 6, 7], *OTHERS])
    text = SentenceProvider(dataset, max_length=20).texts("item", np.array([4]))[0]
    assert text.startswith("This item is Pilot Erasable Ballpoint Pens.")
    nameless = SentenceProvider(shop([[1, 8, 5, 5], [3, 8, 5, 5], *OTHERS]), max_length=20).texts(
        "item", np.array([8])
    )[0]
    assert nameless == "Those who choose this item keep coming back to Laminating and Avery."


@pytest.mark.parametrize(
    ("title", "call"),
    [
        ("Epson WorkForce 30 Color Inkjet Printer (C11CA19201)", "Epson WorkForce 30 Color Inkjet Printer"),
        ("L'Oreal Total Repair 5 Damage Erasing Balm 8.5 FL OZ", "L'Oreal Total Repair 5 Damage Erasing Balm"),
        (
            "Panasonic KX-TG4741B DECT 6.0 Cordless Phone with Answering System",
            "Panasonic KX-TG4741B DECT 6.0 Cordless Phone",
        ),
        ("Botox Alternative:hyaluronic Acid,15% Matrixyl 3000", "Botox Alternative"),
        ("Pilot B2P - Bottle to Pen - Retractable", "Pilot B2P"),
        ("Casio Inc. DR-210TM Printing Calculator", "Casio Inc DR-210TM Printing Calculator"),
        ("Green watering can, 5 l", "Green watering can"),
        ("Red Cherry #43 False Eyelashes (Pack of 6 Pairs)", "Red Cherry"),
        ("Set of 3 Pens", "Set of 3 Pens"),
        ("  ", ""),
    ],
)
def test_what_an_item_is_called(title: str, call: str) -> None:
    items = Items(["a"], [title], [{}])
    dataset = Dataset("toy", ["u"], items, np.array([1, 1, 1, 1], np.int32), np.array([0, 4]), None)
    assert Phrases(dataset).items[1].call == call


def test_the_first_version_is_another_provider_under_its_own_name() -> None:
    dataset = shop([[1, 2, 4, 5, 6, 6, 6], *OTHERS])
    now = build_provider(SemanticsConfig(), dataset, max_length=20)
    then = build_provider(SemanticsConfig(prompt="offline-1"), dataset, max_length=20)
    ids = dataset.anchors.ids(TRAIN)
    assert (now.prompt_version, then.prompt_version) == ("offline-2", "offline-1")
    assert then.request_keys("user", ids) == OfflineProvider(dataset, max_length=20).request_keys("user", ids)
    assert not set(now.request_keys("user", ids)) & set(then.request_keys("user", ids))
    with pytest.raises(ConfigError) as caught:
        build_provider(SemanticsConfig(prompt="offline-9"), dataset, max_length=20)
    assert caught.value.hint == "Use auto, offline-2, offline-1."


LIST = r"\S.*?"
USER = re.compile(
    rf'(?:This person keeps (?:choosing what is called "[^"]+"(?: and "[^"]+")?(?:, often from {LIST})?|coming back to {LIST})\.'
    rf"(?: The latest choice(?:s are|\ is) {LIST}\.)?"
    rf"|This person last chose {LIST}\.(?: Before that came {LIST}\.)?"
    rf"|The only choice so far is {LIST}\.(?: It comes from {LIST}\.)?|This person likes {LIST}\.)"
)
ITEM = re.compile(
    rf"(?:This item (?:is|belongs to|comes from) {LIST}\.)?"
    rf'(?: ?(?:Its buyers|Those who choose this item) keep (?:choosing what is called "[^"]+"(?: and "[^"]+")?(?:, often from {LIST})?'
    rf"|coming back to {LIST})\.| ?People chose before (?:it|this item) {LIST}\.)?"
)
LOOSE = {"a", "an", "and", "the", "of", "for", "in", "to", "by", "from", "or", "&"}
"""Words with which no phrase begins or ends."""


def plain(text: str) -> str:
    """Letters and digits alone, without the s of plurals, with a blank around each word."""
    words = re.findall(r"[^\W_]+", re.sub(r"\((R|TM|C)\)|[®™©]", "", text, flags=re.IGNORECASE).lower())
    return f" {' '.join(map(fold, words))} "


def real(name: str) -> Dataset:
    folder: Path = REAL / f"amazon-{name}-2014"
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not beside the project")
    return import_dataset(folder, name=name)[0]


@pytest.mark.parametrize(
    "name", ["demo", pytest.param("office", marks=pytest.mark.data), pytest.param("beauty", marks=pytest.mark.data)]
)
def test_every_summary_is_in_sentences_of_whole_phrases(name: str) -> None:
    dataset = make_demo() if name == "demo" else real(name)
    titles = [plain(title) for title in dataset.items.titles]
    provider = SentenceProvider(dataset, max_length=20)
    anchors = np.random.default_rng(0).permutation(dataset.anchors.ids(TRAIN))[:1500]
    windows = window_items(dataset, anchors, 20)
    texts = provider.texts("user", anchors)
    for row, text in enumerate(texts):
        assert USER.fullmatch(text) or not text, text
        assert len(text.split()) <= MAX_WORDS, text
        own = [titles[item - 1] for item in windows.newest_first(row)]
        for phrase in re.findall(r'"([^"]+)"', text):
            assert sum(plain(phrase) in title for title in own) >= 2, (phrase, text)
            assert not {phrase.split()[0].lower(), phrase.split()[-1].lower()} & LOOSE, text
    assert np.mean([not text for text in texts]) < 0.01
    items = np.flatnonzero(dataset.train_counts)[:1500]
    for item, text in zip(items.tolist(), provider.texts("item", items), strict=True):
        assert ITEM.fullmatch(text), text
        assert len(text.split()) <= MAX_WORDS, text
        call = provider._phrases.items[item].call
        assert not call or plain(call) in titles[item - 1], (call, dataset.items.titles[item - 1])
        assert not call or call.split()[-1].lower() not in LOOSE, call
