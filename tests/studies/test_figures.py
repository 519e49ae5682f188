"""Figures of a study: what is drawn is what its verdicts rest on."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.evaluation import verdicts
from engine.evaluation.estimates import estimate_measure
from sracl_tui.services.figures.options import FigureOptions
from sracl_tui.studies.definition import Claim
from sracl_tui.studies.figures import _row as row_of
from sracl_tui.studies.figures import forest_of
from sracl_tui.studies.judging import Judgement, judge_study
from sracl_tui.studies.library import find_study
from sracl_tui.studies.measures import Side
from sracl_tui.studies.planning import PlannedClaim, make_plan
from store.home import Home
from store.opening import open_store

NONE = FigureOptions()


@pytest.fixture(scope="module")
def store(finished: Path):
    with open_store(Home(finished)) as opened:
        yield opened


def test_the_forest_plot_has_the_verdicts_by_metric(store) -> None:
    study = find_study(store.home, "tiny")
    found = forest_of(study, store, NONE)
    ranked, measured = found.panels
    assert [row.label for row in ranked.rows] == ["gain", "tail (tail users)"], "the primary metric comes first"
    assert [row.label for row in measured.rows] == ["rank"]
    assert (ranked.axis, measured.axis) == ("difference in NDCG@20", "difference in Effective rank")
    assert measured.format == ".2f"
    judged = {one.claim.name: one for one in judge_study(make_plan(study, store), store)}
    for row, name in zip([*ranked.rows, *measured.rows], ("gain", "tail", "rank"), strict=True):
        verdict = judged[name].verdict
        assert verdict is not None
        assert (row.estimate, row.low, row.high) == (verdict.difference, verdict.ci_low, verdict.ci_high)
        assert (row.margin, row.verdict, row.n) == (judged[name].margin, judged[name].text, "n = 2")
    assert found.title == "Does anything gain? Test ranks, demo (60 users)"
    only = forest_of(study, store, FigureOptions(metric="effective_rank"))
    assert [panel.axis for panel in only.panels] == ["difference in Effective rank"]
    with pytest.raises(ConfigError, match="test ranks"):
        forest_of(study, store, FigureOptions(split="valid"))


def test_a_claim_of_equality_is_drawn_with_the_interval_that_decides_it() -> None:
    claim = Claim(
        name="even", sentence="They are alike.", variant="a", against="b", metric="usd", direction="equal", margin=0.5
    )
    estimate = estimate_measure([1.0, 1.1, 0.9], [1.05, 1.2, 1.0])
    (verdict,) = verdicts.judge([verdicts.Claim("even", "equal", 0.5)], [estimate])
    side = Side("a", ("r1",) * 3, (1, 2, 3), (1.05, 1.2, 1.0))
    other = Side("b", ("r2",) * 2, (1, 2), (1.0, 1.1))
    made = Judgement(
        planned=PlannedClaim(claim, "demo"),
        primary=False,
        side=side,
        other=other,
        margin=0.5,
        verdict=verdict,
        seeds_declared=3,
    )
    row = row_of(made, True)
    assert (row.low, row.high) == (verdict.equivalence_low, verdict.equivalence_high)
    assert verdict.equivalence_low != verdict.ci_low
    assert (row.label, row.n) == ("even@demo", "n = 3 v 2")


def test_a_study_is_named_like_a_run(sracl, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.svg"
    sracl("export", "tiny", "--figure", "forest", "--out", out, home=home)
    text = out.read_text()
    assert "Does anything gain?" in text
    assert "tail (tail users)" in text
    sracl("export", "tiny", "--figure", "cost", "--out", out, home=home)
    assert "test ranks of 60 users" in out.read_text()
    sracl("export", "tiny", "--figure", "epochs", "--out", out, home=home)
    assert "2 seeds" in out.read_text()
    assert "is of one run" in sracl("export", "tiny", "--figure", "weights", "--out", out, home=home, code=2).stderr


def test_a_study_without_runs_says_so(sracl, fresh: Path, tmp_path: Path) -> None:
    for name in ("forest", "epochs"):
        done = sracl("export", "tiny", "--figure", name, "--out", tmp_path / "x.svg", home=fresh, code=2)
        assert "the study tiny has no finished runs to show" in done.stderr
        assert "sracl study run tiny" in done.stderr
    done = sracl("export", "nobody", "--figure", "forest", "--out", tmp_path / "x.svg", home=fresh, code=2)
    assert "there is no run 'nobody'" in done.stderr
