"""Files of studies: those that are shipped, and bad ones."""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from sracl_tui.studies.definition import MEASURES, SeedRule
from sracl_tui.studies.library import SHIPPED, find_study, study_files
from sracl_tui.studies.measures import ANALYSIS, PACE
from sracl_tui.studies.parsing import key_lines, read_study
from store.home import Home

NAMES = ("quick", "sracl-paper", "baselines", "backbones")
TINY = """title = "Tiny"
datasets = ["demo"]
metric = "ndcg@20"
[seeds]
first = 2
[variants.full]
k = 4
[variants.plain]
preset = "backbone"
[claims.gain]
sentence = "It gains."
variant = "full"
against = "plain"
margin = 0.01
"""


def written(folder: Path, text: str, name: str = "tiny") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_shipped_studies_are_read_in_the_order_in_which_they_are_needed(tmp_path: Path) -> None:
    assert tuple(file.name for file in study_files(Home(tmp_path))) == NAMES
    for name in NAMES:
        study = read_study(SHIPPED / f"{name}.toml")
        assert study.title.endswith("?")
        used = {name for claim in study.claims.values() for name in claim.variants} | set(study.also)
        assert used == set(study.variants), "a variant that nobody needs would be run for nothing"
        assert len({study.fingerprint(claim) for claim in study.claims.values()}) == len(study.claims)


def test_the_paper_s_study_has_a_claim_for_each_ablation_and_question() -> None:
    study = read_study(SHIPPED / "sracl-paper.toml")
    questions = {claim.question for claim in study.claims.values()} - {""}
    assert len(questions) >= 15
    for words in (
        "own later prefixes",
        "calls to the model cost",
        "at inference",
        "more dispersed",
        "random augmentations",
        "sparse",
    ):
        assert any(words in question for question in questions), words
    pairs = {
        (claim.variant, claim.against, claim.users) for claim in study.claims.values() if claim.metric == study.metric
    }
    for other in (
        "backbone",
        "wo-inter",
        "wo-intra",
        "wo-learn",
        "uniform",
        "frozen",
        "softmax-cosine",
        "wo-semantic",
        "swapped",
    ):
        assert ("sracl", other, "all") in pairs
    assert {("sracl", "backbone", users) for users in ("untied", "short", "tail")} <= pairs
    assert study.seeds == SeedRule(first=5, add=5, cap=15)
    assert study.seeds.steps() == [5, 10, 15]
    assert SeedRule(first=2, add=2, cap=5).steps() == [2, 4, 5]


def test_every_measure_is_read_from_somewhere() -> None:
    assert set(MEASURES) == {*PACE, *ANALYSIS}


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("title = ", "titel = "), 1, "did you mean title?"),
        (("margin = 0.01", 'margin = "much"'), 14, "a positive number, or a share"),
        (("margin = 0.01", "margin = 0"), 14, "a positive number"),
        (("margin = 0.01\n", ""), 10, "which difference would not matter"),
        (("margin = 0.01", "margin = 0.01\nmargins = 1"), 15, "did you mean margin?"),
        (('against = "plain"', 'against = "plane"'), 13, "did you mean plain?"),
        (('against = "plain"', 'against = "full"'), 13, "compared with itself"),
        (('against = "plain"', "against = true"), 13, "the variant or the number"),
        (('variant = "full"\n', ""), 10, "name the variant"),
        (('sentence = "It gains."\n', ""), 10, "say what is claimed"),
        (("margin = 0.01", 'margin = 0.01\ndirection = "up"'), 15, "higher, lower, equal"),
        (("margin = 0.01", 'margin = 0.01\nusers = "old"'), 15, "untied"),
        (("margin = 0.01", 'margin = 0.01\nusers = "tail"\nmetric = "effective_rank"'), 15, "no value for each user"),
        (("margin = 0.01", 'margin = 0.01\nmetric = "efective_rank"'), 15, "did you mean effective_rank?"),
        (("margin = 0.01", 'margin = 0.01\nmetric = "ndcg@7"'), 15, "not measured by full"),
        (("ndcg@20", "ndcg"), 3, "needs a cutoff"),
        (("ndcg@20", "effective_rank"), 3, "has a value for each user"),
        (("first = 2", "first = 0"), 5, "at least one seed"),
        (("first = 2", "first = true"), 5, "a number of seeds"),
        (("first = 2", "first = 2\nadd = 1"), 4, "give both `add` and a `cap`"),
        (("first = 2", "first = 2\nadd = 1\ncap = 2"), 7, "above first = 2"),
        (("k = 4", "kk = 4"), 6, "there is no such setting"),
        (("k = 4", "k = 0"), 6, "retrieval.k"),
        (("k = 4", 'method = "nosuch"'), 6, "nosuch"),
        (("k = 4", "ks = [5, 10, 20, 50]"), 13, "different protocols: evaluate.ks"),
        (("k = 4", 'preset = "backbone"\nname = "x"'), 6, "there is no such setting"),
        (("k = 4", 'preset = "backbone"'), 13, "the same settings"),
        (("k = 4", 'runs = "mine"\nk = 4'), 7, "leave the others out"),
        (("datasets = ", "dataset = "), 2, "did you mean datasets?"),
        (('["demo"]', "[]"), 2, "a list of names"),
        (("[variants.full]", "[variants.'a b']"), 6, "letters, digits"),
        (("title =", "title"), 1, "not readable as TOML"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, change: tuple[str, str], line: int, message: str) -> None:
    assert change[0] in TINY
    path = written(tmp_path, TINY.replace(*change, 1))
    with pytest.raises(ConfigError) as caught:
        read_study(path)
    assert message in str(caught.value)
    assert f"{path}:{line}" in str(caught.value)


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    path = written(
        tmp_path, TINY.replace("first = 2", "first = 0").replace('plain"\nm', 'plan"\nm').replace("0.01", "-1")
    )
    with pytest.raises(ConfigError) as caught:
        read_study(path)
    assert len(caught.value.message.splitlines()) == 3


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_subnormal=False), st.text(max_size=8), st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from(["variant", "first", "k", "é", "a b"]), st.integers(0, 2), max_size=2),
)  # fmt: skip


def places(tree: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    for key, value in tree.items():
        found += places(value, (*path, key)) if isinstance(value, dict) else [(*path, key)]
    return found


PLACES = places(tomllib.loads(TINY))


def as_toml(tree: dict[str, Any], prefix: str = "") -> str:
    """TOML of trees, numbers, texts and lists; keys are quoted, so that any key is one."""
    import json

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return "{" + ", ".join(f"{json.dumps(k)} = {value(v)}" for k, v in one.items()) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(map(value, one)) + "]"
        return json.dumps(one).replace("NaN", "nan").replace("Infinity", "inf") if one is not None else "1979-05-27"

    return "".join(f"{json.dumps(key)} = {value(item)}\n" for key, item in tree.items())


@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(["drop", "rename", "set"]), JUNK), min_size=1, max_size=3
    )
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_a_study_or_an_error_that_says_where(
    tmp_path: Path, changes: list[tuple[tuple[str, ...], str, Any]]
) -> None:
    tree = copy.deepcopy(tomllib.loads(TINY))
    for path, how, junk in changes:
        parent: Any = tree
        for key in path[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or path[-1] not in parent:
            continue
        old = parent.pop(path[-1])
        if how == "rename":
            parent[f"{path[-1]}x"] = old
        elif how == "set":
            parent[path[-1]] = junk
    file = written(tmp_path, as_toml(tree))
    study, problem = None, ""
    try:
        study = read_study(file)
    except ConfigError as error:
        problem = str(error)
    if study is None:
        assert str(file) in problem
    else:
        assert study.claims
        assert all(claim.margin > 0 or claim.not_run for claim in study.claims.values())


def test_lines_are_those_of_the_file() -> None:
    lines = key_lines(TINY)
    text = TINY.splitlines()
    assert text[lines["claims.gain"] - 1] == "[claims.gain]"
    assert text[lines["claims.gain.margin"] - 1] == "margin = 0.01"
    assert all(re.search(path.rpartition(".")[2], text[line - 1]) for path, line in lines.items())


def test_a_study_of_the_home_is_found_by_name_and_one_elsewhere_by_path(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (home.path / "studies").mkdir(parents=True)
    written(home.path / "studies", TINY, "mine")
    assert find_study(home, "mine").reference == "mine"
    elsewhere = written(tmp_path, TINY, "other")
    assert find_study(home, str(elsewhere)).reference == str(elsewhere)
    with pytest.raises(ConfigError, match="Did you mean quick"):
        find_study(home, "quik")
    with pytest.raises(ConfigError, match="no such file"):
        find_study(home, "none.toml")
    written(home.path / "studies", TINY, "quick")
    with pytest.raises(ConfigError, match="also called 'quick'"):
        find_study(home, "quick")


def test_a_claim_is_another_one_when_anything_that_decides_it_changes(tmp_path: Path) -> None:
    first = read_study(written(tmp_path, TINY))
    base = first.fingerprint(first.claims["gain"])
    changes = [
        ("0.01", "0.02"),
        ("k = 4", "k = 5"),
        ("first = 2", "first = 3"),
        ("ndcg@20", "hr@20"),
        ("It gains", "It wins"),
    ]
    for change in changes:
        other = read_study(written(tmp_path, TINY.replace(*change)))
        assert other.fingerprint(other.claims["gain"]) != base, change
    same = read_study(written(tmp_path, TINY.replace('title = "Tiny"', 'title = "Small"') + "# a remark\n"))
    assert same.fingerprint(same.claims["gain"]) == base
