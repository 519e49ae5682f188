"""The offline providers: what a paragraph of the first version says, and what no summary may know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.config import SemanticsConfig
from engine.data.dataset import TRAIN, Dataset, Items
from engine.data.histories import item_histories, window_items
from engine.errors import ConfigError
from engine.semantics.kinds import Kind
from engine.semantics.summaries.lexicon import Lexicon, fold, words_of
from engine.semantics.summaries.provider import Provider
from engine.semantics.summaries.registry import build_provider
from engine.semantics.summaries.rule_provider import MAX_WORDS

TITLES = [
    "Self-Adhesive Laminating Sheets, 9 x 12 Inches, Box of 50",
    "Retractable Ballpoint Pens, Fine Point, Black",
    "Laminating Machine with Warm Rollers",
    "Erasable Ballpoint Pens, Assorted Colors",
    "Desk Calendar 2014",
    "Wall Calendar 2014 with Warm Photographs",
    "",
    "Cordless Telephone KX-TG4741B",
]
BRANDS = ["Avery", "Pilot", "Avery", "Pilot", "Brownline", "Brownline", "", "Panasonic"]


def make_dataset(
    histories: list[list[int]], titles: list[str] | None = None, brands: list[str] | None = None
) -> Dataset:
    titles, brands = titles or TITLES, brands or BRANDS
    return Dataset(
        name="toy",
        user_raw_ids=[f"u{n}" for n in range(len(histories))],
        items=Items(
            raw_ids=[f"i{n}" for n in range(len(titles))],
            titles=titles,
            attributes=[{"brand": [brand], "brand_id": ["17"]} if brand else {} for brand in brands],
        ),
        sequence=np.array([item for items in histories for item in items], np.int32),
        offsets=np.cumsum([0, *map(len, histories)]),
        timestamps=None,
    )


def texts_of(provider: Provider, kind: Kind, owners: list[int]) -> list[str]:
    ids = np.array(owners, np.int64)
    keys = provider.request_keys(kind, ids)
    answers = list(provider.answer(kind, ids, keys))
    assert [key for part in answers for key in part.keys] == keys
    return [text for part in answers for text in part.texts]


def build(name: str, dataset: Dataset, max_length: int = 20) -> Provider:
    """`offline-1` is the provider `offline` with the rules of its first version."""
    provider, _, version = name.partition("-")
    config = SemanticsConfig(provider=provider, prompt=name if version else "auto")
    return build_provider(config, dataset, max_length=max_length)


HISTORIES = [[1, 2, 3, 4, 5, 6], [2, 4, 1, 3, 8], [5, 6, 1, 2], [8, 7]]


def test_paragraph_names_newest_first_and_recurring_brands() -> None:
    dataset = make_dataset([[5, 1, 3, 2, 4, 6, 8]])
    longest = int(dataset.anchors.representing[0])  # 5, 1, 3, 2
    (text,) = texts_of(build("offline-1", dataset), "user", [longest])
    assert text.index("Pilot") < text.index("Avery")
    first, returns, *_ = text.split(". ")
    assert first.startswith("Lately Pilot")
    assert "before that Avery" in first
    assert returns.startswith("Keeps returning to Avery")
    assert "Laminating" in text
    assert "17" not in text, "a bare number is an id of the source, not a word"
    assert len(text.split()) <= MAX_WORDS
    joined = [TITLES[item - 1] for item in (2, 3, 1, 5)]
    assert not any(title in text for title in joined)


def test_an_item_text_names_its_brand_and_its_buyers_taste() -> None:
    texts = texts_of(build("offline-1", make_dataset(HISTORIES)), "item", list(range(1, 9)))
    assert texts[2].startswith("Avery Laminating")
    assert "Chosen by those who like" in texts[2]
    assert "Ballpoint" in texts[2].partition("Chosen")[2], "training histories that end in item 3 hold pens"
    assert "Pilot" in texts[3].partition("Chosen")[2], "two histories that end in item 4 hold Pilot's"
    assert texts[6].startswith("Chosen by"), "of an item without text only its buyers can be spoken of"
    assert all(len(text.split()) <= MAX_WORDS for text in texts)


def test_only_the_window_counts() -> None:
    one, other = make_dataset([[5, 1, 2, 3, 4, 4]]), make_dataset([[6, 1, 2, 3, 4, 4]])
    for name in ("offline", "offline-1", "titles"):
        anchor = [3]  # 1, 2 and one older item
        assert texts_of(build(name, one, 2), "user", anchor) == texts_of(build(name, other, 2), "user", anchor)
        assert texts_of(build(name, one, 3), "user", anchor) != texts_of(build(name, other, 3), "user", anchor)


def test_equal_prefixes_share_a_key_and_others_do_not() -> None:
    dataset = make_dataset([[1, 2, 3, 4, 5], [1, 2, 4, 4, 4]])
    ids = dataset.anchors.ids(TRAIN)
    for name in ("offline", "offline-1", "titles"):
        keys = build(name, dataset).request_keys("user", ids)
        assert keys[0] == keys[2]
        assert len(set(keys)) == 2, "1; 1, 2; and both again"
        assert keys != build(name, dataset).request_keys("item", ids)


def test_titles_joins_raw_texts_newest_first() -> None:
    dataset = make_dataset([[7, 5, 8, 1, 2, 3]])
    texts = dataset.items.texts
    got = texts_of(build("titles", dataset), "user", [3])
    assert got == [f"{texts[7]}; {texts[4]}"], "the empty item adds nothing"
    assert texts_of(build("titles", dataset), "item", [8, 7]) == [texts[7], ""]


def test_nothing_is_said_of_nothing() -> None:
    dataset = make_dataset(HISTORIES, titles=[""] * 8, brands=[""] * 8)
    for name in ("offline", "offline-1"):
        assert set(texts_of(build(name, dataset), "user", [1, 2, 3])) == {""}
        assert set(texts_of(build(name, dataset), "item", [1, 2, 3])) == {""}


@settings(max_examples=60, deadline=None)
@given(
    histories=st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=8), min_size=1, max_size=5),
    changed=st.lists(st.integers(1, 8), min_size=10, max_size=10),
)
def test_held_out_interactions_change_nothing(histories: list[list[int]], changed: list[int]) -> None:
    others = [list(items) for items in histories]
    for row, items in enumerate(others):
        if len(items) >= 3:
            items[-2:] = changed[2 * row : 2 * row + 2]
    one, other = make_dataset(histories), make_dataset(others)
    ids, items = one.anchors.ids(TRAIN), np.flatnonzero(one.train_counts)
    for name in ("offline", "offline-1", "titles"):
        ours, theirs = build(name, one), build(name, other)
        both: list[tuple[Kind, NDArray[np.int64]]] = [("user", ids), ("item", items)]
        for kind, owners in both:
            assert ours.request_keys(kind, owners) == theirs.request_keys(kind, owners)
            assert texts_of(ours, kind, owners.tolist()) == texts_of(theirs, kind, owners.tolist())


@settings(max_examples=60, deadline=None)
@given(
    titles=st.lists(st.text(max_size=80), min_size=8, max_size=8),
    brands=st.lists(st.text(max_size=200), min_size=8, max_size=8),
)
def test_a_paragraph_never_exceeds_its_words(titles: list[str], brands: list[str]) -> None:
    dataset = make_dataset(HISTORIES, titles=titles, brands=brands)
    for name in ("offline", "offline-1"):
        provider = build(name, dataset)
        texts = texts_of(provider, "user", list(range(1, len(dataset.anchors) + 1)))
        texts += texts_of(provider, "item", list(range(1, 9)))
        assert max(len(text.split()) for text in texts) <= MAX_WORDS


def test_frequencies_count_training_items_only() -> None:
    dataset = make_dataset([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 8, 8]])
    lexicon = Lexicon(dataset)
    assert lexicon.word_idf("laminating") == pytest.approx(np.log(5 / 3))
    assert lexicon.word_idf("telephone") == pytest.approx(np.log(5)), "item 8 is held out"
    assert lexicon.label_idf("Avery") == pytest.approx(np.log(5 / 3))


def test_words_are_folded_and_cleaned() -> None:
    assert words_of("The 3M KX-9 Pens, for Men's Desks & a Bus") == ["KX-9", "Pens", "Men's", "Desks", "Bus"]
    assert [fold(word) for word in ("Pens", "PEN", "Glass", "Bus")] == ["pen", "pen", "glass", "bus"]


def test_windows_and_histories() -> None:
    dataset = make_dataset([[1, 2, 1, 3, 4], [5, 1], [4, 1, 2, 6, 7]])  # anchors 1-4, 5, 6-9
    window = window_items(dataset, np.array([4, 1, 5]), 3)
    assert [window.newest_first(row) for row in range(3)] == [[3, 1, 2], [1], [5]]
    histories = item_histories(dataset, limit=2)
    assert histories.of(1).tolist() == [2, 5], "the lowest ids of three"
    assert histories.of(2).tolist() == [1, 7]
    assert histories.of(6).tolist() == [], "held out"
    assert item_histories(dataset, limit=1).of(2).tolist() == [1]


def test_unknown_provider_names_the_offline_ones() -> None:
    with pytest.raises(ConfigError, match="no provider 'nowhere'") as caught:
        build("nowhere", make_dataset(HISTORIES))
    assert caught.value.hint is not None
    assert "offline, titles" in caught.value.hint
    assert "deepseek" in caught.value.hint
    assert caught.value.where == "semantics.provider"


@pytest.mark.parametrize("setting", [{"llm": "gpt"}, {"prompt": "v9"}])
def test_a_setting_that_would_do_nothing_is_refused(setting: dict[str, str]) -> None:
    config = SemanticsConfig.model_validate({"provider": "offline", **setting})
    with pytest.raises(ConfigError):
        build_provider(config, make_dataset(HISTORIES), max_length=20)
