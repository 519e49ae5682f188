"""One run, live: progress, curves of losses and validation metrics, log, settings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static, TabbedContent, TabPane

from engine.config import Config, load_config
from engine.errors import ConfigError, EngineError
from sracl_tui.live import LiveRun, Stage, smooth
from sracl_tui.screens.base import Page
from sracl_tui.screens.running import STOP_DETAIL, stop
from sracl_tui.widgets import words
from sracl_tui.widgets.curves import Curve, Curves
from sracl_tui.widgets.dialogs import Confirm
from store.errors import StoreError
from store.journal import Tail, lock_held
from store.runs import ACTIVE

if TYPE_CHECKING:
    from sracl_tui.app import SraclApp

LOOK_SECONDS = 0.5
LOSSES = {"loss": "all", "loss_rec": "L_rec", "loss_cs": "L_CS", "loss_is": "L_IS"}
METRICS = ("select", "hr@20", "ndcg@20", "hr@10", "ndcg@10", "mrr@20")
SMOOTHINGS = (0.0, 0.5, 0.8, 0.95)
LOG_LINES = 2000
BAR = 24


class RunScreen(Page):
    """What a run does now."""

    NAME = "Run"
    ABOUT = (
        "Curves of the losses and of a validation metric by epoch; the vertical line is the best epoch. Runs that were "
        "marked in the list are drawn too. Everything comes from the journal that the run writes, within half a second."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "inspect", "Inspect"),
        Binding("v", "metric", "Metric"),
        Binding("w", "smooth", "Smooth"),
        Binding("o", "log_scale", "Log scale"),
        Binding("slash", "search", "Search log", key_display="/"),
        Binding("tab", "tab(1)", "Next tab", show=False, priority=True),
        Binding("shift+tab", "tab(-1)", "Previous tab", show=False, priority=True),
        Binding("x", "stop", "Stop"),
        Binding("u", "resume", "Resume", show=False),
        Binding("c", "clone", "Clone", show=False),
        Binding("y", "copy", "Copy run id", show=False),
    ]

    @dataclass
    class Changed(Message):
        """The journal has new lines, or the process has gone."""

        runs: dict[str, LiveRun]
        held: bool

    @dataclass
    class Said(Message):
        """A command ended."""

        text: str
        failed: bool = False

    @classmethod
    def opening(cls, app: SraclApp) -> Page:
        """On the run last looked at."""
        return cls(app.current_run())

    def __init__(self, run_id: str, others: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.run_id, self._others = run_id, others[:5]
        self.live = LiveRun()
        self.held = False
        self.logarithmic, self._smoothing, self._metric = False, 0, 0
        self._runs: dict[str, LiveRun] = {}
        self._tails: dict[str, Tail] = {}
        self._first = True
        self._configured = False
        self._drawn: tuple[int, bool] | None = None
        """How many lines of the journal the curves and the log show: the run itself is folded in place."""

    def body(self) -> ComposeResult:
        """Progress above; curves, log and settings as tabs."""
        yield Static("reading ...", id="progress", markup=False)
        with TabbedContent(id="run-tabs"):
            with TabPane("Curves", id="curves"), Vertical(id="plots"):
                yield Curves(id="losses")
                yield Curves(id="metrics")
            with TabPane("Log", id="log"):
                yield Input(placeholder="only lines with these words", id="log-search", compact=True)
                with VerticalScroll(id="log-scroll"):
                    yield Static("", id="log-text", markup=False)
            with TabPane("Settings", id="settings"), VerticalScroll(id="settings-scroll"):
                yield Static("", id="settings-text", markup=False)

    def on_mount(self) -> None:
        """Begin to follow the journal."""
        self.query_one("#log-search").display = False
        self.set_interval(LOOK_SECONDS, self._look)
        self._look()
        self.query_one(TabbedContent).query_one("ContentTabs").focus()

    @work(thread=True, exclusive=False, exit_on_error=False, group="tail")
    def _follow(self) -> None:
        try:
            fresh = False
            for run_id in (self.run_id, *self._others):
                if run_id not in self._tails:
                    self._tails[run_id] = Tail(self.sracl.home.run_folder(run_id))
                    self._runs[run_id] = LiveRun()
                lines = self._tails[run_id].read()
                self._runs[run_id].take(lines)
                fresh = fresh or bool(lines)
            held = lock_held(self.sracl.home.run_folder(self.run_id))
        except (OSError, StoreError) as error:
            self.post_message(self.Said(str(error), failed=True))
            return
        if fresh or held != self.held or self._first or held:
            self._first = False
            self.post_message(self.Changed(self._runs, held))

    def _look(self) -> None:
        if not any(worker.group == "tail" and worker.is_running for worker in self.workers):
            self._follow()

    @property
    def state(self) -> str:
        """State now: a run whose lock is free and that did not say goodbye is dead."""
        if self.live.state in ACTIVE and not self.held:
            row = self.sracl.row_of(self.run_id)
            return row["state"] if row and row["state"] not in ACTIVE else "killed"
        return self.live.state

    @on(Changed)
    def _show(self, message: Changed) -> None:
        self.live, self.held = message.runs[self.run_id], message.held
        self.entitle(f"{self.live.created.get('name') or self.run_id}  {words.state(self.state)}")
        self._show_progress()
        now = (self.live.lines, self.held)
        if now != self._drawn:
            self._drawn = now
            self._draw()
            self._show_log()
            if self.live.created and not self._configured:
                self._show_settings()
            self.refresh_bindings()

    def _show_progress(self) -> None:
        live, now, said = self.live, time.time(), Text()
        if not live.lines:
            from sracl_tui.runner.launching import launch_log

            said.append("waiting for the run to begin ...\n", "italic")
            said.append(words.text(launch_log(self.sracl.home, self.run_id)[-2000:]))
            self.query_one("#progress", Static).update(said)
            return
        said.append(words.state(self.state), "bold")
        said.append(f"  {words.line(live.dataset)}  seed {live.created.get('seed', '-')}")
        said.append(f"  {words.line(live.reason)}" if live.reason else "").append("\n")
        done = [s for s in live.stages.values() if s.seconds is not None]
        if done:
            told = (f"{s.name} {'reused' if s.cached else words.clock(s.seconds)}" for s in done)
            said.append(f"{'done':<10}{', '.join(told)}\n")
        for stage in live.stages.values():
            if stage.seconds is None and self.state in ACTIVE:
                said.append(f"{_stage_line(stage, now)}\n")
        if live.epochs:
            share = min(1.0, (live.epoch + (live.step[0] / live.step[1] if live.step[1] else 0)) / live.epochs)
            said.append(f"{'train':<10}{words.bar(share, BAR):<{BAR}}  epoch {live.epoch} of {live.epochs} at most")
            left = live.remaining()
            said.append(f", {words.clock(left)} left at most" if left is not None else "")
            if live.best_epoch:
                said.append(f", best {live.best_epoch}, {live.bad_epochs} without gain")
        if live.test:
            shown = (
                f"{n.upper()} {live.test[n]:.4f}" for n in ("hr@10", "ndcg@10", "hr@20", "ndcg@20") if n in live.test
            )
            said.append(f"\ntest      {'  '.join(shown)}", "bold")
        self.query_one("#progress", Static).update(said)

    def _points(self, live: LiveRun, split: str, name: str, label: str) -> Curve:
        points = live.series.get((split, name), [])
        values = smooth([value for _, value in points], SMOOTHINGS[self._smoothing])
        return Curve(label, [epoch for epoch, _ in points], values)

    def _draw(self) -> None:
        name = self.live.select if self._metric == 0 else METRICS[self._metric]
        many = len(self._runs) > 1
        losses, metrics = [], []
        for live in self._runs.values():
            who = f"{live.created.get('name', '')}"[:20]
            if many:
                losses.append(self._points(live, "train", "loss", who))
            else:
                losses += [self._points(live, "train", key, label) for key, label in LOSSES.items()]
            metrics.append(self._points(live, "valid", name, who if many else name.upper()))
        how = f", smoothed {SMOOTHINGS[self._smoothing]}" if self._smoothing else ""
        scale = ", log scale" if self.logarithmic else ""
        best = self.live.best_epoch
        self.query_one("#losses", Curves).draw(f"training loss{how}{scale}", losses, log=self.logarithmic, mark=best)
        self.query_one("#metrics", Curves).draw(f"validation {name.upper()}{how}", metrics, mark=best)

    def _show_log(self) -> None:
        wanted = self.query_one("#log-search", Input).value.lower().split()
        lines = [f"{words.local_time(at)}  {words.line(said)}" for at, said in self.live.log]
        if wanted:
            lines = [line for line in lines if all(word in line.lower() for word in wanted)]
        scroll = self.query_one("#log-scroll", VerticalScroll)
        at_end = scroll.scroll_offset.y >= scroll.max_scroll_y - 1
        self.query_one("#log-text", Static).update("\n".join(lines[-LOG_LINES:]) or "no line")
        if at_end:
            scroll.scroll_end(animate=False)

    def _show_settings(self) -> None:
        self._configured = True
        preset = self.live.created.get("preset") or "default"
        said = Text()
        try:
            config = Config.model_validate(self.live.created["config"])
            differences = config.differences(load_config(preset=preset)[0])
        except (ConfigError, ValueError, KeyError) as error:
            said.append(words.text(error))
        else:
            said.append(f"preset {preset}, config {self.live.created.get('config_hash')}\n\n", "bold")
            said.append("differs from the preset in\n" if differences else "as in the preset\n")
            for path, (theirs, ours) in differences.items():
                said.append(f"  {path:<28}", "bold").append(f"{words.line(ours)}  (preset: {words.line(theirs)})\n")
            said.append("\nall settings\n")
            for section, values in config.model_dump(mode="json").items():
                for leaf, value in values.items():
                    said.append(f"  {section}.{leaf:<{26 - len(section)}} {words.line(value)}\n")
        self.query_one("#settings-text", Static).update(said)

    def runs_read(self) -> None:
        """The database may know more of a dead run."""
        self.refresh_bindings()

    def refusal(self, action: str) -> str:
        """Only a live run can be stopped, only a dead one resumed."""
        state = self.state
        if action == "stop" and state not in ACTIVE:
            return f"This run is {state}: only a live run can be stopped."
        if action == "resume" and state not in ("stopped", "failed", "killed", "lost"):
            return f"This run is {state}: only one that was stopped or died can be resumed."
        return ""

    def action_inspect(self) -> None:
        """Open the Inspector on this run."""
        self.sracl.open_inspector(self.run_id)

    def action_clone(self) -> None:
        """A new run with these settings."""
        self.sracl.open_launch(self.run_id)

    def action_metric(self) -> None:
        """The next metric."""
        self._metric = (self._metric + 1) % len(METRICS)
        self._draw()

    def action_smooth(self) -> None:
        """Smoother, then as it is."""
        self._smoothing = (self._smoothing + 1) % len(SMOOTHINGS)
        self._draw()

    def action_log_scale(self) -> None:
        """Losses on a logarithmic axis, or not."""
        self.logarithmic = not self.logarithmic
        self._draw()

    def action_tab(self, by: int) -> None:
        """The next tab."""
        tabs = self.query_one(TabbedContent)
        names = ["curves", "log", "settings"]
        tabs.active = names[(names.index(tabs.active) + by) % len(names)]
        self._focus_tab()

    def _focus_tab(self) -> None:
        place = {"log": "#log-scroll", "settings": "#settings-scroll"}.get(self.query_one(TabbedContent).active)
        self.query_one(place or "ContentTabs").focus()

    def action_search(self) -> None:
        """Only lines of the log with some words."""
        self.query_one(TabbedContent).active = "log"
        field = self.query_one("#log-search", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#log-search")
    def _searched(self) -> None:
        self._show_log()

    @on(Input.Submitted, "#log-search")
    def _search_done(self) -> None:
        self._focus_tab()

    def action_back(self) -> None:
        """Leave the search, then the screen."""
        field = self.query_one("#log-search", Input)
        if field.display:
            field.value, field.display = "", False
            self._focus_tab()
        else:
            super().action_back()

    def action_copy(self) -> None:
        """The run's id."""
        self.copy(self.run_id, self.run_id)

    def action_stop(self) -> None:
        """Ask, then stop."""
        name: Any = self.live.created.get("name") or self.run_id

        def answer(yes: bool | None) -> None:
            if yes:
                self._stop()

        self.app.push_screen(Confirm(f"Stop run {name}?", detail=STOP_DETAIL, yes="Stop it"), answer)

    @work(thread=True, exit_on_error=False, group="stop")
    def _stop(self) -> None:
        try:
            self.post_message(self.Said(stop(self.sracl.home, self.run_id)))
        except StoreError as error:
            self.post_message(self.Said(str(error), failed=True))

    def action_resume(self) -> None:
        """Go on in a process of its own."""
        self._resume()

    @work(thread=True, exit_on_error=False, group="start")
    def _resume(self) -> None:
        from sracl_tui.runner.launching import resume

        try:
            self.post_message(self.Said(f"goes on as process {resume(self.sracl.home, self.run_id)}"))
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Said(str(error), failed=True))

    @on(Said)
    def _say(self, message: Said) -> None:
        self.notify(message.text, severity="error" if message.failed else "information", markup=False)


def _stage_line(stage: Stage, now: float) -> str:
    share = stage.done / stage.total if stage.total else 0.0
    left = stage.remaining(now)
    count = f"{stage.done:,} of {stage.total:,}" if stage.total else "at work"
    told = [count, f"{words.clock(left)} left" if left else "", words.line(stage.detail)]
    return f"{stage.name:<10}{words.bar(share, BAR):<{BAR}}  {', '.join(filter(None, told))}"
