"""`sracl compare` and groups of variants on real runs."""

from __future__ import annotations

import csv
import io
import json
import shutil

import numpy as np
import pytest
from scipy import stats

from tests.support.commands import ROOT, sracl_inside
from tests.support.shared_homes import written_once

QUICK = (
    "--dataset",
    "demo",
    "--set",
    "max_users=60",
    "--set",
    "encoder=tfidf",
    "--set",
    "epochs=2",
    "--set",
    "threads=1",
)


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A home with two seeds of two alphas and of the backbone in one group."""

    def write(folder):
        for words in (("--vary", "alpha=0.05,0.1"), ("--preset", "backbone")):
            sracl_inside(folder, "run", *QUICK, *words, "--seeds", "2", "--group", "g", "--headless", "--json")

    return shutil.copytree(written_once(tmp_path_factory, "group", write), tmp_path_factory.mktemp("group") / "home")


def compare(sracl, home, *arguments):
    return json.loads(sracl("compare", *arguments, "--json", home=home).stdout)


def test_a_group_is_folded_into_seed_sets_and_held_against_the_backbone(sracl, group):
    found = compare(sracl, group, "g")
    assert [(s["label"], s["n"]) for s in found["sets"]] == [("alpha=0.05", 2), ("alpha=0.1", 2), ("backbone", 2)]
    assert found["split"] == "valid"
    assert set(found["settings"]) == {"loss.alpha", "loss.beta"}
    assert {test["a"] for test in found["tests"]} == {"backbone"}
    assert {test["metric"] for test in found["tests"]} == {f"{m}@{k}" for m in ("hr", "ndcg") for k in (5, 10, 20)}
    for test in found["tests"]:
        assert test["ci_low"] <= test["difference"] <= test["ci_high"]
        assert test["p_value"] <= test["p_holm"] <= 1
        assert test["method"] == "users and seeds"


def test_the_means_are_those_of_the_runs(sracl, group):
    found = compare(sracl, group, "g", "--split", "test")
    rows = json.loads(sracl("runs", "--group", "g", "--json", home=group).stdout)
    for seed_set in found["sets"]:
        values = [row["test_ndcg_20"] for row in rows if row["run_id"] in seed_set["run_ids"]]
        assert seed_set["mean"]["ndcg@20"] == pytest.approx(np.mean(values))
        assert seed_set["sd"]["ndcg@20"] == pytest.approx(np.std(values, ddof=1))


def test_single_runs_are_compared_over_users_and_say_so(sracl, group):
    found = compare(sracl, group, "alpha=0.05-1", "alpha=0.1-1")
    assert {test["method"] for test in found["tests"]} == {"users"}
    assert any("one seed each" in note for note in found["notes"])


def test_all_pairs_and_another_baseline(sracl, group):
    assert len(compare(sracl, group, "g", "--all-pairs")["tests"]) == 3 * 6
    found = compare(sracl, group, "g", "--baseline", "alpha=0.1")
    assert {test["a"] for test in found["tests"]} == {"alpha=0.1"}
    assert "2 sets" not in sracl("compare", "g", "--baseline", "nothing", home=group, code=2).stdout


def test_a_subgroup_has_fewer_users(sracl, group):
    found = compare(sracl, group, "g", "--subgroup", "tail")
    assert 0 < found["users"] < 60
    assert "Subgroups" in sracl("compare", "g", "--subgroup", "nothing", home=group, code=2).stderr


def test_what_is_not_comparable_is_refused_with_every_reason(sracl, group):
    sracl("run", *QUICK, "--preset", "backbone", "--set", "max_length=5", "--name", "short", "--headless", home=group)
    sracl("run", *QUICK, "--preset", "backbone", "--name", "again", "--headless", home=group)
    text = sracl("compare", "g", "short", "again", home=group, code=2).stderr
    assert "max_length" in text
    assert "seed 1 occurs more than once" in text
    assert "forced" in " ".join(compare(sracl, group, "g", "short", "again", "--force")["notes"])


def test_other_data_are_shown_but_not_tested(sracl, group):
    small = [part.replace("60", "50") for part in QUICK]
    sracl("run", *small, "--preset", "backbone", "--name", "fewer", "--headless", home=group)
    assert "different data" in sracl("compare", "g", "fewer", home=group, code=2).stderr
    found = compare(sracl, group, "alpha=0.05-1", "fewer", "--force")
    assert found["tests"] == []
    assert any("different users" in note for note in found["notes"])


@pytest.mark.parametrize("format_", ["csv", "md", "latex"])
def test_tables_for_papers(format_, sracl, group):
    done = sracl("compare", "g", "--split", "test", "--format", format_, home=group)
    assert "NDCG@20" in done.stdout
    assert done.stdout.count("backbone") == 1
    assert "Holm" in done.stderr
    if format_ == "csv":
        rows = list(csv.reader(io.StringIO(done.stdout)))
        assert len({len(row) for row in rows}) == 1
    if format_ == "latex":
        assert done.stdout.count("\\begin{tabular}") == done.stdout.count("\\end{tabular}") == 1


def test_the_text_has_settings_metrics_and_tests(sracl, group):
    text = sracl("compare", "g", home=group).stdout
    for words in ("loss.alpha", "±", "95 % interval", "alpha=0.05 - backbone"):
        assert words in text


def test_a_group_of_variants_is_resumed_where_it_stopped(sracl, group):
    done = sracl(
        "run", *QUICK, "--vary", "alpha=0.05,0.1", "--seeds", "2", "--group", "g", "--headless", "--json", home=group
    )
    assert done.stderr.count("reused") >= 4
    assert len(json.loads(sracl("runs", "--group", "g", "--json", home=group).stdout)) == 6


def test_stored_ranks_give_the_same_by_an_independent_calculation(sracl, group):
    """Differences by the formula, the p-value by scipy's permutation test, on ranks read by SQL."""
    found = compare(sracl, group, "g", "--split", "test")
    by_label = {s["label"]: s["run_ids"] for s in found["sets"]}
    pair = [by_label["backbone"], by_label["alpha=0.1"]]
    sql = "SELECT run_id, user_id, rank FROM user_ranks WHERE split = 'test' ORDER BY run_id, user_id"
    rows = json.loads(sracl("sql", sql, "--json", home=group).stdout)

    def gains(run_id: str) -> np.ndarray:
        ranks = np.array([row["rank"] for row in rows if row["run_id"] == run_id])
        return np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0.0)

    a, b = (np.mean([gains(run_id) for run_id in side], axis=0) for side in pair)
    test = next(t for t in found["tests"] if (t["b"], t["metric"]) == ("alpha=0.1", "ndcg@10"))
    assert test["difference"] == pytest.approx(b.mean() - a.mean(), abs=1e-12)

    single = compare(sracl, group, "alpha=0.05-1", "alpha=0.1-1", "--split", "test")
    a, b = (gains(s["run_ids"][0]) for s in single["sets"])
    expected = stats.permutation_test(
        (a, b),
        lambda x, y: np.mean(y - x),
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    test = next(test for test in single["tests"] if test["metric"] == "ndcg@10")
    assert test["p_value"] == pytest.approx(expected.pvalue, abs=0.02)


def test_the_dry_run_of_a_group_has_a_line_per_run(sracl, group):
    document = json.loads(
        sracl("run", *QUICK, "--vary", "k=3,4", "--seeds", "2", "--dry-run", "--json", home=group).stdout
    )
    assert [run["name"] for run in document["runs"]] == ["k=3-1", "k=4-1", "k=3-2", "k=4-2"]
    assert document["minutes"] == pytest.approx(sum(run["minutes"] for run in document["runs"]), abs=0.02)
    assert len(json.loads(sracl("runs", "--json", home=group).stdout)) < 20


@pytest.fixture(scope="module")
def by_dot(sracl, group):
    """The same home with the runs of alpha=0.1 once more, their neighbors found by dot product."""
    words = ("--set", "alpha=0.1", "--set", "similarity=dot", "--seeds", "2", "--group", "dot", "--name", "by-dot")
    sracl("run", *QUICK, *words, "--headless", home=group)
    return group


def test_equal_neighbor_lists_and_ranks_are_told_in_place_of_a_test(sracl, by_dot):
    words = ("alpha=0.1-1", "alpha=0.1-2", "dot")
    found = compare(sracl, by_dot, *words)
    assert set(found["settings"]) == {"retrieval.similarity"}
    assert found["tests"] == []
    (pair,) = found["equal"]
    assert pair["what"] in ("ranks", "neighbors")
    assert "their neighbor lists are equal" in pair["text"]
    assert "length 1" in pair["text"]
    assert pair["text"] in found["notes"]
    text = sracl("compare", *words, home=by_dot).stdout
    assert pair["text"] in text
    assert "no significant difference" not in text
    assert sracl("compare", *words, "--fail-if-worse", "ndcg@20", home=by_dot).stdout
    other = compare(
        sracl, by_dot, "alpha=0.1-1", found["sets"][1]["run_ids"][1]
    )  # of another seed: still the same method
    assert (other["tests"], other["equal"][0]["what"]) == ([], "neighbors")
    three = compare(sracl, by_dot, "g", "dot", "--all-pairs")  # other pairs are tested as before
    assert len(three["tests"]) == 5 * 6


@pytest.fixture(scope="module")
def ranked(sracl, group, tmp_path_factory):
    """The same home with ranks of models from elsewhere: good, bad, and bad once more."""
    sql = "SELECT DISTINCT u.raw_id FROM users u JOIN runs r USING (dataset_id) WHERE r.dataset_name = 'demo[:60]' ORDER BY 1"
    users = [row["raw_id"] for row in json.loads(sracl("sql", sql, "--json", home=group).stdout)]
    assert len(users) == 60
    for name, rank in (("good", 1), ("bad", 15), ("again", 15)):
        file = tmp_path_factory.mktemp("ranks") / f"{name}.csv"
        file.write_text("\n".join(["user_id,rank", *(f"{user},{rank + n % 4}" for n, user in enumerate(users))]))
        sracl("import-ranks", str(file), "--dataset", "demo[:60]", "--name", name, home=group)
    return group


def test_what_is_worse_fails_and_what_is_not_passes(sracl, ranked):
    asked = ("--fail-if-worse", "ndcg@20", "--fail-if-worse", "mrr@20", "--fail-if-worse", "hr@20", "--split", "test")
    words = ("compare", "good-1", "bad-1", *asked)
    done = sracl(*words, "--json", home=ranked, code=1)
    document = json.loads(done.stdout)
    assert {test["metric"] for test in document["failed"]} == {
        "ndcg@20",
        "mrr@20",
    }  # all of them are among the first 20
    assert {test["metric"] for test in document["tests"]} >= {"mrr@20", "hr@5", "ndcg@20"}
    assert "mrr@10" not in {test["metric"] for test in document["tests"]}
    assert "bad is worse than good: NDCG@20 -" in done.stderr
    assert "▼ worse, two models" in sracl(*words, home=ranked, code=1).stdout
    sracl(*words, "--format", "csv", home=ranked, code=1)
    passed = sracl("compare", "bad-1", "good-1", *asked, "--json", home=ranked)
    assert json.loads(passed.stdout)["failed"] == []
    assert "worse than" not in passed.stderr


def test_equal_ranks_are_told_and_pass(sracl, ranked):
    found = sracl("compare", "bad-1", "again-1", "--split", "test", "--fail-if-worse", "hr@20", "--json", home=ranked)
    document = json.loads(found.stdout)
    text = "again and bad rank every user's target alike: nothing to test"
    assert document["equal"] == [{"a": "bad", "b": "again", "what": "ranks", "text": text}]
    assert document["notes"] == [text]
    assert document["tests"] == document["failed"] == []


def test_what_cannot_be_judged_does_not_pass(sracl, ranked):
    pair = ("compare", "good-1", "bad-1", "--split", "test")
    assert "hr@7 cannot be tested" in sracl(*pair, "--metric", "hr@7", home=ranked, code=2).stderr
    assert "coverage@20 cannot" in sracl(*pair, "--fail-if-worse", "coverage@20", home=ranked, code=2).stderr
    alone = sracl("compare", "good-1", "--fail-if-worse", "hr@20", "--split", "test", home=ranked, code=2)
    assert "nothing could be tested" in alone.stderr
    small = [part.replace("60", "50") for part in QUICK]
    sracl("run", *small, "--preset", "backbone", "--name", "others", "--headless", home=ranked)
    words = (*pair, "others", "--baseline", "good-1", "--force", "--fail-if-worse", "hr@20")
    assert "not tested, as their users differ: others" in sracl(*words, home=ranked, code=2).stderr


def test_one_seed_against_several_says_whose_variance_it_takes(sracl, group):
    found = compare(sracl, group, "g")
    ids = {one["label"]: one["run_ids"] for one in found["sets"]}
    several = compare(sracl, group, *ids["backbone"], ids["alpha=0.1"][0])
    assert {test["method"] for test in several["tests"]} == {"users and seeds, borrowed"}
    assert any("borrows the seed variance" in note for note in several["notes"])
    text = sracl("compare", *ids["backbone"], ids["alpha=0.1"][0], home=group).stdout
    assert text.count(" †") == 6


@pytest.mark.parametrize("name", ["github-actions-compare.yml", "gitlab-ci-compare.yml"])
def test_the_commands_of_continuous_integration_run(sracl, group, name):
    """With one seed, fewer users and epochs; what is trained by one file is there for the other."""
    lines = [line.strip().removeprefix("- ") for line in (ROOT / "examples" / "ci" / name).read_text().splitlines()]
    commands = [line.removeprefix("sracl ").split() for line in lines if line.startswith("sracl ")]
    assert [words[0] for words in commands] == ["run", "run", "compare"]
    for words in commands:
        words = ["1" if word == "3" else word for word in words]
        done = sracl(*words, *(QUICK[2:] if words[0] == "run" else ()), home=group)
    assert "candidate" in done.stdout or "k=20" in done.stdout
