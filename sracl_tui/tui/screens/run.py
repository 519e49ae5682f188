"""One run, live: progress, curves of losses and validation metrics, log, settings, use of the machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static, TabbedContent, TabPane

from engine.errors import EngineError
from engine.metric_registry import title
from sracl_tui import formatting
from sracl_tui.runs.run_state import RunState
from sracl_tui.services.run_edits import Words
from sracl_tui.services.run_follower import RunFollower
from sracl_tui.tui.navigation import Navigation, Unavailable
from sracl_tui.tui.rendering import run as run_text
from sracl_tui.tui.rendering import run_curves
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.charts import ChartsScreen
from sracl_tui.tui.screens.plot_page import PlottedPage
from sracl_tui.tui.screens.run_controls import STOP_DETAIL, resume, stop
from sracl_tui.tui.widgets.curves import Curves
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, TextDialog
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.machine_charts import MachineCharts
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError
from store.run_states import ACTIVE, RESUMABLE

POLL_SECONDS = 0.5
PLOTS = {"both": "losses and a metric", "losses": "losses alone", "metrics": "a metric alone"}
TABS = {"curves": "ContentTabs", "log": "#log-table", "settings": "#settings-scroll", "machine": "MachineCharts"}


class RunScreen(PlottedPage):
    """Progress, curves, log, settings and use of the machine of one run, live."""

    NAME = "Run"
    ABOUT = (
        "Curves of the losses and of a validation metric by epoch; the vertical line is the best epoch. Runs that were "
        "marked in the list are drawn too. + and - zoom, comma and full stop move, 0 shows all epochs; the wheel and dragging "
        "do so too. The tab Machine has processors, memory and GPU over the time in which it was running. Everything comes from the journal that the run writes, within half a second."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "inspect", "Inspect"),
        Binding("v", "metric", "Metric"),
        Binding("l", "loss", "Loss: its parts, or one of them", show=False),
        Binding("p", "plots", "Plots"),
        Binding("a", "charts", "All charts"),
        Binding("slash", "search", "Search log", key_display="/"),
        Binding("tab", "tab(1)", "Next tab", show=False, priority=True),
        Binding("shift+tab", "tab(-1)", "Previous tab", show=False, priority=True),
        Binding("x", "stop", "Stop"),
        Binding("u", "resume", "Resume", show=False),
        Binding("c", "clone", "Clone", show=False),
        Binding("y", "copy", "Copy run id", show=False),
    ]

    class Changed(Message):
        """The journal has new lines, or the process has come or gone."""

    @dataclass
    class Configured(Message):
        """The settings are known."""

        text: Text

    @dataclass
    class Reported(Message):
        """A command ended, or failed."""

        text: str
        failed: bool = False
        words: Words = ()

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """Opens on the run that was viewed last."""
        return cls(app.current_run())

    def __init__(self, run_id: str, others: tuple[str, ...] = (), *, then_inspect: bool = False) -> None:
        super().__init__()
        self.run_id, self._others = run_id, others[:7]
        self._then_inspect = then_inspect
        self.follower: RunFollower | None = None
        self._configured = False
        self._reading = False

    @property
    def live(self) -> RunState:
        """State of the run according to its journal."""
        return self.follower.runs[self.run_id] if self.follower else RunState()

    @property
    def state(self) -> str:
        """Current state of the run."""
        return self.follower.state if self.follower else "queued"

    def body(self) -> ComposeResult:
        """Progress above; curves, log, settings and machine as tabs."""
        yield Static("reading ...", id="progress", markup=False)
        with TabbedContent(id="run-tabs", initial=self._tab()):
            with TabPane("Curves", id="curves"), Vertical(id="plots"):
                yield Curves(id="losses")
                yield Curves(id="metrics")
            with TabPane("Log", id="log"):
                yield Field(placeholder="only lines with these words", id="log-search", compact=True)
                yield Table(id="log-table", empty="no line")
            with TabPane("Settings", id="settings"), VerticalScroll(id="settings-scroll"):
                yield Static("", id="settings-text", markup=False)
            with TabPane("Machine", id="machine"):
                yield MachineCharts()

    def _tab(self) -> str:
        tab = self.sracl.preferences.run_tab
        return tab if tab in TABS else "curves"

    def on_mount(self) -> None:
        """Begin to follow the journal."""
        self.show_status(self.sracl.status)
        self.query_one("#log-search").display = False
        self._choose_plots()
        self.follower = RunFollower(self.sracl.home, (self.run_id, *self._others))
        self.set_interval(POLL_SECONDS, self._poll)
        self._poll()
        self._focus_tab()

    def _poll(self) -> None:
        if not self._reading:
            self._reading = True
            self._read()
        if self.state in ACTIVE:
            self._show_progress()  # the remaining time changes between events

    @work(thread=True, exit_on_error=False, group="tail")
    def _read(self) -> None:
        assert self.follower is not None
        try:
            if self.follower.read():
                self.post_message(self.Changed())
            if self.live.created and not self._configured:
                self._configured = True
                self.post_message(self.Configured(run_text.settings(self.live.created)))
        except (OSError, StoreError) as error:
            self.post_message(self.Reported(error_text(error), failed=True))
        finally:
            self._reading = False

    @on(Changed)
    def _show(self) -> None:
        assert self.follower is not None
        self.set_title(f"{self._called(self.run_id, self.live)}  {formatting.state(self.state)}")
        self._show_progress()
        self.draw_plots()
        self._show_log()
        self.refresh_bindings()
        if self._then_inspect and self.state == "finished" and self.app.screen is self:
            self._then_inspect = False
            self.action_inspect()

    @on(Configured)
    def _show_settings(self, message: Configured) -> None:
        self.query_one("#settings-text", Static).update(message.text)

    def _show_progress(self) -> None:
        follower = self.follower
        assert follower is not None
        if not self.live.lines and self.state == "queued":
            text = Text("waiting for the run to begin ...", "italic")
        else:
            with follower.lock:
                text = run_text.progress(self.live, follower.state, follower.reason, time.time())
        self.query_one("#progress", Static).update(text)

    def _metric(self) -> str:
        """The validation metric that is drawn; the one that selects the best epoch where none is chosen."""
        name = self.sracl.preferences.metric
        return name if name in self.live.validation_names else self.live.select

    def draw_plots(self) -> None:
        """Draw the training losses and a validation metric."""
        preferences, follower = self.sracl.preferences, self.follower
        assert follower is not None
        with follower.lock:
            names = {run_id: self._called(run_id, live) for run_id, live in follower.runs.items()}
            seeds = {run_id: live.created.get("seed") for run_id, live in follower.runs.items()}
            labels = run_curves.unique_names(names, seeds)
            series = {labels[run_id]: live.series for run_id, live in follower.runs.items()}
            loss = preferences.loss if preferences.loss in self.live.training_names else ""
            losses = run_curves.losses(series, self.live.training_names, loss, self.smoothing)
            metrics = [
                run_curves.curve(found, "valid", self._metric(), label, self.smoothing)
                for label, found in series.items()
            ]
            best = self.live.best_epoch
            machine = {name: np.array(points) for name, points in self.live.machine.items()}
        how, scale = self.smoothed(), ", log" if preferences.logarithmic else ""
        self.query_one("#losses", Curves).draw(
            f"training {run_curves.loss_title(loss)}{how}{scale}", losses, log=preferences.logarithmic, mark=best
        )
        self.query_one("#metrics", Curves).draw(f"validation {title(self._metric())}{how}", metrics, mark=best)
        self.query_one(MachineCharts).show(machine, empty=run_text.without_samples(self.state))

    def _called(self, run_id: str, live: RunState) -> str:
        return self.sracl.name_of(run_id) or formatting.line(live.created.get("name") or run_id)

    def _show_log(self) -> None:
        assert self.follower is not None
        wanted = self.query_one("#log-search", Field).value
        table = self.query_one("#log-table", Table)
        at_end = table.cursor >= len(table.data.rows) - 1
        with self.follower.lock:
            grid = run_text.log_table(self.live, wanted)
            count = len(self.live.log)
        table.set_empty_text("No line has all these words." if wanted else "no line")
        table.show(grid)
        if at_end:
            table.action_jump(-1)
        label = f"Log: {len(grid.rows):,} of {count:,}" if wanted.strip() else "Log"
        self.query_one(TabbedContent).get_tab("log").label = label  # type: ignore[assignment]

    @on(Table.Chosen, "#log-table")
    def _show_line(self, message: Table.Chosen) -> None:
        assert isinstance(message.key, int)
        at, text = self.live.log[message.key]
        self.app.push_screen(TextDialog(formatting.local_time(at), formatting.text(text)))

    def runs_read(self) -> None:
        """The database may know more of a dead run."""
        self.refresh_bindings()

    def disabled_reason(self, action: str) -> str:
        """Only a live run can be stopped, only a dead one resumed."""
        state = self.state
        if action == "stop" and state not in ACTIVE:
            return f"This run is {state}: only a live run can be stopped."
        if action == "resume" and state not in RESUMABLE:
            return f"This run is {state}: only one that was stopped or died can be resumed."
        return ""

    def action_inspect(self) -> None:
        """Open the Inspector on this run."""
        self.sracl.open_inspector(self.run_id)

    def action_charts(self) -> None:
        """Show every metric in a grid."""
        self.app.push_screen(ChartsScreen(self.run_id))

    def action_clone(self) -> None:
        """Open the launch form with the settings of this run."""
        self.sracl.open_launch(self.run_id)

    def action_metric(self) -> None:
        """Draw the next validation metric."""
        preferences = self.sracl.preferences
        preferences.metric = run_curves.after(preferences.metric, self.live.validation_names)
        self.draw_plots()

    def action_loss(self) -> None:
        """Draw the next curve of the training: all losses, their sum, one of them, or what else the method measures."""
        preferences = self.sracl.preferences
        preferences.loss = run_curves.after(preferences.loss, self.live.training_names)
        self.draw_plots()

    def action_plots(self) -> None:
        """Show both plots, or one at full size."""
        names = list(PLOTS)
        preferences = self.sracl.preferences
        preferences.plots = (
            names[(names.index(preferences.plots) + 1) % len(names)] if preferences.plots in names else names[0]
        )
        self._choose_plots()
        self.query_one(TabbedContent).active = "curves"

    def _choose_plots(self) -> None:
        for name in ("losses", "metrics"):
            self.query_one(f"#{name}").display = self.sracl.preferences.plots in ("both", name)

    def figure_words(self) -> list[str]:
        """Curves over epochs of these runs: the metric, or the loss where only that is shown."""
        if self.query_one(TabbedContent).active != "curves":
            raise Unavailable("The curves are a figure: tab goes there.")
        loss = self.sracl.preferences.loss if self.sracl.preferences.loss in self.live.training_names else "loss"
        metric = f"train.{loss}" if self.sracl.preferences.plots == "losses" else f"valid.{self._metric()}"
        return [self.run_id, *self._others, "--figure", "epochs", "--metric", metric]

    @property
    def over_time(self) -> bool:
        """The keys move the charts of the machine while these are shown."""
        return self.query_one(TabbedContent).active == "machine"

    def action_tab(self, by: int) -> None:
        """Show the next tab."""
        tabs, names = self.query_one(TabbedContent), list(TABS)
        tabs.active = names[(names.index(tabs.active) + by) % len(names)]
        self._focus_tab()

    @on(TabbedContent.TabActivated)
    def _remember_tab(self) -> None:
        self.sracl.preferences.run_tab = self.query_one(TabbedContent).active
        self._focus_tab()

    def _focus_tab(self) -> None:
        field = self.query_one("#log-search", Field)
        if not field.has_focus:
            self.query_one(TABS.get(self.query_one(TabbedContent).active, "ContentTabs")).focus()

    def action_search(self) -> None:
        """Show the search of the log and move the focus there."""
        self.query_one(TabbedContent).active = "log"
        field = self.query_one("#log-search", Field)
        field.display = True
        field.focus()

    @on(Field.Changed, "#log-search")
    def _searched(self) -> None:
        self._show_log()

    @on(Field.Submitted, "#log-search")
    def _search_done(self) -> None:
        self.query_one("#log-table").focus()

    def action_back(self) -> None:
        """Close the search, or leave the screen."""
        field = self.query_one("#log-search", Field)
        if field.display:
            field.value, field.display = "", False
            self.query_one("#log-table").focus()
        else:
            super().action_back()

    def action_copy(self) -> None:
        """Copy the run ID."""
        self.copy(self.run_id, self.run_id)

    def action_stop(self) -> None:
        """Stop the run after a confirmation."""
        name = self._called(self.run_id, self.live)

        def answer(yes: bool | None) -> None:
            if yes:
                self._stop()

        self.app.push_screen(ConfirmDialog(f"Stop run {name}?", detail=STOP_DETAIL, yes="Stop it"), answer)

    @work(thread=True, exit_on_error=False, group="stop")
    def _stop(self) -> None:
        try:
            self.post_message(self.Reported(stop(self.sracl.home, self.run_id), words=("stop", self.run_id)))
        except StoreError as error:
            self.post_message(self.Reported(error_text(error), failed=True))

    def action_resume(self) -> None:
        """Resume the run in a process of its own."""
        self._resume()

    @work(thread=True, exit_on_error=False, group="start")
    def _resume(self) -> None:
        try:
            self.library.expect(self.run_id)
            self.post_message(
                self.Reported(resume(self.sracl.home, self.run_id), words=("run", "--resume", self.run_id))
            )
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Reported(error_text(error), failed=True))

    @on(Reported)
    def _show_outcome(self, message: Reported) -> None:
        self.notify(message.text, severity="error" if message.failed else "information", markup=False)
        if message.words:
            self.sracl.did(message.words)
