"""Studies through the queue: what is run, what is reused, what continues, and what is said."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.evaluation.significance import compare
from engine.events import EpochFinished
from sracl_tui.runs.request import RunRequest
from sracl_tui.studies import judging, running
from sracl_tui.studies.library import find_study
from sracl_tui.studies.running import StudyOptions, run_study
from store.home import Home
from store.journal.journal import read_events
from store.maintenance.repair import repair_home
from store.opening import open_store
from store.publishing.publish import write_sql
from store.queries import runs, studies
from store.queries.pace import pace
from store.queue import Queue
from store.transfer.bundle import PARTS
from tests.studies.conftest import SMALL, STUDY
from tests.support.commands import ROOT
from tests.support.inside_queue import Inside


def document(sracl: Any, home: Path, *words: str, code: int = 0) -> Any:
    return json.loads(sracl("study", *words, "--json", home=home, code=code).stdout)


def change(home: Path, old: str, new: str) -> None:
    path = home / "studies" / "tiny.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_a_study_is_run_once_and_finished_runs_are_never_run_again(sracl, home, inside) -> None:
    found = document(sracl, home, "run", "tiny")
    assert inside.submitted == []
    assert found["counts"] == {"finished": 4, "open": 0, "interrupted": 0, "missing": 0}
    verdicts = {one["claim"]: one for one in found["verdicts"]}
    assert list(verdicts) == ["gain", "tail", "rank", "llm"]
    assert verdicts["rank"]["verdict"] == "supported"
    assert (verdicts["llm"]["verdict"], verdicts["llm"]["reason"]) == ("not run", "there is none here")
    assert verdicts["gain"]["declaration"].startswith("declared on ")
    assert "of its runs were finished" not in verdicts["gain"]["declaration"]
    assert verdicts["gain"]["users_counted"] == 60 > verdicts["tail"]["users_counted"] > 0
    assert verdicts["gain"]["p_holm"] is not None
    assert verdicts["rank"]["p_holm"] is None


def test_the_numbers_are_those_of_the_ranks(sracl, home) -> None:
    found = {one["claim"]: one for one in json.loads(exported(sracl, home))["verdicts"]}["gain"]
    with open_store(Home(home)) as store:
        sides = [
            [runs.ranks(store, run_id, "test")[1] for run_id in found[side]["runs"]] for side in ("against", "variant")
        ]
    (test,) = [one for one in compare(*sides, ks=(20,), names=("ndcg",)) if one.metric == "ndcg@20"]
    assert found["difference"] == pytest.approx(test.difference, abs=1e-12)
    assert found["p_value"] == pytest.approx(test.p_value, rel=1e-9)
    ndcg = [float(np.where(ranks <= 20, 1 / np.log2(ranks + 1.0), 0).mean()) for ranks in sides[1]]
    assert found["variant"]["values"] == pytest.approx(ndcg)
    assert found["variant"]["seeds"] == [1, 2]
    again = sracl(*found["command"].split()[1:], "--json", home=home).stdout
    (tested,) = [test for test in json.loads(again)["tests"] if test["metric"] == "ndcg@20"]
    assert tested["difference"] == pytest.approx(found["difference"], abs=1e-12)


def test_a_study_goes_on_in_another_home_with_what_bundles_bring(sracl, home, inside, tmp_path) -> None:
    """Bundles without texts and neighbors have what verdicts rest on."""
    before = document(sracl, home, "run", "tiny")
    (bundles := tmp_path / "bundles").mkdir()
    runs_of = [run for one in before["verdicts"][:1] for side in ("variant", "against") for run in one[side]["runs"]]
    left_out = [word for part in ("patch", "texts", "neighbors", "machine") for word in ("--without", part)]
    sracl("export", *runs_of, "--bundle", *left_out, "--out", str(bundles), home=home)
    files = sorted(map(str, bundles.iterdir()))
    assert [Path(file).name for file in files] == sorted(f"{run}.sracl.zip" for run in runs_of)
    with zipfile.ZipFile(files[0]) as bundle:
        (row,) = pq.read_table(io.BytesIO(bundle.read("tables/runs.parquet"))).to_pylist()
        assert row["seed"] in (1, 2)
        assert {row[name] for name in PARTS["machine"][0]} == {None}
    other = tmp_path / "other"
    (other / "studies").mkdir(parents=True)
    (other / "studies" / "tiny.toml").write_text((home / "studies" / "tiny.toml").read_text())
    sracl("import-bundle", files[0], home=other)
    told = sracl("import-bundle", *files, home=other)
    assert "is in this home already" in told.stderr
    assert len(told.stdout.splitlines()) == len(files) - 1
    assert "there is no dataset" in sracl("study", "run", "tiny", home=other, code=2).stderr
    texts = [
        word
        for one in ("provider=titles", "vector=item-mean", "encoder=tfidf", "max_users=60")
        for word in ("--set", one)
    ]
    sracl("neighbors", "--dataset", "demo", *texts, home=other)  # makes the data
    inside.submitted.clear()
    after = document(sracl, other, "run", "tiny")
    assert inside.submitted == []
    assert after["counts"]["finished"] == before["counts"]["finished"]
    for one, again in zip(before["verdicts"], after["verdicts"], strict=True):
        for name in ("verdict", "difference", "p_value", "low", "high"):
            assert again.get(name) == one.get(name), (one["claim"], name)


def exported(sracl: Any, home: Path) -> str:
    sracl("study", "export", "tiny", "--out", str(home / "all.json"), home=home)
    return (home / "all.json").read_text()


def test_an_interrupted_study_goes_on_where_it_was(sracl, fresh, inside) -> None:
    def stop_second(request: RunRequest) -> None:
        if len(Inside.submitted) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    Inside.before = stop_second
    stopped = sracl("study", "run", "tiny", "--headless", home=fresh, code=130)
    assert "sracl study run tiny" in stopped.stderr
    assert len(inside.submitted) == 1
    with open_store(Home(fresh)) as store:
        states = [row["state"] for row in runs.list_runs(store)]
    assert sorted(states) == ["finished", "queued", "queued", "queued"]
    Inside.before = None
    first = list(inside.submitted)
    found = document(sracl, fresh, "run", "tiny")
    assert found["counts"]["finished"] == 4
    assert len(inside.submitted) == 4
    assert len(set(inside.submitted)) == 4
    assert inside.submitted[:1] == first


def test_a_stopped_run_continues_from_its_checkpoint(sracl, fresh, inside) -> None:
    change(fresh, "epochs = 1", "epochs = 3\npatience = 3")

    def stop(event: object) -> None:
        if isinstance(event, EpochFinished) and event.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    Inside.listener = stop
    words = ("study", "run", "tiny", "--headless", "--claim", "rank", "--seeds", "1")
    stopped = sracl(*words, home=fresh, code=1)
    assert "stopped: asked to stop (SIGTERM)" in stopped.stderr
    Inside.listener = None
    again = sracl(*words, home=fresh)
    assert "1 continued, 0 new" in again.stderr
    (run_id,) = set(inside.submitted)
    events = [line.event for _, line in read_events(fresh / "runs" / run_id)]
    assert events.count("run_resumed") == 1
    assert events.count("epoch_finished") == 3, "the first one was not trained again"
    with open_store(Home(fresh)) as store:
        assert runs.find_run(store, run_id)["state"] == "finished"
        assert pace(store, [run_id])[run_id]["seconds_per_step"] > 0
    entries = [entry.state for entry in Queue(Home(fresh)).entries()]
    assert entries == ["done"]


def test_a_claim_that_is_changed_after_its_runs_says_so(sracl, home, inside) -> None:
    change(home, "margin = 0.005\n[claims.tail]", "margin = 0.5\n[claims.tail]")
    found = {one["claim"]: one for one in document(sracl, home, "run", "tiny")["verdicts"]}
    assert inside.submitted == []
    assert found["gain"]["changed"]
    assert found["gain"]["declaration"].startswith("changed after it was declared on")
    assert not found["tail"]["changed"]
    assert "changed after it was declared" in sracl("study", "run", "tiny", home=home).stdout
    change(home, "margin = 0.5\n[claims.tail]", "margin = 0.005\n[claims.tail]")
    found = {one["claim"]: one for one in document(sracl, home, "run", "tiny")["verdicts"]}
    assert not found["gain"]["changed"], "as it was declared first"


def test_a_claim_that_comes_after_its_runs_says_so(sracl, home, inside) -> None:
    with (home / "studies" / "tiny.toml").open("a") as file:
        file.write(
            '[claims.late]\nsentence = "It loses."\nvariant = "full"\nagainst = "plain"\ndirection = "lower"\nmargin = 0.005\n'
        )
    found = {one["claim"]: one for one in document(sracl, home, "run", "tiny")["verdicts"]}
    assert found["late"]["declaration"].endswith("when 4 of its runs were finished")
    assert inside.submitted == []


def test_requirements_decide_the_exit_code(sracl, home, inside) -> None:
    sracl("study", "run", "tiny", "--require", "rank=supported", "--require", "llm=not-run", home=home)
    missed = sracl("study", "run", "tiny", "--require", "rank@demo=contradicted", home=home, code=1)
    assert "required: rank@demo is supported, not contradicted" in missed.stderr
    assert (
        "was not judged on office"
        in sracl("study", "run", "tiny", "--require", "rank@office=supported", home=home, code=1).stderr
    )
    for wrong in ("rank", "rank=good", "rang=supported"):
        assert "--require" in sracl("study", "run", "tiny", "--require", wrong, home=home, code=2).stderr


def test_seeds_are_added_by_the_declared_rule_up_to_its_cap(sracl, home, inside) -> None:
    found = document(sracl, home, "run", "tiny", "--until-decided")
    undecided = {one["claim"] for one in found["verdicts"] if one["outcome"] == "undecided"}
    assert undecided, "60 users decide nothing"
    assert len(inside.submitted) == 2
    assert found["looks"] == 2
    assert {one["claim"]: one["variant"]["seeds"] for one in found["verdicts"]}["gain"] == [1, 2, 3]
    assert document(sracl, home, "run", "tiny")["counts"]["finished"] == 6, "seeds that were added stay"
    change(home, "add = 1\ncap = 3", "")
    assert "no rule that adds seeds" in sracl("study", "run", "tiny", "--until-decided", home=home, code=2).stderr


def test_what_was_declared_and_judged_survives_a_rebuilt_database(sracl, home, inside) -> None:
    place = Home(home)
    with open_store(place) as store:
        before = studies.last_verdicts(store, "tiny").to_pylist(), studies.first_declarations(store, "tiny")
    assert {row["claim"]: row["verdict"] for row in before[0]}["rank"] == "supported"
    place.database.write_bytes(b"damaged")
    assert repair_home(place).done
    with open_store(place) as store:
        assert (studies.last_verdicts(store, "tiny").to_pylist(), studies.first_declarations(store, "tiny")) == before


def test_runs_of_any_origin_are_reused(sracl, home, inside, tmp_path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(STUDY.replace("Does anything gain?", "Once more?"))
    found = document(sracl, home, "run", str(other))
    assert inside.submitted == []
    assert all(row["status"] == "finished" for row in found["runs"])
    assert found["verdicts"][0]["declaration"].endswith("when 4 of its runs were finished")
    given = tmp_path / "given.toml"
    text = f'title = "Given?"\nseeds = 2\n{SMALL}\n[variants.full]\n[variants.elsewhere]\nruns = "plain-1"\n'
    given.write_text(f'{text}[claims.x]\nsentence = "Equal."\nvariant = "full"\nagainst = "elsewhere"\nmargin = 0.1\n')
    assert document(sracl, home, "run", str(given))["verdicts"][0]["outcome"] in (
        "undecided",
        "equivalent",
        "supported",
    )
    given.write_text(given.read_text().replace("plain-1", "study-tiny"))
    assert "several settings" in document(sracl, home, "run", str(given))["verdicts"][0]["reason"]
    given.write_text(given.read_text().replace("study-tiny", "nothing"))
    assert "nothing" in document(sracl, home, "run", str(given))["verdicts"][0]["reason"]


def test_a_declaration_counts_all_runs_that_there_were_whatever_is_asked_for(sracl, home, inside, tmp_path) -> None:
    other = tmp_path / "again.toml"
    other.write_text(STUDY.replace("Does anything gain?", "Again?"))
    document(sracl, home, "run", str(other), "--claim", "rank", "--seeds", "1")
    with open_store(Home(home)) as store:
        found = {claim: one["seeds"] for (claim, _), one in studies.first_declarations(store, "again").items()}
    assert found == {"gain": 4, "tail": 4, "rank": 2, "llm": 0}


def test_a_removed_run_is_told_and_run_again(sracl, home, inside) -> None:
    found = document(sracl, home, "run", "tiny")
    gone, back = (one["run_id"] for one in found["runs"] if one["variant"] == "full")
    sracl("remove", gone, back, "--yes", home=home)
    plan = document(sracl, home, "plan", "tiny")
    assert plan["counts"]["missing"] == 2
    assert sorted(filter(None, (one["removed"] for one in plan["runs"]))) == sorted([gone, back])
    said = sracl("study", "plan", "tiny", home=home).stdout
    assert f"removed: full, seed 1 ({gone})" in said
    assert "sracl restore RUN" in said
    assert "(2 removed)" in sracl("study", "show", "tiny", home=home).stdout
    sracl("restore", back, home=home)
    sracl("remove", "--empty", "--yes", home=home)
    said = sracl("study", "run", "tiny", "--headless", home=home).stderr
    assert f"removed: full, seed 1 ({gone}): run again; they were deleted for good" in said
    assert len(inside.submitted) == 1
    assert document(sracl, home, "plan", "tiny")["counts"]["finished"] == 4
    assert "removed:" not in sracl("study", "plan", "tiny", home=home).stdout


def test_what_may_be_another_reason_of_a_difference_is_told(sracl, home, inside, tmp_path) -> None:
    same = tmp_path / "same.toml"
    text = f'title = "Same?"\nseeds = 1\n{SMALL}\n[variants.full]\n[variants.again]\nruns = "full-1"\n[variants.plain]\npreset = "backbone"\n'
    same.write_text(
        f'{text}[claims.x]\nsentence = "Equal."\nvariant = "again"\nagainst = "full"\nmargin = 0.1\n'
        '[claims.pace]\nsentence = "As fast."\nvariant = "full"\nagainst = "plain"\nmetric = "seconds_per_step"\nmargin = "10 %"\n'
    )
    notes = {one["claim"]: one["notes"] for one in document(sracl, home, "run", str(same))["verdicts"]}
    assert notes["x"] == ["the ranks of all users are equal on both sides: the two settings make no difference"]
    assert notes["pace"] == []
    write_sql(Home(home), "UPDATE runs SET git_sha = 'another', machine = 'another' WHERE name = 'plain-1'")
    notes = {one["claim"]: one["notes"] for one in document(sracl, home, "run", str(same))["verdicts"]}
    assert notes["pace"] == [
        "the two sides were run by different versions of the code",
        "the two sides were measured on different machines",
    ]
    write_sql(Home(home), "UPDATE runs SET machine = NULL WHERE name = 'plain-1'")
    notes = {one["claim"]: one["notes"] for one in document(sracl, home, "run", str(same))["verdicts"]}
    assert notes["pace"][1:] == ["the machine of some runs is not known"]
    assert inside.submitted == []


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("train", "1", []),
        ("train", "2", ["the two sides were run by different versions of the code"]),
        ("ranks", "2", ["ranks of one side were imported: the code that made them is not known"]),
        ("ranks", "1", ["ranks of one side were imported: the code that made them is not known"]),
    ],
)
def test_imported_ranks_have_no_version_of_the_code(kind: str, code: str, said: list[str]) -> None:
    def row(kind: str, code: str) -> dict[str, Any]:
        return {"kind": kind, "code_version": code, "git_sha": None, "machine": "m"}

    sides = {"full": [row("train", "1")], "elsewhere": [row(kind, code)]}
    claim = SimpleNamespace(variants=("full", "elsewhere"), against="elsewhere", metric="ndcg@20")
    plan = SimpleNamespace(finished=lambda name, dataset: sides[name])
    found = judging._differing_conditions(plan, SimpleNamespace(claim=claim, dataset="demo", reason=""))  # pyright: ignore
    assert found == said


def test_claims_that_cannot_be_run_here_are_listed_with_the_reason(sracl, fresh, inside, monkeypatch) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    found = document(sracl, fresh, "plan", "sracl-paper")
    assert found["runs"] == []
    assert all(
        "there is no data set office" in one["reason"] or "version" in one["reason"] or "copy" in one["reason"]
        for one in found["not_run"]
    )
    here = document(sracl, fresh, "plan", "sracl-paper", "--dataset", "demo", "--claim", "llm", "--claim", "gain")
    reasons = {one["claim"]: one["reason"] for one in here["not_run"]}
    assert "DEEPSEEK_API_KEY is not set" in reasons["llm"]
    assert {(row["variant"], row["status"]) for row in here["runs"]} == {("sracl", "missing"), ("backbone", "missing")}
    assert len(here["runs"]) == 10


def test_a_plan_counts_what_is_there_and_says_what_so_many_seeds_can_show(sracl, home) -> None:
    whole = document(sracl, home, "plan", "tiny")
    assert whole["estimate"]["hours"] == 0
    assert (whole["until_decided_at_most"]["runs"], whole["until_decided_at_most"]["to_do"]) == (6, 2)
    assert "at most 6 runs" in sracl("study", "plan", "tiny", home=home).stdout
    more = document(sracl, home, "plan", "tiny", "--seeds", "4")
    assert more["until_decided_at_most"] is None
    assert more["counts"] == {"finished": 4, "open": 0, "interrupted": 0, "missing": 4}
    assert more["estimate"]["hours"] > 0
    assert more["estimate"]["usd"] == {"low": 0.0, "high": 0.0}
    assert "from 2 finished runs" in more["estimate"]["variants"][0]["basis"]
    text = sracl("study", "plan", "tiny", "--seeds", "4", home=home).stdout
    assert "no endpoint is asked" in text
    smallest = [{one["claim"]: one["smallest"] for one in found["power"]} for found in (whole, more)]
    assert smallest[1]["gain"] < smallest[0]["gain"]
    assert smallest[0]["rank"] > 0
    text = sracl("study", "plan", "tiny", "--seeds", "4", home=home).stdout
    assert "4 to be run" in text
    assert "not run: llm@demo: there is none here" in text


def test_a_variant_that_was_never_run_is_priced_by_the_speed_of_the_others(sracl, home) -> None:
    with (home / "studies" / "tiny.toml").open("a") as file:
        file.write(
            '[variants.more]\nk = 8\n[claims.k]\nsentence = "More."\nvariant = "more"\nagainst = "full"\nmargin = 0.005\n'
        )
    (more,) = document(sracl, home, "plan", "tiny")["estimate"]["variants"]
    assert (more["variant"], more["runs"]) == ("more", 2)
    assert "at the speed of 2 other configs that finished on this data set" in more["basis"]


def test_a_run_without_waiting_leaves_the_rest_to_the_queue(sracl, fresh, inside) -> None:
    found = document(sracl, fresh, "run", "tiny", "--no-wait", "--claim", "rank", "--seeds", "1")
    assert [row["variant"] for row in found["runs"]] == ["full"]
    assert (
        document(sracl, fresh, "run", "tiny", "--claim", "rank", "--seeds", "1")["verdicts"][0]["outcome"]
        == "undecided"
    )
    assert len(inside.submitted) == 1
    events = [line.event for _, line in read_events(fresh / "edits")]
    assert events == ["study_declared", "study_judged"], "declared once, before the run"


def test_a_failed_run_is_told_and_run_anew_the_next_time(sracl, fresh, inside) -> None:
    change(fresh, "epochs = 1", "epochs = 1\nlr = 1e30\nbatch = 16")
    failed = sracl("study", "run", "tiny", "--headless", "--claim", "rank", "--seeds", "1", home=fresh, code=1)
    assert "failed: " in failed.stderr
    assert "no longer a number" in failed.stderr
    sracl("study", "run", "tiny", "--headless", "--claim", "rank", "--seeds", "1", home=fresh, code=1)
    assert len(set(inside.submitted)) == len(inside.submitted) == 2


def test_real_processes_of_the_real_queue_are_waited_for(fresh, monkeypatch) -> None:
    monkeypatch.setattr(running, "NEWS_SECONDS", 0.0)
    change(fresh, "epochs = 1", "epochs = 40\npatience = 40")
    home = Home(fresh)
    said: list[str] = []
    options = StudyOptions(claims=("rank",), seeds=1)
    outcome = run_study(home, find_study(home, "tiny"), options, report=said.append, poll=0.05)
    assert [run.status for run in outcome.plan.runs] == ["finished"]
    assert said[0] == "1 runs: 0 finished, 0 running or queued, 0 continued, 1 new"
    assert re.fullmatch(r"1/1: full, demo, seed 1 \([\w-]+\) finished after \d+ s", said[-1])
    news = {line for line in said if line.startswith("running: full, seed 1, after epoch ")}
    assert news
    assert all(line.endswith(" of 40; 0 wait") for line in news)


def test_options_are_checked_before_anything_is_run(sracl, fresh, inside) -> None:
    assert "no claim 'gan'" in sracl("study", "run", "tiny", "--claim", "gan", home=fresh, code=2).stderr
    assert "no study 'tinny'" in sracl("study", "run", "tinny", home=fresh, code=2).stderr
    outcome = run_study(
        Home(fresh), find_study(Home(fresh), "tiny"), StudyOptions(claims=("llm",)), report=lambda text: None
    )
    assert inside.submitted == []
    assert [one.outcome for one in outcome.judgements if one.claim.name == "llm"] == ["not run"]


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_the_commands_of_continuous_integration_run(sracl, home, inside, name: str) -> None:
    """With the tiny study in place of `quick`, whose claims it has not."""
    text = (ROOT / "examples" / "ci" / name).read_text()
    lines = [line.strip().removeprefix("- ") for line in text.splitlines()]
    commands = [line.split()[1:] for line in lines if line.startswith("sracl ")]
    assert [words[:3] for words in commands] == [
        ["study", word, "quick"] for word in ("plan", "run", "report", "export")
    ]
    quick = find_study(Home(home), "quick")
    for words in commands:
        claims = [
            word.partition("=")[0] for word, before in zip(words[1:], words, strict=False) if before == "--require"
        ]
        assert set(claims) <= set(quick.claims)
        tiny = {"quick": "tiny", "gain=supported": "rank=supported", "placebo=supported": "llm=not-run"}
        sracl(*[tiny.get(word, word) for word in words], home=home)
    assert (home / "study.html").exists()
    assert json.loads((home / "study.json").read_text())["verdicts"]
    assert inside.submitted == []


def test_all_claims_in_the_primary_metric_on_all_data_are_one_family(sracl, home, inside) -> None:
    """Of one data set two claims, as one that its file says is not run does not count; of two data sets four."""
    looks = 2
    one = {verdict["claim"]: verdict for verdict in document(sracl, home, "run", "tiny")["verdicts"]}
    assert one["gain"]["level"] == pytest.approx(1 - 0.05 / looks / 2)
    assert one["rank"]["level"] == pytest.approx(1 - 0.05 / looks), "alone in its metric"
    words = ("run", "tiny", "--dataset", "demo", "--dataset", "nosuch", "--require", "rank@demo=supported")
    two = {(verdict["claim"], verdict["dataset"]): verdict for verdict in document(sracl, home, *words)["verdicts"]}
    assert two["gain", "demo"]["level"] == pytest.approx(1 - 0.05 / looks / 4)
    assert two["gain", "nosuch"]["verdict"] == "not run"
    assert "no data set nosuch" in two["gain", "nosuch"]["reason"]
    missed = sracl("study", *words[:-1], "rank=supported", home=home, code=1)
    assert "required: rank@nosuch is not run, not supported" in missed.stderr
    assert re.search(r"^\+  rank@demo +supported", missed.stdout, re.M)
