"""Summaries and vectors through their caches: made once, reported as they come, resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.config import SemanticsConfig
from engine.data.dataset import TRAIN, Dataset, Items
from engine.data.histories import source_anchors
from engine.errors import Interrupted, SemanticsError
from engine.events import Event, StageProgress, SummariesLinked, SummariesMade, SummarySetMade, VectorsMade, Warned
from engine.semantics.encoders import item_means, text_vectors
from engine.semantics.encoders.item_means import ItemMeans
from engine.semantics.encoders.text_vectors import make_vectors, text_sha256
from engine.semantics.kinds import Kind
from engine.semantics.summaries import make
from engine.semantics.summaries.make import make_summaries, set_id_of
from engine.semantics.summaries.provider import Answers
from engine.semantics.summaries.registry import build_provider


def make_dataset(users: int = 6) -> Dataset:
    rng = np.random.default_rng(0)
    words = [f"word{chr(97 + n)} thing{chr(97 + n % 5)} {n}" for n in range(12)]
    return Dataset(
        name="toy",
        user_raw_ids=[str(n) for n in range(users)],
        items=Items(raw_ids=[str(n) for n in range(12)], titles=words, attributes=[{}] * 12),
        sequence=rng.integers(1, 13, users * 7).astype(np.int32),
        offsets=np.arange(users + 1) * 7,
        timestamps=None,
    )


class CountingProvider:
    """Answers in chunks of `size` and counts; owners with the same last digit ask the same."""

    name = "counting"
    model = "m"
    prompt_version = "v1"
    template = "{text}"

    def __init__(self, size: int, *, silent: str = "") -> None:
        self.size, self.silent = size, silent
        self.parameters: dict[str, Any] = {"temperature": 0}
        self.asked: list[str] = []

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        return [f"{kind}{owner % 10}" for owner in owner_ids.tolist()]

    def answer(self, kind: Kind, owner_ids: NDArray[np.int64], keys: list[str]) -> Iterator[Answers]:
        assert self.request_keys(kind, owner_ids) == keys
        for start in range(0, len(keys), self.size):
            part = [key for key in keys[start : start + self.size] if key != self.silent]
            self.asked += part
            yield Answers.free(part, [f"text of {key}" for key in part])


class Store:
    """Keeps what events report, as a run's record would."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def texts(self, keys: list[str]) -> dict[str, str]:
        have = {k: t for e in self.of(SummariesMade) for k, t in zip(e.columns["key"], e.columns["text"], strict=True)}
        return {key: have[key] for key in keys if key in have}

    def vectors(self, shas: list[str]) -> tuple[list[str], NDArray[np.float32]]:
        have = {
            s: v for e in self.of(VectorsMade) for s, v in zip(e.columns["sha256"], e.columns["vector"], strict=True)
        }
        found = [sha for sha in shas if sha in have]
        return found, np.array([have[sha] for sha in found], np.float32)


def call(provider: Any, store: Store, owners: NDArray[np.int64], **more: Any) -> make.SummarySet:
    return make_summaries(
        provider, make_dataset(), "user", owners, unit="prefix", known=store.texts, report=store, **more
    )


def test_each_distinct_request_is_answered_once_and_never_again() -> None:
    provider, store, owners = CountingProvider(3), Store(), np.arange(1, 31)
    first = call(provider, store, owners)
    assert len(provider.asked) == 10
    assert first.texts == [f"text of user{owner % 10}" for owner in owners]
    assert [len(event.columns["key"]) for event in store.of(SummariesMade)] == [3, 3, 3, 1]
    assert [(p.done, p.total) for p in store.of(StageProgress)] == [(0, 10), (3, 10), (6, 10), (9, 10), (10, 10)]
    (made,), (linked,) = store.of(SummarySetMade), store.of(SummariesLinked)
    assert made.set_id == linked.set_id == first.set_id
    assert (made.provider, made.model, made.unit, made.kind) == ("counting", "m", "prefix", "user")
    assert linked.columns["owner_id"].tolist() == owners.tolist()
    assert linked.columns["key"] == first.keys

    second = call(provider, store, owners)
    assert len(provider.asked) == 10, "the second call finds all of them"
    assert second.texts == first.texts
    assert len(store.of(SummariesMade)) == 4


def test_an_interruption_loses_nothing_that_was_answered() -> None:
    provider, store, owners = CountingProvider(3), Store(), np.arange(1, 31)
    with pytest.raises(Interrupted):
        call(provider, store, owners, stop=lambda: len(store.of(SummariesMade)) >= 2)
    assert len(provider.asked) == 6
    assert not store.of(SummariesLinked)
    done = call(provider, store, owners)
    assert sorted(provider.asked) == sorted(set(provider.asked)), "nothing is asked twice"
    assert len(done.texts) == 30


def test_a_stop_before_the_first_request_asks_nothing() -> None:
    provider, store = CountingProvider(3), Store()
    with pytest.raises(Interrupted):
        call(provider, store, np.arange(1, 5), stop=lambda: True)
    assert provider.asked == []


def test_events_hold_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "ROWS_AT_ONCE", 4)
    store = Store()
    call(CountingProvider(100), store, np.arange(1, 31))
    assert [len(event.columns["usd"]) for event in store.of(SummariesMade)] == [4, 4, 2]


def test_a_missing_answer_is_an_error_and_the_rest_is_kept() -> None:
    store = Store()
    with pytest.raises(SemanticsError, match="1 of 10"):
        call(CountingProvider(3, silent="user4"), store, np.arange(1, 31))
    assert len(store.texts([f"user{n}" for n in range(10)])) == 9


def test_a_set_is_named_by_all_that_it_depends_on() -> None:
    dataset, provider, owners = make_dataset(), CountingProvider(3), np.arange(1, 5)
    base = set_id_of(provider, dataset, "user", unit="prefix", owner_ids=owners)
    other = CountingProvider(3)
    other.parameters = {"temperature": 1}
    assert base == set_id_of(CountingProvider(7), make_dataset(), "user", unit="prefix", owner_ids=owners)
    different = {
        set_id_of(provider, dataset, "item", unit="prefix", owner_ids=owners),
        set_id_of(provider, dataset, "user", unit="user", owner_ids=owners),
        set_id_of(provider, dataset, "user", unit="prefix", owner_ids=owners[:3]),
        set_id_of(provider, make_dataset(5), "user", unit="prefix", owner_ids=owners),
        set_id_of(other, dataset, "user", unit="prefix", owner_ids=owners),
    }
    assert len(different | {base}) == 6


def test_offline_summaries_of_all_training_prefixes() -> None:
    dataset, store = make_dataset(), Store()
    provider = build_provider(SemanticsConfig(), dataset, max_length=20)
    ids = dataset.anchors.ids(TRAIN)
    made = make_summaries(provider, dataset, "user", ids, unit="prefix", known=store.texts, report=store)
    assert len(made.texts) == len(ids)
    assert all(made.texts)
    assert all(set(event.columns["usd"]) == {0.0} for event in store.of(SummariesMade))


class CountingEncoder:
    """Two numbers per text, and a count of what was encoded."""

    name = "counting"
    dimension = 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        self.calls.append(texts)
        return np.array([[len(text), text.count("a")] for text in texts], np.float32).reshape(-1, 2)


def test_each_distinct_text_is_encoded_once_and_never_again() -> None:
    encoder, store = CountingEncoder(), Store()
    texts = ["banana", "a", "", "banana", "xyz", " "]
    first = make_vectors(encoder, texts, known=store.vectors, report=store)
    assert first.tolist() == [[6, 3], [1, 1], [0, 0], [6, 3], [3, 0], [0, 0]]
    assert first.dtype == np.float32
    assert encoder.calls == [["a", "xyz", "banana"]], "by length"
    (event,) = store.of(VectorsMade)
    assert (event.encoder, event.dimension) == ("counting", 2)
    assert event.columns["sha256"][0] == text_sha256("a")
    again = make_vectors(encoder, texts[::-1], known=store.vectors, report=store)
    assert again.tolist() == first[::-1].tolist()
    assert len(encoder.calls) == 1
    assert len(store.of(VectorsMade)) == 1


def test_encoding_resumes_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_vectors, "CHUNK", 4)
    encoder, store = CountingEncoder(), Store()
    texts = ["a" * n for n in range(1, 15)]
    with pytest.raises(Interrupted):
        make_vectors(encoder, texts, known=store.vectors, report=store, stop=lambda: len(encoder.calls) == 2)
    assert [len(event.columns["sha256"]) for event in store.of(VectorsMade)] == [4, 4]
    got = make_vectors(encoder, texts, known=store.vectors, report=store)
    assert [len(chunk) for chunk in encoder.calls] == [4, 4, 4, 2]
    assert got[:, 0].tolist() == list(range(1, 15))
    assert store.of(StageProgress)[-1] == StageProgress(stage="vectors", done=14, total=14)


def test_without_any_text_all_vectors_are_zero_and_it_is_said() -> None:
    store = Store()
    got = make_vectors(CountingEncoder(), ["", ""], known=store.vectors, report=store)
    assert got.tolist() == [[0, 0], [0, 0]]
    assert len(store.of(Warned)) == 1


def test_cached_vectors_of_another_model_are_refused() -> None:
    def known(shas: list[str]) -> tuple[list[str], NDArray[np.float32]]:
        return shas[:1], np.ones((1, 5), np.float32)

    with pytest.raises(SemanticsError, match="2 numbers per text, the cached vectors have 5"):
        make_vectors(CountingEncoder(), ["a", "b"], known=known, report=Store())


def test_item_mean_against_a_plain_loop() -> None:
    dataset, rng = make_dataset(), np.random.default_rng(1)
    items = rng.normal(size=(13, 5)).astype(np.float32)
    items[[0, 4, 9]] = 0  # padding, and two items without a text
    ids = np.arange(1, len(dataset.anchors) + 1)
    got = ItemMeans(items, dataset, ids, 3).whole()
    for row, anchor in enumerate(ids.tolist()):
        window = [item for item in dataset.history(anchor, 3).tolist() if items[item].any()]
        want = items[window].astype(np.float64).mean(axis=0) if window else np.zeros(5)
        np.testing.assert_allclose(got[row], want, rtol=1e-6, atol=1e-7)
    assert got.dtype == np.float32


def test_item_mean_of_the_same_items_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_means, "MEANS_AT_ONCE", 7)
    rng = np.random.default_rng(2)
    bag = rng.integers(1, 40, 12)
    sequence = np.concatenate([rng.permutation(bag) for _ in range(30)]).astype(np.int32)
    items = Items(raw_ids=[str(n) for n in range(40)], titles=["t"] * 40, attributes=[{}] * 40)
    dataset = Dataset("toy", [str(n) for n in range(10)], items, sequence, np.arange(0, 361, 36), None)
    vectors_ = rng.normal(size=(41, 33)).astype(np.float32)
    vectors_[0] = 0
    ids = np.flatnonzero(dataset.anchors.positions % 12 == 0) + 1
    got = ItemMeans(vectors_, dataset, ids, 12).whole()
    assert len(got) == 20
    assert (got == got[0]).all()


def test_every_mth_prefix_is_asked_and_those_up_to_the_next_share_its_text() -> None:
    dataset = make_dataset()
    anchors, ids = dataset.anchors, dataset.anchors.ids(TRAIN)
    asked = source_anchors(dataset, ids, "every-3")
    for anchor, other in zip(ids.tolist(), asked.tolist(), strict=True):
        mine, theirs = anchor - 1, other - 1
        assert anchors.user_ids[mine] == anchors.user_ids[theirs]
        assert (anchors.positions[theirs] - 1) % 3 == 0
        assert 0 <= anchors.positions[mine] - anchors.positions[theirs] < 3, "the nearest one, and never a later one"
    assert source_anchors(dataset, ids, "prefix").tolist() == ids.tolist()
    store, provider = Store(), CountingProvider(100)
    made = make_summaries(
        provider, dataset, "user", ids, unit="every-3", known=store.texts, report=store, source_owners=asked
    )
    assert made.owner_ids.tolist() == ids.tolist()
    assert made.keys == provider.request_keys("user", asked)
    assert set(provider.asked) == set(made.keys)
    (links,) = store.of(SummariesLinked)
    assert len(links.columns["owner_id"]) == len(ids)
