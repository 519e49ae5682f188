"""Every chart of a run in a grid: pages, one of them alone, a crosshair over all, and the log below."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.message import Message
from textual.widgets import Static

from engine.metric_registry import by_cutoff, title, training_names
from sracl_tui import formatting
from sracl_tui.runs.run_state import RunState
from sracl_tui.services.run_follower import RunFollower
from sracl_tui.tui.navigation import Navigation
from sracl_tui.tui.rendering import run as run_text
from sracl_tui.tui.rendering import run_curves
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.plot_page import PlotKeysPage
from sracl_tui.tui.widgets.curves import Curves
from sracl_tui.tui.widgets.machine_charts import KINDS, MachineChart, kinds_of
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError

POLL_SECONDS = 0.5
WIDTH, HEIGHT = 40, 8
"""Columns and lines that a chart has at least."""
MOST = 12
"""Charts on a page at most."""
BESIDE = 4
"""Lines of the screen beside charts and log."""
SPLITS = {"valid": "validation", "train": "training"}
MACHINE = "machine"
"""What stands in place of a split for charts of the machine."""


class Chart(Curves):
    """A chart of the grid; its number counts over all pages."""

    number = 0


class ChartsScreen(PlotKeysPage):
    """All metrics of a run, a chart each."""

    NAME = "Charts"
    ABOUT = (
        "Every metric of the run by epoch, then processors, memory and GPU by the time that it was running. The crosshair reads epoch and values in all charts at once: left and right move it, and so does the "
        "pointer. [ and ] turn the page, up and down choose a chart, enter or a double click shows it alone. The log stands below."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "alone", "Alone"),
        Binding("left_square_bracket,pageup", "page(-1)", "Previous", key_display="["),
        Binding("right_square_bracket,pagedown", "page(1)", "Next", key_display="]"),
        Binding("left,h", "cross(-1)", "Earlier"),
        Binding("right,l", "cross(1)", "Later"),
        Binding("shift+left", "cross(-10)", "Crosshair ten epochs earlier", show=False),
        Binding("shift+right", "cross(10)", "Crosshair ten epochs later", show=False),
        Binding("down,j,tab", "choose(1)", "Next chart", show=False),
        Binding("up,k,shift+tab", "choose(-1)", "Previous chart", show=False),
        Binding("0", "whole", "All epochs", show=False),
        Binding("i", "inspect", "Inspect", show=False),
        Binding("y", "copy", "Copy run id", show=False),
    ]

    class Changed(Message):
        """The journal has new lines, or the process has come or gone."""

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """Opens on the run that was viewed last."""
        return cls(app.current_run())

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self.chosen = 0
        """Number of the chart that is chosen."""
        self.alone = False
        self._at: float | None = None
        self._follower: RunFollower | None = None
        self._reading = False

    @property
    def live(self) -> RunState:
        """State of the run according to its journal."""
        return self._follower.runs[self.run_id] if self._follower else RunState()

    def body(self) -> ComposeResult:
        """Charts above the log."""
        yield Static("reading ...", id="charts-progress", markup=False)
        with Grid(id="charts"):
            for _ in range(MOST):
                yield Chart()
            for kind in KINDS:
                yield MachineChart(kind)
        log = Table(id="charts-log", empty="no line")
        log.can_focus = False
        yield log

    def on_mount(self) -> None:
        """Begin to follow the journal."""
        self.show_status(self.sracl.status)
        self._follower = RunFollower(self.sracl.home, (self.run_id,))
        self.set_interval(POLL_SECONDS, self._poll)
        self._poll()

    def _poll(self) -> None:
        if not self._reading:
            self._reading = True
            self._read()

    @work(thread=True, exit_on_error=False, group="tail")
    def _read(self) -> None:
        assert self._follower is not None
        try:
            if self._follower.read():
                self.post_message(self.Changed())
        except (OSError, StoreError) as error:
            self.sracl.notify(error_text(error), severity="error", markup=False)
        finally:
            self._reading = False

    @on(Changed)
    def _show(self) -> None:
        assert self._follower is not None
        live = self.live
        with self._follower.lock:
            log = run_text.log_table(live, "")
            epoch = f"epoch {live.epoch} of {live.epochs}" if live.epochs else ""
        best = f"best epoch {live.best_epoch}" if live.best_epoch else ""
        state = formatting.state(self._follower.state)
        self.query_one("#charts-progress", Static).update(", ".join(filter(None, [state, epoch, best])))
        table = self.query_one("#charts-log", Table)
        table.show(log)
        table.action_jump(-1)
        self.draw_plots()

    def on_resize(self, event: events.Resize) -> None:
        """As many charts as have room."""
        self.draw_plots()

    def names(self) -> list[tuple[str, str]]:
        """Split and name of every chart, in order."""
        names: dict[str, list[str]] = {split: [] for split in SPLITS}
        for split, name in self.live.series:
            names.setdefault(split, []).append(name)
        ordered = {**names, "valid": by_cutoff(names["valid"]), "train": training_names(names["train"])}
        machine = [(MACHINE, kind) for kind in kinds_of(self.live.machine)]
        return [(split, name) for split, own in ordered.items() for name in own] + machine

    @property
    def over_time(self) -> bool:
        """The keys move the charts of the machine while one of them is chosen."""
        names = self.names()
        return self.chosen < len(names) and names[self.chosen][0] == MACHINE

    @property
    def places(self) -> tuple[int, int]:
        """Columns and rows of the grid on this screen, not more than are needed."""
        if self.alone:
            return 1, 1
        count = max(1, len(self.names()))
        columns = min(max(1, self.size.width // WIDTH), count)
        log = self.query_one("#charts-log").styles.height
        room = self.size.height - BESIDE - int(log.value if log is not None else 0)
        rows = min(max(1, room // HEIGHT), -(-count // columns), MOST // columns)
        return columns, rows

    @property
    def pages(self) -> int:
        """Number of pages."""
        columns, rows = self.places
        return max(1, -(-len(self.names()) // (columns * rows)))

    def draw_plots(self) -> None:
        """Draw the page with the chosen chart."""
        if self._follower is None:
            return
        names, (columns, rows) = self.names(), self.places
        self.chosen = min(self.chosen, max(0, len(names) - 1))
        size = columns * rows
        first = self.chosen // size * size
        grid = self.query_one("#charts", Grid)
        grid.styles.grid_size_columns, grid.styles.grid_size_rows = columns, rows
        log = self.sracl.preferences.logarithmic
        metrics = [name for name in names if name[0] != MACHINE]
        for place, chart in enumerate(grid.query(Chart)):
            chart.number = first + place
            chart.display = place < size and (chart.number < len(metrics) or not (place or names))
            if chart.display:
                self._draw(chart, metrics[chart.number] if metrics else ("valid", self.live.select), log)
        for chart in grid.query(MachineChart):
            known = (MACHINE, chart.kind) in names
            chart.number = names.index((MACHINE, chart.kind)) if known else len(names)
            chart.display = known and first <= chart.number < first + size
            if chart.display:
                with self._follower.lock:
                    chart.show(self.live.machine, sign=self._sign(chart.number))
        page = f"page {first // size + 1} of {self.pages}, " if self.pages > 1 else ""
        name = self.sracl.name_of(self.run_id) or formatting.line(self.live.created.get("name") or self.run_id)
        self.set_title(f"{name}  {page}{formatting.count(len(names), 'chart')}")
        for chart in grid.query(Chart):
            chart.show_cross(self._at)

    def _sign(self, number: int) -> str:
        return "› " if number == self.chosen else "  "

    def _draw(self, chart: Chart, which: tuple[str, str], log: bool) -> None:
        split, name = which
        assert self._follower is not None
        with self._follower.lock:
            curve = run_curves.curve(self.live.series, split, name, "", self.smoothing)
            best = self.live.best_epoch
        text = run_curves.loss_title(name) if split == "train" else title(name)
        heading = (
            f"{self._sign(chart.number)}{SPLITS.get(split, split)} {text}{self.smoothed()}{', log' if log else ''}"
        )
        chart.draw(heading, [curve], log=log, mark=best)

    def show_cross(self, at: float | None, *, like: Curves | None = None) -> None:
        """Show the crosshair of all charts at an epoch; the next page has it too."""
        if not (self.over_time if like is None else isinstance(like, MachineChart)):
            self._at = at
        super().show_cross(at, like=like)

    def action_choose(self, by: int) -> None:
        """Choose another chart."""
        self.chosen = (self.chosen + by) % max(1, len(self.names()))
        self.draw_plots()

    def action_page(self, by: int) -> None:
        """Show another page."""
        columns, rows = self.places
        size = columns * rows
        page = (self.chosen // size + by) % self.pages
        self.chosen = page * size
        self.draw_plots()

    def action_alone(self) -> None:
        """Show the chosen chart alone, or all again."""
        self.alone = not self.alone
        self.draw_plots()

    async def on_click(self, event: events.Click) -> None:
        """Choose a chart; a double click shows it alone, or all again."""
        if isinstance(event.widget, Chart | MachineChart):
            if event.chain == 2 and event.widget.window is None:
                self.action_alone()
            elif event.chain == 1:
                self.chosen = event.widget.number
                self.draw_plots()

    def action_back(self) -> None:
        """All charts again, then without the crosshair, then the screen before."""
        if self.alone:
            self.action_alone()
        elif any(chart.cross is not None for chart in self.query(Curves)):
            self._at = None
            for chart in self.query(Curves):
                chart.show_cross(None)
        else:
            super().action_back()

    def action_inspect(self) -> None:
        """Open the Inspector on this run."""
        self.sracl.open_inspector(self.run_id)

    def action_copy(self) -> None:
        """Copy the run ID."""
        self.copy(self.run_id, self.run_id)
