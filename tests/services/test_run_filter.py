"""The filter language of the list of runs."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Config
from engine.errors import ConfigError
from sracl_tui.services.run_filter import metrics_of, parse, select
from sracl_tui.services.run_list import Choice

ROWS: list[Any] = [
    {
        "run_id": f"r{number}",
        "name": name,
        "state": state,
        "preset": preset,
        "dataset_name": "office",
        "group_name": None,
        "note": "",
        "kind": "train",
        "tags": tags,
        "seed": number,
        "epoch": 3,
        "timings": {"total": 10.0 * number},
        "test_ndcg_20": ndcg,
        **({"test_gini_5": 0.25} if number == 3 else {"valid_hr_3": 0.5, "train_share": 0.1} if number == 2 else {}),
        "config": Config().model_dump(mode="json"),
    }
    for number, name, state, preset, tags, ndcg in (
        (1, "one two", "running", "default", ["office", "night"], None),
        (2, "three", "finished", "paper", [], 0.08),
        (3, "four", "finished", "backbone", ["day"], 0.04),
    )
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["r1", "r2", "r3"]),
        ("state:running", ["r1"]),
        ("ndcg@20>0.05", ["r2"]),
        ("ndcg@20<0.05", ["r3"]),
        ("test_ndcg_20>=0.04 -preset:paper", ["r3"]),
        ("tag:office", ["r1"]),
        ("-tag:office", ["r2", "r3"]),
        ("alpha=0.1", ["r1", "r2", "r3"]),
        ("loss.alpha!=0.1", []),
        ("max_users=none", ["r1", "r2", "r3"]),
        ("preset:paper|backbone", ["r2", "r3"]),
        ('"one two"', ["r1"]),
        ("OFFICE -three", ["r1", "r3"]),
        ("time>15 seed<3", ["r2"]),
        ('"one t', ["r1"]),
        ("gini@5<0.5", ["r3"]),
        ("valid.hr@3>=0.5 train.share>0", ["r2"]),
        ("train.lr>0", ["r1", "r2", "r3"]),
    ],
)
def test_a_filter_finds(text, found):
    assert [row["run_id"] for row in select(ROWS, parse(text))] == found


@pytest.mark.parametrize("text", ["colour:red", "state:", "lr>", "auc@5>1", "hr>0", "test.gone@5>0"])
def test_a_word_that_cannot_be_meant_is_an_error(text):
    with pytest.raises(ConfigError):
        parse(text)


def test_a_filter_names_the_metrics_that_rows_need():
    assert metrics_of(parse("hr@5>0 -valid.hr@5>0 hr@5<1 lr>0 text train.loss_rec<1")) == [
        ("test", "hr@5"),
        ("valid", "hr@5"),
        ("train", "loss_rec"),
    ]


@pytest.mark.parametrize(
    ("sort", "found", "metrics"),
    [
        (None, ["r2", "r3"], ()),
        ("ndcg@20", ["r2", "r3"], (("test", "ndcg@20"),)),  # the highest first
        ("gini@5", ["r3", "r2"], (("test", "gini@5"),)),  # a run without a value last
        ("train.share", ["r2", "r3"], (("train", "share"),)),
        ("name", ["r3", "r2"], ()),
    ],
)
def test_a_choice_filters_and_sorts(sort, found, metrics):
    choice = Choice.of("-state:running", sort)
    assert [row["run_id"] for row in choice.of_rows(ROWS)] == found
    assert choice.metrics == metrics


def test_lower_is_better_for_some_metrics():
    rows: list[Any] = [
        {**ROWS[0], "run_id": name, "test_gini_5": value} for name, value in (("a", 0.5), ("b", 0.1), ("c", 0.9))
    ]
    assert [row["run_id"] for row in Choice.of("", "gini@5").of_rows(rows)] == ["b", "a", "c"]


@pytest.mark.parametrize(("sort", "metrics", "where"), [("colour", (), "--sort"), (None, ("hr@5", "hr"), "--metric")])
def test_a_choice_of_something_unknown_is_refused(sort, metrics, where):
    with pytest.raises(ConfigError) as caught:
        Choice.of("", sort, metrics)
    assert caught.value.where == where
