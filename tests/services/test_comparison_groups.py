"""Which runs count as seeds of one config."""

from __future__ import annotations

from typing import Any

import pytest

from sracl_tui.services.comparison import _of_unknown_texts, group_by_config


def run(name: str, prompts: str | None, *, config: str = "c", dataset: str = "d") -> Any:
    return {"run_id": name, "config_hash": config, "dataset_id": dataset, "prompts": prompts}


@pytest.mark.parametrize(
    ("rows", "groups"),
    [
        ([run("a", "titles-1"), run("b", None)], ["ab"]),
        ([run("b", None), run("a", "titles-1")], ["ba"]),
        ([run("a", "v1"), run("b", None), run("c", "v2")], ["a", "b", "c"]),
        ([run("a", "v1"), run("b", "v2")], ["a", "b"]),
        ([run("a", None), run("b", None)], ["ab"]),
        ([run("a", "v1"), run("b", None, dataset="e"), run("c", None, config="x")], ["a", "b", "c"]),
    ],
)
def test_a_run_whose_texts_are_not_known_goes_with_the_only_version_that_is(rows: list[Any], groups: list[str]) -> None:
    """A bundle without texts made one seed of five a config of its own."""
    found = group_by_config(rows)
    assert ["".join(row["run_id"] for row in group) for group in found] == groups


def test_it_is_told() -> None:
    groups = group_by_config([run("a", "v1"), run("b", None), run("c", None, config="plain")])
    assert _of_unknown_texts(groups, ["sracl", "plain"]) == [
        "sracl: which rules or prompts wrote the texts of 1 of 2 runs is not known here"
    ]
