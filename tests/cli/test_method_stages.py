"""A method with a pretraining and several updates, through the command line and in the app: epochs without validation anywhere."""

from __future__ import annotations

import json
import os
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest

from engine.events import EpochFinished, Metric
from engine.training import checkpoint
from engine.training.trainer import LAST, Trainer
from sracl_tui.cli.progress import epoch_line
from sracl_tui.runs.run_state import RunState
from sracl_tui.services.comparison import compare_runs
from sracl_tui.services.run_follower import RunFollower
from sracl_tui.services.run_list import RunGroup
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.rendering import run as run_text
from sracl_tui.tui.rendering import run_list
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.curves import Curves
from store.home import Home
from store.journal.journal import read_events
from store.opening import open_store
from tests.support import staged_method

SMALL = ("--set", "max_users=40", "--set", "epochs=2", "--set", "threads=1", "--set", "max_length=8", "--headless")
SECONDS = """SELECT sum(metrics.value) AS seconds FROM metrics JOIN runs USING (run_id) WHERE split = 'train' AND metrics.name = 'seconds'
AND config_hash = (SELECT config_hash FROM runs WHERE run_id = 'whole') AND state = 'finished' AND {} GROUP BY run_id"""
NAMED = ("--set", f"method={staged_method.__file__}:METHOD")


@pytest.fixture(scope="module")
def home(sracl: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a finished run, and one that was stopped in the second epoch of its pretraining."""
    folder = tmp_path_factory.mktemp("stages")
    sracl("run", *SMALL, *NAMED, "--run-id", "whole", home=folder)
    update = Trainer._update

    def stopping(trainer: Trainer, *rest: Any) -> Any:
        if trainer.state.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return update(trainer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_update", stopping)
        sracl("run", *SMALL, *NAMED, "--run-id", "cut", home=folder, code=130)
    return folder


def shown(sracl: Any, home: Path, *words: str) -> Any:
    return json.loads(sracl(*words, "--json", home=home).stdout)


def test_lists_tables_and_queries_take_epochs_without_validation(sracl: Any, home: Path) -> None:
    rows = {row["run_id"]: row for row in shown(sracl, home, "runs")}
    assert [(rows[run]["epoch"], rows[run]["state"]) for run in ("whole", "cut")] == [(4, "finished"), (1, "stopped")]
    assert rows["whole"]["best_epoch"] in (3, 4)
    assert rows["cut"]["best_epoch"] is None
    assert checkpoint.read_state(home / "runs" / "cut" / LAST).done == 1
    for run in ("whole", "cut"):
        text = sracl("show", run, home=home).stdout
        assert "masked_share" in text
    curves = shown(sracl, home, "show", "whole")["curves"]
    epochs = {
        name: [point["epoch"] for point in curves if point["name"] == name]
        for name in ("loss", "loss_rec", "loss_undo", "loss_recover", "masked_share", "mrr@10")
    }
    assert epochs["loss"] == [1, 2, 3, 4]
    assert epochs["loss_rec"] == epochs["loss_undo"] == epochs["mrr@10"] == [3, 4]
    assert epochs["loss_recover"] == epochs["masked_share"] == [1, 2]
    found = shown(sracl, home, "sql", "SELECT run_id, name, value FROM run_metrics WHERE name = 'loss_undo'")
    assert [row["run_id"] for row in found] == ["whole"]
    found = shown(
        sracl, home, "sql", "SELECT DISTINCT epoch FROM metrics WHERE run_id = 'cut' AND name = 'masked_share'"
    )
    assert [row["epoch"] for row in found] == [1]
    listed = shown(sracl, home, "runs", "--sort", "train.loss_undo", "--metric", "train.loss_undo")
    assert next(row["train_loss_undo"] for row in listed if row["run_id"] == "whole") > 0


def test_comparisons_and_exports_take_them(sracl: Any, home: Path, tmp_path: Path) -> None:
    sracl("run", *SMALL, "--preset", "backbone", "--run-id", "plain", home=home)
    text = sracl("compare", "whole", "plain", "cut", home=home).stdout
    assert "L_undo" in text
    with open_store(Home(home)) as store:
        whole, _ = compare_runs(store, ["whole", "plain", "cut"], split="test").sets
    assert "loss_undo" in whole.training
    sracl("export", "whole", "cut", "--out", tmp_path / "results.csv", home=home)
    assert "whole" in (tmp_path / "results.csv").read_text()


def test_it_resumes_inside_the_stage_and_is_reproduced(sracl: Any, home: Path) -> None:
    sracl("run", "--resume", "cut", home=home)
    one, other = (
        [point for point in shown(sracl, home, "show", run)["curves"] if point["name"] != "seconds"]
        for run in ("whole", "cut")
    )
    assert one == other
    found = shown(sracl, home, "reproduce", "cut", "--headless")
    assert (found["pass"], found["exact"]) == (True, True)


def test_a_dry_run_has_the_stage_and_its_time(sracl: Any, home: Path) -> None:
    def planned(*words: str) -> Any:
        return shown(sracl, home, "run", *SMALL, *words, "--dry-run")

    whole = planned(*NAMED)
    rows = {row["stage"]: row for row in whole["stages"]}
    assert list(rows)[-2:] == ["recovery", "train"]
    assert "finished runs" in whole["basis"]
    for stage, which in (("recovery", "metrics.epoch <= 2"), ("train", "metrics.epoch > 2")):
        took = shown(sracl, home, "sql", SECONDS.format(which))
        assert rows[stage]["seconds"] == pytest.approx(statistics.median(row["seconds"] for row in took))
    new = ("--set", "lr=0.0123", "--set", "parts.mip.epochs=7")  # no run has them
    ours, plain = (planned("--set", f"method={name}", *new) for name in ("s3rec", "plain"))
    assert [row["stage"] for row in ours["stages"]] == ["import", "pretrain", "train"]
    assert [row["stage"] for row in plain["stages"]] == ["import", "train"]
    assert "2 epochs after 7 of pretrain" in ours["basis"]
    assert ours["stages"][-1] == plain["stages"][-1]
    assert ours["stages"][1]["seconds"] > ours["stages"][-1]["seconds"]
    assert "pretrain" in sracl("run", *SMALL, "--set", "method=s3rec", "--dry-run", home=home).stdout


def test_progress_counts_the_epochs_of_the_stage(home: Path) -> None:
    follower = RunFollower(Home(home), ("whole",))
    follower.read()
    live = follower.runs["whole"]
    assert live.epochs == 4
    assert live.share == 1.0
    assert "epoch 4 of 4" in run_text.progress(live, "finished", None, 0.0).plain
    said = [text for _, text in live.log if text.startswith("epoch ")]
    assert said[0].startswith("epoch 1 (recovery)  loss")
    assert "MRR" not in said[1]
    assert "MRR@10" in said[2]
    event = EpochFinished(
        epoch=1, step=9, seconds=1.0, evaluate_seconds=0.0, improved=False, bad_epochs=0, epochs=4, stage="recovery",
        metrics=(Metric(split="train", name="loss", value=2.5),),
    )  # fmt: skip
    assert epoch_line(event) == "epoch 1  loss 2.5000  1.0 s  recovery, without validation"


def test_a_living_run_counts_to_the_end_of_its_main_training(home: Path) -> None:
    lines = [line for _, line in read_events(home / "runs" / "whole")]
    first = next(number for number, line in enumerate(lines) if line.event == "epoch_finished")
    live = RunState()
    live.take(lines[: first + 1])
    assert (live.epoch, live.epochs, live.best_epoch, live.share) == (1, 4, None, 0.25)
    row: Any = live.fold.row | {"run_id": "whole", "progress": live.progress(live.last_at)}
    assert row["progress"]["percent"] == 25
    assert run_list._epoch(RunGroup("whole", (row,))).startswith("1/4 25 %")


async def test_the_run_screen_draws_its_terms(home: Path) -> None:
    app = SraclApp(Home(home))
    app.preferences.loss = "loss_undo"
    async with app.run_test(size=(120, 40)) as pilot:
        app.push_screen(RunScreen("whole"))
        drawn: dict[str, list[float]] = {}
        for _ in range(400):
            await pilot.pause(0.02)
            drawn = {
                plot._title: [float(epoch) for epoch in plot._curves[0].x]
                for plot in app.screen.query(Curves)
                if plot._curves
            }
            if "training loss L_undo" in drawn:
                break
        assert drawn["training loss L_undo"] == [3, 4]
        for _ in range(9):
            if app.preferences.loss != "loss_recover":
                await pilot.press("l")
        assert app.preferences.loss == "loss_recover"
