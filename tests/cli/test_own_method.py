"""A method that somebody else wrote, through the command line: trained, stopped, resumed, reproduced, exported, and refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from textual.widgets import Static

from engine.config_files import load_config
from engine.errors import ConfigError
from engine.training import checkpoint
from engine.training.trainer import BEST, LAST, Trainer
from sracl_tui.services import comparison
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from tests.support.commands import ROOT
from tests.support.installed import install

EXAMPLE = ROOT / "examples" / "own_method.py"
SMALL = ("--set", "max_users=40", "--set", "epochs=2", "--set", "threads=1", "--set", "max_length=8", "--headless")
NAMED = ("--set", "method=mine.py:METHOD", "--set", "parts.crop.least=0.3")


@pytest.fixture(scope="module")
def home(sracl: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run of the example, whose file has changed since."""
    folder = tmp_path_factory.mktemp("own-method")
    shutil.copy(EXAMPLE, folder / "mine.py")
    sracl("run", *SMALL, *NAMED, "--run-id", "whole", "--json", home=folder)
    (folder / "mine.py").write_text(EXAMPLE.read_text().replace("from engine", "raise SystemError\nfrom engine", 1))
    return folder


def shown(sracl: Any, home: Path, run: str) -> dict[str, Any]:
    return json.loads(sracl("show", run, "--json", home=home).stdout)


def test_one_file_trains_with_settings_a_loss_and_a_metric_of_its_own(sracl: Any, home: Path) -> None:
    run = shown(sracl, home, "whole")
    assert run["state"] == "finished"
    assert run["config"]["method"]["name"] == f"{home.resolve() / 'mine.py'}:METHOD"
    assert run["config"]["parts"]["crop"] == {"weight": 0.1, "least": 0.3}
    curves = {(p["name"], p["epoch"]): p["value"] for p in run["curves"] if p["split"] == "train"}
    for epoch in (1, 2):
        assert 0 < curves["crops_matched", epoch] < 1
        total = curves["loss_rec", epoch] + 0.1 * curves["loss_crop", epoch]
        assert curves["loss", epoch] == pytest.approx(total, rel=1e-5)
    assert curves["loss_crop", 2] < curves["loss_crop", 1]
    assert (home / "runs" / "whole" / "own_method.py").read_text() == EXAMPLE.read_text()
    code = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(code) < 60


def test_it_stops_inside_an_epoch_and_resumes_to_the_same_bits(
    sracl: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    update, steps = Trainer._update, iter(range(1000))

    def stopping(trainer: Trainer, *rest: Any) -> Any:
        if next(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return update(trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", stopping)
        sracl("run", *SMALL, *NAMED, "--set", "batch=64", "--run-id", "cut", home=tmp_path, code=130)
    state = checkpoint.read_state(tmp_path / "runs" / "cut" / LAST)
    assert (state.epoch, state.done) == (0, 3)
    sracl("run", "--resume", "cut", home=tmp_path)
    sracl("run", *SMALL, *NAMED, "--set", "batch=64", "--run-id", "whole", home=tmp_path)
    one, other = (shown(sracl, tmp_path, run)["curves"] for run in ("cut", "whole"))
    assert [p for p in one if p["name"] != "seconds"] == [p for p in other if p["name"] != "seconds"]
    assert "crops_matched" in {point["name"] for point in one}
    for name in (BEST, LAST):
        weights = [checkpoint.read_weights(tmp_path / "runs" / run / name) for run in ("cut", "whole")]
        assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
        assert "parts.crop.counts" in weights[0]


def test_it_is_reproduced_with_the_copy_in_the_runs_folder(sracl: Any, home: Path) -> None:
    found = json.loads(sracl("reproduce", "whole", "--headless", "--json", home=home).stdout)
    assert (found["pass"], found["exact"]) == (True, True)


def test_its_model_is_exported_without_it(sracl: Any, home: Path, tmp_path: Path) -> None:
    sracl("export", "whole", "--what", "model", "--out", str(tmp_path / "model"), home=home)
    with safe_open(next((tmp_path / "model").rglob("*.safetensors")), framework="pt") as file:
        assert not [name for name in file.keys() if "parts" in name or "crop" in name]  # noqa: SIM118


def test_a_run_whose_file_is_gone_or_broken_hinders_no_command(sracl: Any, home: Path) -> None:
    sracl("run", *SMALL, "--preset", "backbone", "--run-id", "plain", "--set", "epochs=1", home=home)
    for words in (
        ("runs",),
        ("runs", "--sort", "train.crops_matched", "--filter", "method.name!=plain"),
        ("show", "whole"),
        ("compare", "whole", "plain"),
        ("costs",),
        ("recommend", "whole", "1"),
        ("sql", "SELECT name, value FROM run_metrics WHERE name = 'crops_matched'"),
    ):
        sracl(*words, home=home)
    found = json.loads(sracl("runs", "--filter", "parts.crop.least<0.5", "--json", home=home).stdout)
    assert [row["run_id"] for row in found] == ["whole"]
    compared = json.loads(sracl("compare", "whole", "plain", "--json", home=home).stdout)
    assert compared["settings"]["parts.crop.least"] == [0.3, None]
    rows: Any = [
        [{"preset": "default", "name": "x", "run_id": "x", "seed": 1, "config_hash": number}] for number in "ab"
    ]
    assert comparison.labels_of(rows, {"parts.crop.least": [0.3, None]})[0] == "default crop.least=0.3"
    text = sracl("show", "whole", home=home).stdout
    assert "parts.crop.least = 0.3" in " ".join(text.split())


def test_settings_of_its_own_are_checked(sracl: Any, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    for wrong, words in (
        ("parts.crop.least=2", "parts.crop.least: must be at most 1, not 2"),
        ("parts.crop.lest=0.5", "parts.crop.lest: there is no such setting"),
        ("parts.crop.weight=-1", "parts.crop.weight: must be at least 0"),
        ("parts.corp.least=0.5", "there is no part 'corp'; there are rec, inter, intra"),
        ("method.parts=[rec, crop, crop]", "each part can stand there once"),
    ):
        done = sracl("run", *SMALL, "--set", "method=mine.py:METHOD", "--set", wrong, home=tmp_path, code=2)
        assert words in " ".join(done.stderr.split()), done.stderr
    assert not list((tmp_path / "runs").glob("*"))


HEAD = """
import torch
from engine.methods.base import Method, Part, PartSettings, Stage, Step, View

class Mine(Part):
    name = "mine"
    def loss(self, batch, hidden):
        return torch.zeros((), requires_grad=True)

"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pass", "cannot be imported: AttributeError"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("raise SystemExit(5)", "cannot be imported: SystemExit"),
        ("def", "cannot be imported: SyntaxError"),
        ("METHOD = Mine", "is no instance of engine.method_table.Method"),
        ("METHOD = Method(parts=())", "has no parts"),
        ("METHOD = Method(parts=('rec', 'inert'))", "names a part 'inert'; ours are rec, inter, intra"),
        ("METHOD = Method(parts=('rec', PartSettings))", "neither the name of one of ours nor a subclass"),
        ("del Mine.name\nMETHOD = Method(parts=('rec', Mine))", "has a part Mine whose `name` is None"),
        ("Mine.name = 'intra'\nMETHOD = Method(parts=('rec', Mine))", "named 'intra', which one of ours"),
        ("Mine.name = 'cs'\nMETHOD = Method(parts=('rec', Mine))", "named 'cs', which one of ours or its loss"),
        ("METHOD = Method(parts=('rec', Mine, Mine))", "has two parts named 'mine'"),
        (
            "Mine.settings = dict\nMETHOD = Method(parts=('rec', Mine))",
            "a subclass of engine.part_settings.PartSettings",
        ),
        ("Mine.needs = 1\nMETHOD = Method(parts=('rec', Mine))", "whose `needs` are 1"),
        (
            "class Other(Part):\n    name = 'other'\nMETHOD = Method(parts=('rec', Other))",
            "has a part other without loss",
        ),
        ("METHOD = Method(parts=('rec', Mine), steps=(Step(('rec',)),))", "count in no step: mine"),
        ("METHOD = Method(parts=('rec',), steps=(Step(('mine',)),))", "a step of parts mine, which are none of rec"),
        ("METHOD = Method(parts=('rec',), steps=(Step(updates='some'),))", "a step that updates 'some'"),
        ("METHOD = Method(parts=('rec',), stages=(Stage('first', (Mine,), 'train.epochs'),))", "name a setting of one"),
        ("METHOD = Method(parts=('rec',), stages=(Stage('a', (Mine,), 'parts.mine.epochs'),))", "no setting 'epochs'"),
        (
            "METHOD = Method(parts=('rec', Mine), defaults={'widht': 3})",
            "a default of",
        ),
    ],
)
def test_what_is_wrong_with_a_method_is_said_before_the_run(tmp_path: Path, code: str, words: str) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(HEAD + code + "\n")
    with pytest.raises(ConfigError) as caught:
        load_config(assignments=(f"method={path}:METHOD",))
    assert words in str(caught.value)


def test_what_is_wrong_in_training_is_an_error_and_no_traceback(sracl: Any, tmp_path: Path) -> None:
    code = "Mine.loss = lambda self, batch, hidden: torch.zeros(3)\nMETHOD = Method(parts=('rec', Mine))\n"
    (tmp_path / "wrong.py").write_text(HEAD + code)
    tiny = ("--set", "max_users=10", "--set", "epochs=1", "--set", "threads=1", "--headless")
    done = sracl("run", *tiny, "--set", "method=wrong.py:METHOD", "--run-id", "bad", home=tmp_path, code=2)
    assert "part mine: its loss is Tensor of shape (3,)" in " ".join(done.stderr.split())
    assert not (tmp_path / "runs" / "bad" / "traceback.txt").exists()


def test_an_installed_one_has_a_name(sracl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"sracl.methods:crops": "METHOD"}
    with monkeypatch.context() as patch:
        install(tmp_path / "site", patch, module="sracl_crops", code=EXAMPLE.read_text(), points=points)
        assert any(row["name"] == "crops" for row in shown_methods(sracl, tmp_path))
        tiny = ("--set", "max_users=20", "--set", "epochs=1", "--set", "threads=1", "--headless")
        done = sracl("run", *tiny, "--set", "method=crops", "--json", home=tmp_path)
    assert json.loads(done.stdout)["state"] == "finished"
    sys.modules.pop("sracl_crops", None)
    row = shown(sracl, tmp_path, "last")
    assert row["config"]["method"]["name"] == "crops"
    assert "loss_crop" in {point["name"] for point in row["curves"]}
    refused = sracl("run", "--set", "method=crops", home=tmp_path, code=2).stderr
    assert "there is no method 'crops'" in " ".join(refused.split())


def test_one_that_is_installed_and_broken_hides_no_other(sracl: Any, tmp_path: Path, monkeypatch: Any) -> None:
    points = {"sracl.methods:torn": "METHOD"}
    with monkeypatch.context() as patch:
        install(tmp_path / "site", patch, module="sracl_torn", code="1 / 0", points=points)
        rows = {row["name"]: row for row in shown_methods(sracl, tmp_path)}
        text = sracl("methods", home=tmp_path).stdout
    assert "ZeroDivisionError" in rows["torn"]["description"]
    assert rows["sracl"]["parts"] == ["rec", "inter", "intra"]
    assert "torn" in text


def shown_methods(sracl: Any, home: Path) -> Any:
    return json.loads(sracl("methods", "--json", home=home).stdout)


APP = """
import asyncio, sys
from pathlib import Path
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.run import RunScreen
from store.home import Home

async def look():
    app = SraclApp(Home(Path(sys.argv[1])))
    async with app.run_test(size=(120, 40)) as pilot:
        app.push_screen(RunScreen("whole"))
        for _ in range(400):
            await pilot.pause(0.02)
            shown = " ".join(str(one.render()) for one in app.screen.query("#settings-text"))
            if "parts.crop.least" in shown:
                return
        raise AssertionError(shown)

asyncio.run(look())
assert "torch" not in sys.modules
"""


def test_lists_help_and_app_import_no_torch_for_it(home: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from sracl_tui.cli.main import app\n"
        "for words in (['--help'], ['runs', '--home', sys.argv[1]], ['run', '--help']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    for text in (code, APP):
        subprocess.run([sys.executable, "-c", text, str(home)], check=True, cwd=ROOT)


def test_a_dry_run_plans_it(sracl: Any, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    found = sracl("run", *SMALL, *NAMED, "--dry-run", "--json", home=tmp_path).stdout
    assert [stage["stage"] for stage in json.loads(found)["stages"]] == ["import", "train"]


async def test_the_form_has_its_settings_and_clones_a_run_of_it(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    shutil.copy(EXAMPLE, path)
    app = SraclApp(Home(home))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = LaunchScreen(None)
        app.push_screen(screen)
        await pilot.pause()
        screen._set("method.name", f"{path}:METHOD")
        assert screen.config is None or screen.config.method.name.endswith("mine.py:METHOD")
        await _until(pilot, lambda: screen.config is not None)
        rows = {row.key: row.cells for row in screen.query_one("#form", Table).data.rows}
        assert rows["parts.crop.weight"][1] == "0.1"
        assert rows["parts.crop.least"][1] == "0.6"
        assert "(> 0, <= 1)" in rows["parts.crop.least"][3]
        screen._set("parts.crop.least", "2")
        assert "must be at most 1" in screen.errors["parts.crop.least"]
        screen._set("parts.crop.least", "0.25")
        assert screen.config is not None
        assert screen.config.parts.given("crop") == {"weight": 0.1, "least": 0.25}
        screen._set("parts.crop.least", "0.6")
        assert list(screen.changes) == ["method.name"]
        screen.action_preview()
        await _until(pilot, lambda: "to do   train" in str(screen.query_one("#preview", Static).render()))
        clone = LaunchScreen("whole")
        app.push_screen(clone)
        await _until(pilot, lambda: "has changed since it was allowed" in clone.errors.get("method.name", ""))
        assert clone.changes["parts.crop.least"] == 0.3
        assert clone.config is None


async def _until(pilot: Any, done: Callable[[], bool]) -> None:
    for _ in range(400):
        if done():
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not come")
