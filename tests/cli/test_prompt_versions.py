"""Runs of equal settings, `prompt=auto` among them, whose texts were written by different versions of the prompt or rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.semantics.summaries.sentence_provider import SentenceProvider
from tests.support.commands import sracl_inside
from tests.support.quick_homes import quick_homes

SMALL = ["max_users=40", "epochs=1", "encoder=tfidf", "threads=1", "k=4", "width=16", "inner=16"]
RUN = ("run", *(word for part in SMALL for word in ("--set", part)), "--headless", "--group", "mine")
STUDY = f"""title = "Two versions of the rules"
datasets = ["demo"]
metric = "ndcg@20"
[seeds]
first = 1
[settings]
{chr(10).join(part.replace("=tfidf", ' = "tfidf"') for part in SMALL)}
[variants.full]
about = "SRA-CL"
[variants.plain]
preset = "backbone"
[claims.gain]
sentence = "SRA-CL gains."
variant = "full"
against = "plain"
margin = 0.01
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seed 1 by rules of another name, then seed 2 by today's."""
    folder = tmp_path_factory.mktemp("home")
    with quick_homes(tmp_path_factory.getbasetemp() / "quick"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(SentenceProvider, "prompt_version", "offline-0")
        sracl_inside(folder, *RUN, "--seed", "1")
        patch.undo()
        sracl_inside(folder, *RUN, "--seed", "2")
    (folder / "two.toml").write_text(STUDY, "utf-8")
    return folder


def document(home: Path, *words: str):
    return json.loads(sracl_inside(home, *words, "--json").stdout)


def test_they_have_one_hash(home):
    first, second = document(home, "runs")
    assert first["config_hash"] == second["config_hash"]
    assert document(home, "show", second["run_id"])["prompts"] == "offline-0"


def test_they_are_no_seeds_of_one_config(home):
    found = document(home, "compare", "mine", "--split", "test")
    assert [len(one["run_ids"]) for one in found["sets"]] == [1, 1]
    assert {one["label"].rpartition(", ")[2] for one in found["sets"]} == {"offline-0)", "offline-2)"}


def test_a_study_takes_the_newest_version_alone(home):
    planned = document(home, "study", "plan", "two.toml", "--seeds", "2")
    runs = {(run["variant"], run["seed"]): run for run in planned["runs"]}
    assert runs["full", 2]["status"] == "finished"
    assert runs["full", 1]["status"] != "finished", "its texts are those of an earlier version"
