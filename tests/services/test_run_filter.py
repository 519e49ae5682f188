"""The filter language of the list of runs."""

from __future__ import annotations

import pytest

from engine.config import Config
from engine.errors import ConfigError
from sracl_tui.services.run_filter import parse, select

ROWS = [
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
    ],
)
def test_a_filter_finds(text, found):
    assert [row["run_id"] for row in select(ROWS, parse(text))] == found


@pytest.mark.parametrize("text", ["colour:red", "state:", "lr>"])
def test_a_word_that_cannot_be_meant_is_an_error(text):
    with pytest.raises(ConfigError):
        parse(text)
