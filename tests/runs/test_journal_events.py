"""Every event that a journal may hold states its facts, and the recorder writes it by them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.config import Config
from engine.events import EpochFinished, SummariesMade, Warned, event_classes, ignore
from sracl_tui.runs.journal_events import FACTS, SKIPPED_BY_LIST, SKIPPED_BY_LOG, facts_of
from sracl_tui.runs.recorder import Recorder
from sracl_tui.runs.request import RunRequest
from store.home import Home
from store.journal.event_facts import PLAIN, RECORDED

NAMES = Path(__file__).parents[1] / "golden" / "names" / "journal_events.txt"


def test_every_event_of_recorded_journals_has_facts() -> None:
    named = {line.partition(".")[0] for line in NAMES.read_text().splitlines()}
    assert len(named) > 20
    assert named <= FACTS.keys()
    assert not RECORDED.keys() & {event.name for event in event_classes()}, "stated once"
    assert facts_of("of a later version") == PLAIN


def test_facts() -> None:
    assert {name for name, facts in FACTS.items() if facts.durable} == {
        *("summaries_made", "api_called", "epoch_finished", "run_created", "run_started", "run_resumed", "run_ended"),
        *("run_tagged", "run_noted", "run_renamed", "bundle_imported"),
        *("run_queued", "study_declared", "study_judged", "runs_removed", "runs_restored", "trash_emptied"),
        *("finding_added", "finding_noted", "findings_removed", "findings_restored"),
    }
    assert {name for name, facts in FACTS.items() if facts.quiet} == {
        *("step_finished", "stage_progress", "heartbeat", "summaries_made", "summaries_linked", "vectors_made"),
        *("weights_seen", "machine_sampled", "epoch_recorded"),
    }
    assert {name for name, facts in FACTS.items() if facts.tabular} == {
        *("summaries_made", "api_called", "summaries_linked", "vectors_made", "neighbors_found", "evaluated"),
        *("weights_sampled", "epoch_recorded"),
    }
    assert {
        *("summaries_made", "summaries_linked", "vectors_made", "neighbors_found", "api_called", "epoch_recorded")
    } == SKIPPED_BY_LIST
    assert {"summaries_made", "summaries_linked", "vectors_made", "epoch_recorded"} == SKIPPED_BY_LOG


def test_the_recorder_writes_an_event_by_its_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.create()
    recorder = Recorder(home, RunRequest(run_id="one", config=Config()), listener=ignore, quiet=True)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    seen: dict[str, bool] = {}

    def written(event: str, **fields: Any) -> None:
        before = len(synced)
        recorder.write(event, **fields)
        seen[event] = len(synced) > before

    for event in (
        EpochFinished(epoch=1, step=1, seconds=1.0, evaluate_seconds=1.0, improved=True, bad_epochs=0, metrics=()),
        SummariesMade(columns={"key": ["k"], "text": ["likes tea"]}),
        Warned(message="beware"),
    ):
        before = len(synced)
        recorder.report(event)
        seen[event.name] = len(synced) > before
    written("heartbeat")
    written("run_resumed", epoch=1, step=1, best_epoch=None)
    monkeypatch.undo()
    recorder.close()
    assert seen == {
        "epoch_finished": True,
        "summaries_made": True,
        "warned": False,
        "heartbeat": False,
        "run_resumed": True,
    }
    lines = (home.run_folder("one") / "events-0001.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["columns"] == {"key": ["k"], "text": ["likes tea"]}, (
        "a small durable table is in its line"
    )
