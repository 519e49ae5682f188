"""Every metric against a slow, obvious computation; the names of metrics; one that is registered, or installed, is measured."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import metric_registry
from engine.config import EvaluateConfig
from engine.config_files import build_config
from engine.data.batching.windows import Windows
from engine.data.dataset import TEST
from engine.errors import ConfigError
from engine.evaluation import ranking
from engine.evaluation.metrics import list_metrics, ranking_metrics
from engine.evaluation.ranking import rank_and_list, rank_targets
from engine.evaluation.significance import compare, metric_names
from engine.events import Evaluated
from engine.metric_registry import (
    DEFAULT,
    LISTED,
    METRICS,
    MetricDefinition,
    RecommendedLists,
    average_precision,
    by_cutoff,
    definition_of,
    full_names,
    ordered,
    parse_field,
    title,
    training_names,
    value_text,
)
from engine.models.registry import build_backbone

ITEMS = 7
recommended = st.lists(
    st.lists(st.integers(1, ITEMS), unique=True, max_size=4).map(lambda found: found + [0] * (4 - len(found))),
    min_size=1,
    max_size=12,
)


def slow_average_precision(ranks, k):
    ranks = sorted(ranks)
    total = sum((Fraction(ranks.index(r) + 1, r) for r in ranks if r <= k), Fraction())
    return total / min(k, len(ranks))


def slow_list_metrics(lists, counts, k):
    """Coverage, Gini as the mean absolute difference over twice the mean, and mean popularity, user by user."""
    shown = [[item for item in found[:k] if item] for found in lists]
    exposure = [sum(item in found for found in shown) for item in range(1, len(counts))]
    values = {"coverage": Fraction(len({item for found in shown for item in found}), len(exposure))}
    if sum(exposure):
        apart = sum(abs(a - b) for a in exposure for b in exposure)
        values["gini"] = Fraction(apart, 2 * len(exposure) * sum(exposure))
        means = [Fraction(sum(counts[item] for item in found), len(found)) for found in shown if found]
        values["popularity"] = sum(means, Fraction()) / len(means)
    return {f"{name}@{k}": float(value) for name, value in values.items()}


@given(st.lists(st.sets(st.integers(1, 40), min_size=3, max_size=3).map(list), min_size=1), st.integers(1, 30))
def test_average_precision_of_several_relevant_items(ranks, k):
    expected = [float(slow_average_precision(one, k)) for one in ranks]
    assert average_precision(np.array(ranks), k) == pytest.approx(expected, rel=1e-14)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 50))
def test_with_one_target_map_equals_mrr(ranks, k):
    values = ranking_metrics(np.array(ranks), (k,), ("map", "mrr"))
    expected = sum(float(slow_average_precision([rank], k)) for rank in ranks) / len(ranks)
    assert values[f"map@{k}"] == values[f"mrr@{k}"] == pytest.approx(expected, rel=1e-14)


@given(recommended, st.lists(st.integers(0, 50), min_size=ITEMS, max_size=ITEMS), st.integers(1, 5))
def test_metrics_of_lists(lists, counts, k):
    counts = [0, *counts]
    made = RecommendedLists(items=np.array(lists, np.int32), train_counts=np.array(counts))
    assert list_metrics(made, (k,), LISTED) == pytest.approx(slow_list_metrics(lists, counts, k), rel=1e-12, abs=1e-14)


def test_metrics_of_lists_by_hand():
    counts = np.array([0, 10, 4, 1, 0])
    made = RecommendedLists(items=np.array([[1, 2], [1, 3], [1, 2]], np.int32), train_counts=counts)
    expected = {
        "coverage@1": 1 / 4,
        "gini@1": 3 / 4,  # all lists show one of four items
        "popularity@1": 10,
        "coverage@2": 3 / 4,
        "gini@2": (-3 * 0 - 1 * 1 + 1 * 2 + 3 * 3) / (4 * 6),
        "popularity@2": (7 + 5.5 + 7) / 3,
    }
    assert list_metrics(made, (1, 2), LISTED) == pytest.approx(expected, rel=1e-14)


@pytest.fixture
def ranked(make_dataset, small_config):
    dataset = make_dataset(items=9)
    torch.manual_seed(0)
    backbone = build_backbone(small_config().model, items=9, max_length=4)
    with torch.no_grad():
        backbone.item_embedding.weight.mul_(20)
        backbone.item_embedding.weight[4] = backbone.item_embedding.weight[3]  # a tie
    return backbone, Windows(dataset, 4), dataset


@pytest.mark.parametrize("mask_seen", [False, True])
@pytest.mark.parametrize("at_once", [ranking.SCORES_AT_ONCE, 27])
def test_lists_hold_the_best_items_by_the_scores_that_give_the_ranks(ranked, mask_seen, at_once, monkeypatch):
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", at_once)
    backbone, windows, dataset = ranked
    ids, config = dataset.anchors.ids(TEST), EvaluateConfig(mask_seen=mask_seen, ties="best")
    ranks, lists = rank_and_list(*ranked, anchor_ids=ids, config=config, k=20)
    assert ranks.tolist() == rank_targets(*ranked, anchor_ids=ids, config=config).tolist()
    assert lists.shape == (len(ids), 9)
    backbone.eval()
    for row, anchor in enumerate(ids.tolist()):
        with torch.no_grad():
            scores = backbone.scores(backbone(windows.pack(torch.tensor([anchor]))))[0].tolist()
        target = int(dataset.anchors.targets[anchor - 1])
        seen = set(dataset.history(anchor).tolist()) - {target} if mask_seen else set()
        wanted = sorted(
            (item for item in range(1, 10) if item not in seen), key=lambda i: (-round(scores[i - 1], 4), i)
        )
        assert lists[row].tolist() == wanted + [0] * (9 - len(wanted))
        assert scores[lists[row, ranks[row] - 1] - 1] == pytest.approx(scores[target - 1])


def test_the_test_measures_lists_once_and_rank_metrics_do_not_depend_on_them(run):
    plain, more = run(epochs=1, metrics=list(DEFAULT)), run(epochs=1, metrics=[*DEFAULT, "map", *LISTED])
    wide = {(m.split, m.subgroup, m.name): m.value for e in more.of(Evaluated) for m in e.metrics}
    narrow = {(m.split, m.subgroup, m.name): m.value for e in plain.of(Evaluated) for m in e.metrics}
    assert narrow == {what: value for what, value in wide.items() if what in narrow}
    assert plain.equals(more)
    added = {what for what in wide if what not in narrow}
    assert {what[:2] for what in added if not what[2].startswith("map")} == {("test", "all")}
    assert {what[2] for what in added} == {f"{name}@{k}" for name in ("map", *LISTED) for k in (5, 10, 20)}
    assert wide["test", "tied", "map@5"] == wide["test", "tied", "mrr@5"]


def test_what_is_recommended_is_measured_unless_the_settings_say_otherwise(run):
    made = run(epochs=1)
    names = {
        split: {m.name for e in made.of(Evaluated) if e.split == split for m in e.metrics}
        for split in ("valid", "test")
    }
    listed = {f"{name}@{k}" for name in LISTED for k in (5, 10, 20)}
    assert names["test"] - names["valid"] == listed
    assert listed <= made.result.test.keys()


@pytest.mark.parametrize("select", ["map@10", "gini@5", "last_rank"])
def test_any_metric_selects_the_best_epoch(run, select, monkeypatch):
    worst = MetricDefinition(
        name="last_rank",
        label="Mean rank",
        definition="Mean rank of the target.",
        source="here",
        of_ranks=lambda ranks, k: ranks.astype(float),
        higher_is_better=False,
        cutoff=False,
    )
    monkeypatch.setitem(METRICS, "last_rank", worst)
    made = run(epochs=4, lr=0.02, patience=4, select=select)
    values = [epoch[select] for epoch in made.values("valid")]
    best = max(values) if select == "map@10" else min(values)
    assert len(set(values)) > 1
    assert made.result.best_epoch == 1 + values.index(best)
    assert select in made.result.test


def test_metrics_that_cannot_be_measured_are_named_together():
    with pytest.raises(ConfigError) as caught:
        build_config({"metrics": ["hr", "hr", "f1"], "select": "auc"})
    text = caught.value.message
    assert "there is no metric 'f1'; there are hr, ndcg, mrr, map, coverage, gini, popularity" in text
    assert "must be different" in text
    assert "there is no metric 'auc'" in text
    assert build_config({"metrics": "hr, map"}).evaluate.metrics == ("hr", "map")  # as it is typed
    with pytest.raises(ConfigError, match="hr needs a cutoff, such as hr@10"):
        build_config({"select": "hr"})


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "HR"},
        {"name": "top_5"},
        {"of_ranks": None},
        {"of_lists": lambda lists, k: 0.0},
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(broken):
    whole = {"name": "x", "label": "X", "definition": "", "source": "", "of_ranks": lambda ranks, k: ranks}
    with pytest.raises(ValueError, match="metric"):
        MetricDefinition(**whole | broken)


def test_every_metric_is_defined_with_its_source():
    for metric in METRICS.values():
        assert len(metric.definition) > 30, metric.name
        assert any(character.isdigit() for character in metric.source), metric.name


def test_names_fields_and_texts():
    assert full_names(("hr", "mrr"), (5, 10)) == ["hr@5", "mrr@5", "hr@10", "mrr@10"]
    assert ordered(["gone@5", "coverage@5", "mrr@5", "hr@20", "hr@5"]) == [
        "hr@5",
        "hr@20",
        "mrr@5",
        "coverage@5",
        "gone@5",
    ]
    assert [title(name) for name in ("loss", "loss_rec", "loss_cs", "loss_align")] == [
        "loss",
        "L_rec",
        "L_CS",
        "L_align",
    ]
    assert training_names(["share", "loss_x", "loss_rec", "loss", "gap"]) == [
        "loss",
        "loss_rec",
        "loss_x",
        "gap",
        "share",
    ]
    assert by_cutoff(["hr@5", "share", "mrr@20", "hr@20"]) == ["hr@20", "mrr@20", "hr@5", "share"]
    assert [title(name) for name in ("hr@20", "coverage@5", "gone@5", "share")] == [
        "HR@20",
        "Coverage@5",
        "GONE@5",
        "share",
    ]
    assert [value_text(name, 0.25) for name in ("hr@20", "popularity@5", "gone@5")] == ["0.2500", "0.2", "0.2500"]
    for text in ("hr@20", "test.hr@20", "test_hr_20", "hr20"):
        assert parse_field(text) == ("test", "hr@20"), text
    assert parse_field("valid.map@5") == parse_field("valid_map_5") == ("valid", "map@5")
    assert parse_field("train.loss_rec") == ("train", "loss_rec")
    assert [parse_field(text) for text in ("hr", "hr@0", "test.gone@5", "state", "loss_rec", "train.gone@5")] == [
        None
    ] * 6


def test_an_installed_metric_is_found_and_a_broken_one_is_named(install_metrics):
    install_metrics(
        "from engine.metric_registry import MetricDefinition\n"
        "MINE = MetricDefinition(name='mine', label='Mine', definition='d', source='s', of_ranks=lambda ranks, k: ranks * 0.5)\n"
        "OTHER = 3\n",
        mine="MINE",
        other="OTHER",
        missing="GONE",
    )
    assert metric_registry.known_names() == [*METRICS, "mine", "other", "missing"]
    assert ranking_metrics(np.array([1, 2]), (5,), ("mine",)) == {"mine@5": 0.75}
    assert title("mine@5") == "Mine@5"
    assert build_config({"metrics": ["mine"], "select": "mine@5"}).train.select == "mine@5"
    for broken, why in (("other", "is no MetricDefinition"), ("missing", "cannot be imported: AttributeError")):
        assert definition_of(f"{broken}@5") is None
        with pytest.raises(ConfigError, match=why):
            build_config({"metrics": [broken]})


def test_tests_of_significance_take_a_metric_without_a_cutoff(monkeypatch):
    mean_rank = MetricDefinition(
        name="mean_rank", label="", definition="", source="", of_ranks=lambda ranks, k: ranks * 1.0, cutoff=False
    )
    monkeypatch.setitem(METRICS, "mean_rank", mean_rank)
    a, b = np.arange(1, 301), np.arange(1, 301) + np.tile([3, 0], 150)
    names = ("hr", "mean_rank", "coverage")
    assert metric_names((5,), names) == ["hr@5", "mean_rank"]
    cut, plain = compare([a], [b], ks=(5,), names=names, resamples=200)
    assert (cut.metric, cut.method) == ("hr@5", "users")
    assert (plain.metric, plain.method, plain.difference) == ("mean_rank", "users, t", 1.5)
    assert plain.ci_low < 1.5 < plain.ci_high
    assert plain.p_value < 1e-10
    seeds = compare([a, a], [b, b], ks=(5,), names=names)
    assert [one.method for one in seeds] == ["users and seeds"] * 2
