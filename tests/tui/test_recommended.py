"""What a model recommends, in the Inspector and where the history is changed: a real process with a real model."""

from __future__ import annotations

import os
import signal

import pytest
from textual.widgets import Static

from engine.errors import CheckpointError
from engine.training.trainer import BEST
from sracl_tui.services.scoring import Neighbor, Question, ScoringProcess
from sracl_tui.services.user_inspection import inspect_user
from sracl_tui.services.user_recommendations import history_at, recommended
from sracl_tui.services.what_if import WhatIf, find_neighbors
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.find_item import FindItem
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.item import ItemScreen
from sracl_tui.tui.screens.recommended_pane import RecommendedPane
from sracl_tui.tui.screens.what_if import WhatIfScreen
from sracl_tui.tui.widgets.table import Table
from sracl_tui.tui.widgets.text_dialog import EditDialog, TextBox
from store.opening import open_store
from store.queries import runs, users
from tests.support.steady_pilot import SteadyPilot, drive


@pytest.fixture
def scoring(home):
    made = ScoringProcess(home)
    yield made
    made.close()


@pytest.mark.parametrize("split", ["test", "valid"])
def test_targets_have_the_ranks_that_the_run_measured(home, scoring, split):
    with open_store(home) as store:
        run = runs.find_run(store, "whole")
        measured = users.target_ranks(store, run["run_id"], split)
        for user_id, rank in measured.items():
            history, target = history_at(inspect_user(store, run["run_id"], f"#{user_id}"), split)
            assert target is not None
            assert scoring.ask(Question(run["run_id"], history, (target,))).model.ranks[target] == rank
    assert len(measured) == 60


def test_the_list_has_the_target_below_and_counts_the_neighbors_that_have_an_item(home, scoring):
    with open_store(home) as store:
        run, other = (_run_id(home, preset) for preset in ("default", "backbone"))
        for user in range(1, 13):
            found = inspect_user(store, run, f"#{user}")
            shown = recommended(store, scoring, found, "test", second_run=other)
            ranks = [item.rank for item in shown.items]
            assert ranks[:10] == list(range(1, 11))
            assert shown.target is not None
            assert shown.target.rank == found.ranks["test"]
            assert shown.target.second_rank == inspect_user(store, other, f"#{user}").ranks["test"]
            holders = {
                item.item_id: users.anchors_with_item(
                    store,
                    runs.find_run(store, run)["dataset_id"],
                    item.item_id,
                    [n["neighbor_id"] for n in found.neighbors],
                )
                for item in shown.items
            }
            assert [item.has for item in shown.items] == [
                sum(word == "has" for word in holders[item.item_id].values()) for item in shown.items
            ]


def test_the_sample_of_one_neighbor_that_is_the_history_itself_is_the_history(home, scoring):
    with open_store(home) as store:
        found = inspect_user(store, "whole", "#3")
    history, target = history_at(found, "prefix")
    assert target is not None
    own = Neighbor(3, len(history), 0.4)
    answer = scoring.ask(Question(found.run_id, history, (target,), neighbors=(own,)))
    assert answer.sample is not None
    assert answer.sample.ranks == answer.model.ranks
    assert answer.sample.items == answer.model.items
    assert answer.cosine == pytest.approx(1, abs=1e-6)


def test_a_process_that_was_killed_is_told_and_the_next_question_starts_another(home, scoring):
    question = Question(_run_id(home), (1, 2))
    first = scoring.ask(question)
    os.kill(scoring._process.pid, signal.SIGKILL)
    scoring._process.wait()
    assert scoring.ask(question) == first


def test_a_model_that_is_gone_or_damaged_is_a_sentence_and_others_are_answered(home, scoring):
    best = home.run_folder(_run_id(home)) / BEST
    best.write_bytes(best.read_bytes()[:100])
    with pytest.raises(CheckpointError):
        scoring.ask(Question(_run_id(home), (1, 2)))
    best.unlink()
    with pytest.raises(CheckpointError, match="has no trained model"):
        scoring.ask(Question(_run_id(home), (1, 2)))
    assert scoring.ask(Question(_run_id(home, "backbone"), (1, 2))).model.items
    scoring.close()
    with pytest.raises(CheckpointError, match="closing"):
        scoring.ask(Question(_run_id(home, "backbone"), (1, 2)))


def _run_id(home, preset: str = "default") -> str:
    with open_store(home) as store:
        return next(row["run_id"] for row in runs.list_runs(store) if row["preset"] == preset)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_inspector_shows_what_is_recommended(home, size):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        pane = app.screen.query_one(RecommendedPane)
        table = pane.query_one(Table)
        assert pane.shown is not None
        rank = app.screen.found.ranks["test"]
        assert f"test target: rank {rank:,}" in str(pane.query_one("#recommended-text", Static).content)
        assert [row.sign for row in table.data.rows].count("→") == 1
        await pilot.press("t")
        await pilot.quiet()
        rank = app.screen.found.ranks["valid"]
        assert f"validation target: rank {rank:,}" in str(pane.query_one("#recommended-text", Static).content)
        await pilot.press("t", "p")
        await pilot.quiet()
        assert pane.shown.target.item_id == app.screen.found.anchor["item_id"]
        app.screen.show_pane("recommended")
        await pilot.quiet()
        await pilot.press("enter")
        await pilot.quiet()
        assert isinstance(app.screen, ItemScreen)


async def what_if(app: SraclApp, pilot: SteadyPilot) -> WhatIfScreen:
    """The screen for the first user of the newest run."""
    for key in ("i", "w"):
        await pilot.quiet()
        await pilot.press(key)
    await pilot.quiet()
    assert isinstance(app.screen, WhatIfScreen)
    return app.screen


async def test_a_history_is_changed_and_the_ranking_follows(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await what_if(app, pilot)
        assert screen.answer is not None
        before, run_id = screen.answer.now, screen.bench.run_id
        first = screen.bench
        assert all(row.cells[1] == "=" for row in screen.query_one("#ranked-table", Table).data.rows)
        for _ in range(3):
            await pilot.press("end", "space", "up")
        await pilot.quiet()
        assert screen.bench.history != first.history
        asked = app.scoring.ask(Question(run_id, screen.bench.history, (first.target,))).model
        assert screen.answer.now.model.items == asked.items
        assert screen.answer.now.model.ranks[first.target] == asked.ranks[first.target]
        assert screen.answer.before.model.ranks[first.target] == before.model.ranks[first.target]
        await pilot.press("R")
        await pilot.quiet()
        assert screen.bench == first
        assert screen.answer.now.model.items == before.model.items
        await pilot.press("home", "J")
        await pilot.quiet()
        assert screen.bench.history[:2] == (first.history[1], first.history[0])
        await pilot.press("u", "home", "a")
        await pilot.quiet()
        assert isinstance(app.screen, FindItem)
        await pilot.press("down", "enter")
        await pilot.quiet()
        assert len(screen.bench.steps) == len(first.steps) + 1
        assert screen.bench.steps[0].added
        assert screen.bench.steps[0].title


async def test_neighbors_move_the_sample_and_not_the_recommendations(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await what_if(app, pilot)
        before = screen.answer.now
        screen.show_pane("neighbors")
        await pilot.quiet()
        await pilot.press("plus", "plus", "down", "space")
        await pilot.quiet()
        now = screen.answer.now
        assert now.model.items == before.model.items
        assert now.cosine != before.cosine
        assert screen.bench.weights[1] == 0
        assert sum(screen.bench.weights) == pytest.approx(1)
        assert "not the recommendations" in str(screen.query_one("#effect", Static).content)
        await pilot.press("K")
        assert "Choose an item of the history." in pilot.told


async def test_an_emptied_history_says_what_to_do(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await what_if(app, pilot)
        for _ in screen.bench.steps:
            await pilot.press("space", "down")
        await pilot.quiet()
        assert not screen.bench.history
        assert not screen.query_one("#ranked-table", Table).data.rows
        assert "Nothing is left" in screen.query_one("#ranked-table", Table)._empty


def test_the_stored_summary_finds_the_stored_neighbors_and_that_of_another_finds_the_other(home, scoring):
    with open_store(home) as store:
        others = {}
        for user in range(1, 7):
            found = inspect_user(store, _run_id(home), f"#{user}")
            others[user] = found
            again = find_neighbors(store, scoring, found, found.summary["text"])
            stored = WhatIf.of(found, "test").neighbors
            assert [(one.user_id, one.position, one.title) for one in again] == [
                (one.user_id, one.position, one.title) for one in stored
            ]
            for field in ("weight", "similarity"):
                assert [getattr(one, field) for one in again] == pytest.approx(
                    [getattr(one, field) for one in stored], abs=1e-6
                )
        first = find_neighbors(store, scoring, others[1], others[5].summary["text"])[0]
        assert (first.user_id, first.position) == (5, others[5].anchor["position"])
        assert first.similarity == pytest.approx(1, abs=1e-6)
        with pytest.raises(CheckpointError, match="no word"):
            find_neighbors(store, scoring, others[1], "qqq")


async def test_another_summary_moves_neighbors_and_the_sample_alone(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await what_if(app, pilot)
        with open_store(home) as store:
            other = inspect_user(store, screen.bench.run_id, "#5").summary["text"]
        first, before = screen.bench, screen.answer.now
        await pilot.press("e")
        assert isinstance(app.screen, EditDialog)
        app.screen.query_one(TextBox).text = other
        await pilot.press("ctrl+s")
        await pilot.quiet()
        assert screen.bench.summary == other
        assert screen.answer.now.model == before.model
        assert screen.answer.now.cosine != before.cosine
        rows = screen.query_one("#weights-table", Table).data.rows
        left = [row for row in rows if row.sign == "-"]
        kept = {(one.user_id, one.position) for one in first.neighbors} & {
            (one.user_id, one.position) for one in screen.bench.neighbors
        }
        assert len(left) == len(first.neighbors) - len(kept)
        assert sum(row.cells[0] == "new" for row in rows) == len(screen.bench.neighbors) - len(kept) > 0
        effect = str(screen.query_one("#effect", Static).content)
        assert "neighbors are others" in effect
        assert "recommendations take the history alone" in effect
        assert other in screen.text()
        await pilot.press("e")
        app.screen.query_one(TextBox).text = "qqq"
        await pilot.press("ctrl+s")
        await pilot.quiet()
        assert "no word of this text" in pilot.told[-1]
        await pilot.press("u")
        assert screen.bench == first


def test_a_second_run_without_a_model_is_told_and_the_first_one_is_shown(home, scoring):
    (home.run_folder(_run_id(home, "backbone")) / BEST).unlink()
    with open_store(home) as store:
        found = inspect_user(store, _run_id(home), "#1")
        shown = recommended(store, scoring, found, "test", second_run=_run_id(home, "backbone"))
    assert len(shown.items) >= 10
    assert all(item.second_rank is None for item in shown.items)
    assert "has no trained model" in shown.second_why
