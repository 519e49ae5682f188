"""Reports and exports of a study."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.evaluation.estimates import estimate_measure
from engine.evaluation.verdicts import Claim as JudgedClaim
from engine.evaluation.verdicts import judge
from sracl_tui.studies.definition import Claim
from sracl_tui.studies.forest import forest
from sracl_tui.studies.judging import Judgement
from sracl_tui.studies.measures import Side
from sracl_tui.studies.planning import PlannedClaim

VOID = {"meta", "rect", "line", "circle", "path"}


class Checked(HTMLParser):
    """Checks that what is opened is closed, and gathers what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_is_one_file_with_everything_inside(sracl, home: Path) -> None:
    path = home / "study.html"
    sracl("study", "report", "tiny", "--out", str(path), home=home)
    text = path.read_text()
    page = Checked()
    page.feed(text)
    assert page.open == []
    assert page.loaded == []
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert 'name="viewport"' in text
    said = " ".join(page.texts)
    for word in (
        "SRA-CL gains.", "Who gains?", "there is none here", "loss.alpha", "SHA-256", "declared on", "sracl compare", "sracl sql",
        "sracl study run tiny", "Effective rank",
    ):  # fmt: skip
        assert word in said, word
    assert text.count('<circle class="dot"') <= 3
    for command in re.findall(r"<code>(sracl (?:compare|sql) [^<]*)</code>", text)[:1]:
        assert sracl(*command.split()[1:], home=home).stdout


def test_markdown_and_latex_have_the_same_verdicts(sracl, home: Path) -> None:
    for name in ("study.md", "study.tex"):
        sracl("study", "report", "tiny", "--out", str(home / name), home=home)
    markdown, latex = (home / "study.md").read_text(), (home / "study.tex").read_text()
    assert re.search(r"^\| \+ \| rank \| supported \|", markdown, re.M)
    assert re.search(r"^rank & supported & ", latex, re.M)
    assert re.search(r" Declared on [-\d]+ [:\d]+ UTC[.,]", markdown)
    assert "- **llm**: Summaries of an LLM help. Not run: there is none here." in markdown
    assert re.search(r"^\| plain \|  \| full, but loss.alpha = 0.0, loss.beta = 0.0 \|$", markdown, re.M)
    assert re.search(r"^\| full \| SRA-CL \| .*semantics.provider = titles, .*retrieval.k = 4, ", markdown, re.M)
    tables = [block for block in re.split(r"\n(?!\|)", markdown) if block.startswith("|")]
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}) == 1
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert "is no report" in sracl("study", "report", "tiny", "--out", "study.pdf", home=home, code=2).stderr


def test_leaks_stand_in_the_report_once_they_are_measured(sracl, home: Path) -> None:
    report = ("study", "report", "tiny", "--out", str(home / "study.md"))
    sracl(*report, home=home)
    (line,) = re.findall(r"^`(sracl leaks .*)`: not measured yet$", (home / "study.md").read_text(), re.M)
    measured = json.loads(sracl(*line.split()[1:], "--json", home=home).stdout)["leaks"]
    sracl(*report, home=home)
    rows = dict(re.findall(r"^\| demo \| (\w+) \| ([\d.]+) % \|", (home / "study.md").read_text(), re.M))
    assert {pool: f"{100 * shares['own_share']:.1f}" for pool, shares in measured.items()} == rows


def test_exports_have_every_verdict_and_number(sracl, home: Path) -> None:
    for words in (("verdicts.csv",), ("numbers.csv", "--numbers"), ("all.json",)):
        sracl("study", "export", "tiny", "--out", str(home / words[0]), *words[1:], home=home)
    everything = json.loads((home / "all.json").read_text())
    verdicts = list(csv.DictReader((home / "verdicts.csv").open()))
    numbers = list(csv.DictReader((home / "numbers.csv").open()))
    assert [row["verdict"] for row in verdicts] == [one["verdict"] for one in everything["verdicts"]]
    assert [float(row["mean"]) for row in numbers] == [one["mean"] for one in everything["numbers"]]
    assert {(row["variant"], row["measure"]) for row in numbers} == {
        ("full", "ndcg@20"), ("full", "effective_rank"), ("plain", "ndcg@20"),
    }  # fmt: skip
    for row in numbers:
        assert row["n"] == "2"
        assert row["command"]
    assert "no file is named" in sracl("study", "export", "tiny", home=home, code=2).stderr


def test_lists_and_pages_name_the_claims(sracl, home: Path) -> None:
    listed = {row["study"]: row for row in json.loads(sracl("study", "list", "--json", home=home).stdout)}
    assert listed["tiny"]["verdicts"]["not run"] == 1
    assert listed["quick"]["shipped"]
    (home / "studies" / "bad.toml").write_text("title = 1\n")
    assert "not valid: " in sracl("study", "list", home=home).stdout
    shown = sracl("study", "show", "tiny", home=home).stdout
    for words in (
        "question: Who gains?",
        "expects: full > plain in NDCG@20, tail users (margin 0.005)",
        "not run: there is none here",
    ):
        assert words in shown
    assert "command: sracl study run tiny --dataset demo --claim gain" in shown
    assert "2 of 2 seeds finished" in shown
    assert sracl("study", "show", "tiny", "--toml", home=home).stdout == (home / "studies" / "tiny.toml").read_text()
    document = json.loads(sracl("study", "show", "tiny", "--json", home=home).stdout)
    assert document["variants"][1]["preset"] == "backbone"


def judged(direction: str, values: list[float], margin: float) -> Judgement:
    claim = Claim(
        name="c<1>",
        sentence="It & that.",
        variant="a",
        value=0.0,
        metric="effective_rank",
        direction=direction,
        margin=margin,
    )  # type: ignore[arg-type]
    verdict = judge([JudgedClaim("c", claim.direction, margin)], [estimate_measure(0.0, values)])[0]
    side = Side("a", tuple("xy"), (1, 2), tuple(values))
    return Judgement(
        planned=PlannedClaim(claim, "demo"), primary=False, side=side, other=Side("0", (), (), (0.0,)), margin=margin,
        verdict=verdict, seeds_declared=2,
    )  # fmt: skip


def test_the_forest_plot_puts_what_is_claimed_on_the_right() -> None:
    rows = [judged("higher", [3.0, 3.1], 1.0), judged("lower", [3.0, 3.1], 1.0), judged("equal", [0.1, 0.11], 1.0)]
    drawn = forest(rows, several=False)
    assert "c&lt;1&gt;" in drawn
    assert "It &amp; that." in drawn
    dots = [float(x) for x in re.findall(r'<circle class="dot" cx="([\d.]+)"', drawn)]
    zero = float(re.findall(r'class="zero" x1="([\d.]+)"', drawn)[0])
    band = [float(x) for x in re.findall(r'class="band" x="([\d.]+)" y="\d+" width="([\d.]+)"', drawn)[0]]
    right, left, inside = dots
    assert right - zero == pytest.approx(zero - left, abs=0.2)
    assert right > band[0] + band[1]
    assert (right - zero) / (band[1] / 2) == pytest.approx(3.05, abs=0.02)
    assert band[0] < inside < band[0] + band[1]
    assert [one.outcome for one in rows] == ["supported", "contradicted", "supported"]
    assert forest([], several=False) == ""


def test_an_interval_beyond_the_axis_ends_in_a_tip() -> None:
    rows = [judged("higher", [0.5, 0.6], 1.0) for _ in range(4)] + [judged("higher", [900.0, 901.0], 1.0)]
    drawn = forest(rows, several=True)
    assert drawn.count('class="tip"') == 2
    assert drawn.count('class="dot"') == 4
    assert "c&lt;1&gt;@demo" in drawn


def test_what_fewer_seeds_than_declared_show_is_so_far() -> None:
    whole, part = judged("higher", [3.0, 3.1], 1.0), judged("higher", [3.0, 3.1], 1.0)
    part = replace(part, seeds_declared=5)
    assert (whole.text, part.text) == ("supported", "supported so far")
    assert (whole.outcome, part.outcome) == ("supported", "supported")
    assert not judged("higher", [0.0, 3.0], 1.0).preliminary
    assert "so far" not in forest([whole], several=False)
    assert "supported so far" in forest([part], several=False)
