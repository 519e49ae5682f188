"""Changes of a history and of neighbors."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config_files import build_config
from engine.errors import ConfigError
from sracl_tui.services.what_if import Step, Weighed, WhatIf

STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
STEPS = tuple(Step(n, f"Item {n}") for n in (5, 3, 9, 3))
NEIGHBORS = tuple(Weighed(user, 2, "", weight) for user, weight in ((1, 0.5), (2, 0.3), (7, 0.2)))


@pytest.fixture
def bench() -> WhatIf:
    return WhatIf("r", 4, "test", 8, "Item 8", STEPS, NEIGHBORS)


def test_an_item_is_left_out_and_taken_in_again(bench):
    assert bench.toggle_step(1).history == (5, 9, 3)
    assert bench.toggle_step(1).toggle_step(1) == bench


def test_an_added_item_goes_with_the_same_key(bench):
    more = bench.add_step(2, 7, "Item 7")
    assert more.history == (5, 3, 7, 9, 3)
    assert more.toggle_step(2) == bench


def test_weights_count_relative_to_the_neighbors_that_are_kept(bench):
    assert bench.toggle_neighbor(0).weights == pytest.approx((0, 0.6, 0.4))
    assert bench.reweigh(1, 2).weights == pytest.approx((0.5 / 1.3, 0.6 / 1.3, 0.2 / 1.3))
    gone = bench.toggle_neighbor(0).toggle_neighbor(1).toggle_neighbor(2)
    assert gone.weights == (0, 0, 0)
    assert gone.question().neighbors == ()


def test_a_question_names_the_target_and_what_else_is_wanted_once(bench):
    question = bench.toggle_step(0).toggle_neighbor(2).question((3, 8))
    assert question.history == (3, 9, 3)
    assert question.items == (8, 3)
    assert [one.user_id for one in question.neighbors] == [1, 2]


@STEADY
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), max_size=8))
def test_moves_keep_every_item(moves):
    bench = WhatIf("r", 4, "test", None, "", STEPS, ())
    for place, by in moves:
        before = bench.steps[place]
        bench = bench.move_step(place, by)
        assert bench.steps[max(0, min(3, place + by))] == before
    assert sorted(bench.history) == [3, 3, 5, 9]
    assert bench.question().items == ()


@STEADY
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.8, 1.25])), max_size=12))
def test_weights_of_kept_neighbors_sum_to_one(changes):
    bench = WhatIf("r", 4, "test", None, "", STEPS, NEIGHBORS)
    for place, factor in changes:
        bench = bench.reweigh(place, factor) if factor else bench.toggle_neighbor(place)
    kept = [one.kept for one in bench.neighbors]
    assert sum(bench.weights) == pytest.approx(float(any(kept)))
    assert [weight > 0 for weight in bench.weights] == kept


@STEADY
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.8, 1.25])), max_size=6),
    st.none() | st.text(max_size=9),
)
def test_what_was_made_of_a_user_is_restored_from_its_document(changes, summary):
    first = WhatIf("r", 4, "test", 8, "Item 8", STEPS, NEIGHBORS)
    bench = first.toggle_step(1).add_step(2, 7, "Item 7")
    for place, factor in changes:
        bench = bench.reweigh(place, factor) if factor else bench.toggle_neighbor(place)
    if summary is not None:
        bench = bench.with_summary(summary, (Weighed(9, 1, "other", 0.7, similarity=0.5), *bench.neighbors[:1]))
    document = json.loads(json.dumps(bench.document()))
    assert first.restored(document, {n: f"Item {n}" for n in (5, 3, 9, 7)}) == bench


@pytest.mark.parametrize(
    "document", [{}, {"steps": 3}, {"steps": [[99, True, False]], "neighbors": []}, {"steps": [], "neighbors": [[1]]}]
)
def test_no_document_is_a_value_error(bench, document):
    with pytest.raises(ValueError, match="document"):
        bench.restored(document, {})


TEXTUAL = {"user_list_id": "l", "user_set_id": "s"}


@pytest.mark.parametrize(
    ("run", "settings", "reason"),
    [
        ({"user_list_id": None, "user_set_id": "s"}, {}, "retrieves no neighbors"),
        (TEXTUAL, {"vector": "item-mean"}, "item-mean: a summary moves none"),
        (TEXTUAL, {"encoder": "openai:text-embedding-3-small"}, "paid call"),
        (TEXTUAL, {"encoder": "nobody/no-such-model"}, "not installed"),
    ],
)
def test_why_a_summary_moves_nothing_is_said(run, settings, reason):
    from sracl_tui.services.summary_neighbors import check_summary

    with pytest.raises(ConfigError, match=reason):
        check_summary(run, build_config(settings))
    check_summary(TEXTUAL, build_config({"encoder": "tfidf"}))
