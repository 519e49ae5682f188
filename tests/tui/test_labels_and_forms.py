"""What the screens say of a value - split, epoch, what differs, how long - and how the launch form is filled in."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import Static
from typer.testing import CliRunner

from engine.config import Config
from engine.config_files import value_problem
from engine.errors import ConfigError
from engine.setting_paths import setting_fields
from sracl_tui import formatting
from sracl_tui.__main__ import cli
from sracl_tui.runs.run_state import RunState, Stage
from sracl_tui.runs.stages.cost_estimate import cost_line
from sracl_tui.services.projections import edges, histogram
from sracl_tui.tui import launch_drafts
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.rendering import run as run_text
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.launch_form import LABELS, SECTIONS, plan_text
from sracl_tui.tui.rendering.run_list import COLUMNS, WELCOME, shown_name
from sracl_tui.tui.rendering.user import deviation_bar
from sracl_tui.tui.screens import DEEPER, PAGES
from sracl_tui.tui.screens.compare import CompareScreen
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.textual_internals import screen_lines, shown_notifications
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.curve_layout import Curve, Points, legend
from sracl_tui.tui.widgets.dialogs import PromptDialog
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from store.journal.journal import Journal, RunLock
from store.publishing.publish import publish
from tests.support.steady_pilot import drive


def text_of(app, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).content)


# values and what they are of


def test_a_metric_in_the_list_names_its_split():
    assert [column.title for column in COLUMNS if "@" in column.title] == ["test HR@20", "test NDCG@20"]


def test_a_legend_names_the_epoch_of_its_values():
    points = [Points.of(Curve("demo", [1, 2, 3], [0.1, 0.5, 0.25]), positive=False)]
    text = "".join(part for line in legend(points, 2, 80, most=3) for part, _ in line)
    assert text.split("  ") == ["─ demo 0.25", "at epoch 3", "┊ best epoch 2: 0.5"]
    other = Points.of(Curve("long", [1, 2, 3, 4], [1, 1, 1, 1.5]), positive=False)
    text = "".join(part for line in legend([*points, other], 2, 80, most=3) for part, _ in line)
    assert "at epoch" not in text, "the curves end at different epochs"
    assert len(legend(points, 2, 20, most=3)) == 3


def live(*, epoch: int, most: int, best: int | None = None) -> RunState:
    found = RunState()
    found.fold.created.update(config={"train": {"epochs": most}})
    found.fold.changed.update(epoch=epoch, best_epoch=best)
    return found


def test_a_run_that_stopped_early_is_done():
    text = run_text.progress(live(epoch=59, most=100, best=49), "finished", None, 0.0).plain
    assert f"{'█' * run_text.BAR}  epoch 59, stopped early (maximum 100), best epoch 49" in text
    text = run_text.progress(live(epoch=59, most=100, best=49), "stopped", None, 0.0).plain
    assert "epoch 59 of 100" in text
    assert "█" * run_text.BAR not in text


@pytest.mark.parametrize(
    ("done", "wanted"), [(0, "0 of 1,448, running for 60 s"), (120, "120 of 1,448, 2.0 per second, 664 s left")]
)
def test_a_stage_says_how_fast_it_is_or_how_long_it_has_run(done, wanted):
    found = RunState(stages={"vectors": Stage("vectors", started=100.0, done=done, total=1448)})
    wanted = wanted.replace("664 s", "11:04")
    assert wanted in run_text.progress(found, "running", None, 160.0).plain


def test_a_preview_has_one_style_of_time_and_no_range_without_one():
    found = {
        "stages": [],
        "usd": {"low": 0.0, "high": 0.0},
        "prompts": 1448,
        "cached": 0,
        "identical": 3,
        "minutes": 2.5,
    }
    assert plan_text(found).splitlines()[-1] == "$0.00, about 2:30: "
    assert "$0.00 to $1.50, about 2:30" in plan_text(found | {"usd": {"low": 0.0, "high": 1.5}})


@given(
    st.floats(0, 1, allow_subnormal=False),
    st.floats(0.001, 1),
    st.floats(0, 1, allow_subnormal=False),
    st.sampled_from([7, 9, 25]),
)
def test_a_weight_is_drawn_on_its_side_of_one_over_k(weight, even, most, columns):
    drawn = deviation_bar(weight, even, max(most, abs(weight - even)), columns)
    left, right = drawn.split("│")
    assert len(left) == len(right) == (columns - 1) // 2
    assert not left.strip() or weight < even
    assert not right.strip() or weight > even


def test_equal_weights_have_no_bar_and_the_farthest_fills_its_side():
    assert deviation_bar(0.1, 0.1, 0.0, 7) == "   │   "
    assert deviation_bar(None, 0.1, 0.05, 7) == "   │   "
    assert deviation_bar(0.15, 0.1, 0.05, 7) == "   │███"
    assert deviation_bar(0.05, 0.1, 0.05, 7) == "███│   "


@given(st.integers(-10, 9))
def test_a_value_at_the_edge_of_a_bucket_belongs_to_the_one_above(tenths):
    """0.1 * 3 is above 0.3 in binary."""
    bounds = edges(-1.0, 1.0, 20)
    for value in (tenths / 10, tenths * 0.1, 0.1 * tenths + 1e-17):
        (bucket,) = [one for one in histogram(np.array([value]), bounds, missing="") if len(one.indices)]
        assert bucket.label == f"{tenths / 10:.1f} to {(tenths + 1) / 10:.1f}"


def test_an_unnamed_run_is_called_by_what_differs():
    run = {"run_id": "20261128-101500-6f3a", "name": "20261128-101500-6f3a", "config_hash": "h", "preset": "default"}
    assert shown_name(run, {"h": "temperature=0.5"}) == "temperature=0.5 ·6f3a"
    assert shown_name(run, {"h": ""}) == "default ·6f3a"
    assert shown_name(run | {"preset": None}, {}) == "run ·6f3a"
    assert shown_name(run | {"name": "office"}, {"h": "temperature=0.5"}) == "office"


def test_the_empty_list_says_what_this_is_and_names_import():
    assert "recommends the next item" in WELCOME
    assert "n there imports a file of yours" in WELCOME
    assert max(map(len, WELCOME.splitlines())) < 120


def test_the_help_of_screenshot_names_every_screen():
    text = " ".join(
        CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output.replace("│", " ").split()
    )
    assert ", ".join(PAGES | DEEPER) in text


# errors


def test_errors_speak_of_no_option_of_a_command_that_nobody_entered():
    error = ConfigError(
        "different data: a, b", where="compare", hint="Choose other runs, or compare anyway with --force."
    )
    assert error_text(error) == "compare: different data: a, b"
    error = ConfigError("x", where="--preset", hint="Presets: a, b. `sracl run --help` names more.")
    assert error_text(error) == "x\nPresets: a, b. `sracl run --help` names more."
    assert error_text(OSError("no space")) == "no space"


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("train.epochs", "abc", "must be a whole number, not 'abc'"),
        ("train.epochs", 0, "must be at least 1, not 0"),
        ("train.epochs", 7, ""),
        ("train.lr", "fast", "must be a number, not 'fast'"),
        ("data.max_users", "few", "must be a whole number or none, not 'few'"),
        ("data.max_users", None, ""),
        ("data.swap_titles", "perhaps", "must be true or false, not 'perhaps'"),
        ("data.max_length", 5000, "must be at most 1000, not 5000"),
    ],
)
def test_what_a_setting_cannot_be_is_said_in_plain_words(path, value, wanted):
    assert value_problem(setting_fields()[path], value) == wanted


def test_every_default_is_a_value_of_its_setting():
    for path, field in setting_fields().items():
        value = Config()
        for part in path.split("."):
            value = getattr(value, part)
        assert value_problem(field, value) == "", path


# the launch form


async def test_a_draft_of_a_run_survives_other_screens_and_a_restart(tmp_path):
    home = Home(tmp_path)
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("4")
        await pilot.quiet()
        form = app.screen.query_one("#form", Table)
        form.move_to("train.epochs")
        await pilot.press("enter", "delete", *"abc", "enter")
        assert isinstance(app.screen, PromptDialog), "what cannot be keeps the dialog open"
        assert text_of(app, "#problem") == "✗ must be a whole number, not 'abc'"
        await pilot.press(*["backspace"] * 3, *"40")
        assert text_of(app, "#problem") == ""
        await pilot.press("enter")
        assert text_of(app, "#title") == "Launch  1 setting differs from the preset"
        form.move_to("name")
        await pilot.press("enter", *"night", "enter", "8", "4")
        await pilot.quiet()
        assert isinstance(app.screen, LaunchScreen)
        assert app.screen.changes == {"train.epochs": 40}
        await pilot.press("4")
        await pilot.quiet()
        assert app.screen.changes == {"train.epochs": 40}
        assert app.screen.labels["name"] == "night"
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("n")
        await pilot.quiet()
        assert app.screen.changes == {"train.epochs": 40}
        await pilot.press("Z")
        assert app.screen.changes == {}
        await pilot.press("escape", "4")
        await pilot.quiet()
        assert app.screen.changes == {}
        assert app.screen.labels["name"] == ""


async def test_settings_are_found_in_sections_and_chosen_from_lists(tmp_path):
    app = SraclApp(Home(tmp_path))
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("4")
        await pilot.quiet()
        screen, form = app.screen, app.screen.query_one("#form", Table)
        sections = [str(row.key) for row in form.data.rows if str(row.key).startswith("[")]
        assert {section.strip("[]") for section in sections} <= SECTIONS.keys()
        await pilot.press("right_square_bracket", "right_square_bracket")
        assert form.key.startswith("semantics.")
        await pilot.press("left_square_bracket")
        assert form.key.startswith("data.")
        await pilot.press("slash", *"backbone", "enter")
        assert [row.key for row in form.data.rows if "backbone" in str(row.key)] == ["model.backbone"]
        form.move_to("model.backbone")
        await pilot.pause()
        assert "gru4rec" in text_of(app, "#explanation"), "all of the help, also where the column is cut"
        await pilot.press("enter")
        assert isinstance(app.screen, ChoiceDialog)
        assert app.screen.query_one(Table).key == "sasrec"
        await pilot.press(*"gru4rec", "enter")
        assert screen.changes == {"model.backbone": "gru4rec"}
        await pilot.press("escape")
        assert len(form.data.rows) > 40
        form.move_to("data.swap_titles")
        await pilot.press("enter", *"true", "enter")
        assert screen.changes["data.swap_titles"] is True
        form.move_to("[data]")
        await pilot.press("enter")
        assert app.screen is screen, "a heading has no value"
        assert LABELS.keys() <= form.data.index.keys()


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: st.dictionaries(st.sampled_from(["preset", "changes", "labels", "x"]), inner),
        max_leaves=6,
    )
)
def test_a_damaged_draft_is_none(value):
    found = launch_drafts.restore({"": value}, "")
    assert found is None or found.preset == "default"


def test_the_newest_drafts_are_kept():
    drafts = {}
    for number in range(20):
        launch_drafts.keep(drafts, str(number), launch_drafts.LaunchDraft("default", {"train.epochs": number + 1}, {}))
    assert list(drafts) == [str(number) for number in range(20 - launch_drafts.MOST, 20)]
    launch_drafts.keep(drafts, "19", launch_drafts.LaunchDraft("default", {}, {"name": ""}))
    assert "19" not in drafts


# screens


async def test_notifications_are_few_leave_the_last_lines_free_and_stay_on_their_screen(tmp_path, monkeypatch):
    app = SraclApp(Home(tmp_path))
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        for number in range(5):
            app.notify(f"number {number}")
        app.notify("an error", severity="error")
        await pilot.pause()
        assert [one.message for one in shown_notifications(app)] == ["number 3", "number 4", "an error"]
        lines = screen_lines(app.screen)
        assert "runs" in lines[-2], "the line with the path of the store"
        now = time.time()
        monkeypatch.setattr("sracl_tui.tui.global_actions.time.time", lambda: now + 5)
        await pilot.press("8")
        assert [one.message for one in shown_notifications(app)] == ["an error"]


async def test_a_filter_of_the_last_start_is_seen_and_removed_by_a_key(home):
    app = SraclApp(home)
    app.preferences.filter = "preset:backbone"
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        assert "2 of 3 fit the filter, esc removes it" in text_of(app, "#title")
        assert app.screen.query_one("#filter-line").display
        await pilot.press("escape")
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        assert "fit" not in text_of(app, "#title")


async def test_sql_says_how_to_leave(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("7")
        await pilot.quiet()
        lines = screen_lines(app.screen)
        assert "esc Back" in lines[-1]
        assert "F8 Screens" in lines[0]
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_a_comparison_names_the_run_that_is_left_out_as_it_has_no_ranks_yet(home):
    created = {"kind": "train", "name": "night", "preset": "backbone", "group_name": None, "config_hash": "0" * 16}
    created |= {"config": {"data": {"dataset": "demo"}}, "seed": 3, "tags": [], "note": ""}
    journal, lock = Journal(home.run_folder("night-1")), RunLock(home.run_folder("night-1"))
    lock.acquire()
    journal.append("run_created", {"run_id": "night-1", **created})
    journal.append("run_started", {"pid": 1, "host": "here", "boot_id": "x"})
    publish(home)
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        app.refresh_runs(now=True)
        await pilot.quiet()
        finished = [row["run_id"] for row in app.runs if row["preset"] == "backbone" and row["run_id"] != "night-1"]
        app.open_compare([*finished, "night-1"])
        assert isinstance(app.screen, CompareScreen)
        await pilot.quiet()
        facts = text_of(app, "#facts")
        assert "left out: night (running): no validation ranks yet" in facts
        assert "nothing to test: only one set" in "\n".join(screen_lines(app.screen))
        assert "validation ranks" in text_of(app, "#title")
        assert text_of(app, "#metrics-heading").startswith("Validation metrics at the best epoch")
    journal.close()
    lock.release()


def test_one_thing_and_one_price_are_written_as_one():
    assert [formatting.count(number, "row") for number in (0, 1, 1448)] == ["0 rows", "1 row", "1,448 rows"]
    assert cost_line({"low": 0.0, "high": 0.0}) == "$0.00"
    assert cost_line({"low": 1.201, "high": 1.2049}) == "$1.20", "both ends are shown alike"
    assert cost_line({"low": 0.02, "high": 3.4}) == "$0.0200 to $3.40"
    assert cost_line({"low": None, "high": None}) == "unknown price"
