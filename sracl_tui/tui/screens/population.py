"""All users of a run at once: how far similarity and weight agree, how even the weights are, where the vectors lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static, TabbedContent, TabPane

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services import projections
from sracl_tui.services.missing_neighbors import why_none
from sracl_tui.services.population import Population, RowIndices, UserSelection, read_population
from sracl_tui.tui.navigation import Navigation, Unavailable
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.population import (
    PHASES,
    density_text,
    entropy_text,
    histogram_table,
    spearman_text,
)
from sracl_tui.tui.rendering.user_table import COLUMNS, population_table
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.map_page import MapPage
from sracl_tui.tui.widgets.density_plot import DensityPlot
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError
from store.queries import runs
from store.queries import users as user_queries
from store.run_row import StoredRun

TABS = ("spearman", "entropy", "density", "map")
FIRST = {"spearman": "spearman-bars", "entropy": "entropy-bars", "density": "density-raster", "map": "own-raster"}
LOW = 32
"""Lines of a terminal below which a histogram has half as many buckets."""
MARKED = 2_000


class EveryoneScreen(MapPage):
    """Histograms, a density plot and maps of all users of a run."""

    SECTION = "everyone"
    NAME = "Everyone"
    ABOUT = (
        "Every user of a run. Spearman: does learning keep the order of similarity (+1), turn it around (-1) or leave it "
        "(0)? Entropy: how even are the weights; log k is all equal. Density: every neighbor's similarity and weight. Map: "
        "the users' vectors in two directions, h and the synthesized h+; a cell's users are marked in the other map; comma and full stop show "
        "recorded users epoch by epoch. Move to "
        "a bar or a cell, and its users are listed; enter goes to that list, and again to the Inspector."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "switch", "Users"),
        Binding("w", "phase", "Weights"),
        Binding("z", "zoom", "Zoom"),
        Binding("m", "method", "Method"),
        Binding("o", "other_run", "Second run"),
        Binding("a", "all", "All users", show=False),
        Binding("comma", "epoch(-1)", "Map at the recorded epoch before", show=False),
        Binding("full_stop", "epoch(1)", "Map at the next recorded epoch", show=False),
        Binding("tab", "tab(1)", "Next tab", show=False, priority=True),
        Binding("shift+tab", "tab(-1)", "Previous tab", show=False, priority=True),
    ]

    @dataclass
    class Read(Message):
        """All users of a run, with their weights in one phase."""

        run: StoredRun
        asked: tuple[str, bool, UserSelection | None]
        population: Population
        grid: projections.PointGrid
        epochs: dict[str, int]
        recorded: list[int]

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """Opens on the run that was viewed last."""
        return cls(app.current_run())

    def __init__(self, run_id: str, user_id: int | None = None, *, only: UserSelection | None = None) -> None:
        super().__init__()
        self.run_id, self.user_id, self.only = run_id, user_id, only
        self.phase = "best"
        self._epochs: dict[str, int] = {}
        self._buckets: dict[str, list[projections.Bucket]] = {}
        self._whole = False
        """Entropy from 0 to log k and weights from 0, not only where there are values."""

    def body(self) -> ComposeResult:
        """Four tabs, each with a chart, the users of the chosen bar or cell, and a text."""
        with TabbedContent(id="everyone-tabs"):
            for name in ("spearman", "entropy"):
                with TabPane(name.title(), id=name):
                    with Horizontal():
                        yield Table(id=f"{name}-bars", classes="chart", empty="reading ...")
                        yield Table(id=f"{name}-users", classes="users")
                    yield Static("", id=f"{name}-told", classes="told", markup=False)
            with TabPane("Weight by similarity", id="density"):
                with Horizontal():
                    yield DensityPlot(id="density-raster", axes=("similarity", "weight"), empty="reading ...")
                    yield Table(id="density-users", classes="users")
                yield Static("", id="density-told", classes="told", markup=False)
            with TabPane("Map", id="map"):
                with Horizontal(id="maps"):
                    for side in ("own", "other"):
                        with Vertical(classes="pane", id=f"{side}-pane"):
                            yield DensityPlot(id=f"{side}-raster", empty="reading ...")
                with Horizontal(id="below-maps"):
                    yield Static("", id="map-told", markup=False)
                    yield Table(id="map-users", classes="users")

    def on_mount(self) -> None:
        """Read the users."""
        self._read(self.run_id, self._reading)

    @property
    def tab(self) -> str:
        """ID of the visible tab."""
        return self.query_one(TabbedContent).active or "spearman"

    @property
    def _reading(self) -> tuple[str, bool, UserSelection | None]:
        return self.phase, self._whole, self.only

    @work(thread=True, exclusive=True, exit_on_error=False, group="read")
    def _read(self, run_id: str, asked: tuple[str, bool, UserSelection | None]) -> None:
        phase, whole, only = asked
        try:
            store = self.library.store()
            run = runs.find_run(store, run_id)
            if run["dataset_id"] is None:
                self.post_message(
                    MapPage.Failed("This run did not get as far as its data: there is no user to look at.")
                )
                return
            population = read_population(store, run, phase=phase)
            population = population if only is None else population.only(only.user_ids)
            epochs = user_queries.weight_epochs(store, run["run_id"])
            recorded = sorted(user_queries.recorded_places(store, run["run_id"]))
            grid = projections.density(population, whole=whole)
            self.post_message(self.Read(run, asked, population, grid, epochs, recorded))
        except (StoreError, EngineError) as error:
            self.post_message(MapPage.Failed(error_text(error)))

    @on(MapPage.Failed)
    def _show_failure(self, message: MapPage.Failed) -> None:
        if self.population is None:
            for table in self.query(Table):
                table.set_empty_text("")
            self.query_one("#spearman-bars", Table).set_empty_text(formatting.line(message.reason.splitlines()[0]))
        self.notify(message.reason, severity="warning", markup=False)

    @on(Read)
    def _take(self, message: Read) -> None:
        if message.asked != self._reading:
            return
        first = self.population is None
        self.run, self.population, self._epochs = message.run, message.population, message.epochs
        self._recorded = message.recorded
        some = f"{formatting.count(len(self.population), 'user')} of {self.sracl.name_of(self.run_id) or self.run['name']} on {self.run['dataset_name']}"
        self.set_title(some if self.only is None else f"{some}, {self.only.label} (a: all)")
        self._show_histograms()
        plot = self.query_one("#density-raster", DensityPlot)
        if len(self.population.neighbor_weights.rows):
            plot.show(message.grid, level=self._even())
        else:
            plot.show(None, empty=self._no_weights())
        self.query_one("#density-told", Static).update(density_text(self.population, self._when()))
        if first:
            self._focus_tab()
            self._map()
        self.refresh_bindings()

    def _when(self) -> str:
        epoch = self._epochs.get(self.phase)
        return PHASES[self.phase] + ("" if epoch is None or self.phase == "initial" else f" (epoch {epoch})")

    def _even(self) -> tuple[float, str] | None:
        """The weight of each of k equal neighbors, and its label."""
        assert self.population is not None
        k = int(self.population.neighbor_weights.counts.max(initial=0))
        return (1 / k, f"1/{k}") if k else None

    def _no_weights(self) -> str:
        """Why no weights are stored for this phase."""
        assert self.run is not None
        if why := why_none(self.run["config"], "inter", without="weighs no neighbors", found=False):
            return why
        if self.phase == "initial" or not self._epochs:
            return f"This run keeps no weights {PHASES[self.phase]}; they are written when it has trained."
        return f"This run keeps no weights {PHASES[self.phase]}."

    def _show_histograms(self) -> None:
        population = self.population
        assert population is not None
        count = 10 if self.app.size.height < LOW else 20
        missing = "equal weights, or fewer than two neighbors"
        self._buckets["spearman"] = projections.histogram(
            population.spearman, projections.edges(-1.0, 1.0, count), missing=missing
        )
        k = int(population.neighbor_weights.counts.max(initial=0))
        known = population.entropy[~np.isnan(population.entropy)]
        most = max(math.log(k) if k else 0.0, float(known.max(initial=0.0)))
        low = 0.0 if self._whole or not len(known) else float(known.min())
        if most - low < 1e-4:  # all alike: rounding is no spread
            low = most - 1e-4
        marks = {f"log {k}": math.log(k)} if k > 1 else {}
        self._buckets["entropy"] = projections.histogram(
            population.entropy, projections.edges(low, most, count), missing="no neighbors", marks=marks
        )
        for name in ("spearman", "entropy"):
            bars = self.query_one(f"#{name}-bars", Table)
            if len(population.neighbor_weights.rows):
                new = not bars.data.rows
                bars.show(histogram_table(name, self._buckets[name], bars.size.width))
                if new:
                    bars.move_to(int(np.argmax([len(bucket.indices) for bucket in self._buckets[name]])))
                self._list(name)
            else:
                bars.set_empty_text(self._no_weights())
        self.query_one("#spearman-told", Static).update(spearman_text(population, self._when()))
        self.query_one("#entropy-told", Static).update(entropy_text(population, self._when()))

    def on_resize(self) -> None:
        """Fewer buckets where it is low, shorter bars where it is narrow."""
        if self.population is not None:
            self.after_refresh(self._show_histograms)

    @on(Table.Highlighted, ".chart")
    def _bar(self, message: Table.Highlighted) -> None:
        self._list((message.table.id or "").removesuffix("-bars"))

    def _list(self, name: str) -> None:
        """List the users of the bar under the cursor."""
        bars = self.query_one(f"#{name}-bars", Table)
        if self.population is not None and isinstance(bars.key, int) and bars.key < len(self._buckets[name]):
            self._show_users(name, self._buckets[name][bars.key].indices)

    def _show_users(self, name: str, indices: RowIndices) -> None:
        assert self.population is not None
        last = {"entropy": "entropy", "map": "rank"}.get(name, "spearman")
        keys = ("number", "raw", last, *(("length", "rank") if self.has_class("-wide") else ()))
        chosen = [column for column in COLUMNS if column.key in keys]
        self.query_one(f"#{name}-users", Table).show(
            population_table(self.population, indices, columns=chosen), keep=False
        )

    @on(DensityPlot.Highlighted, "#density-raster")
    def _cell(self, message: DensityPlot.Highlighted) -> None:
        if message.plot.grid is not None and self.population is not None:
            indices = np.unique(message.plot.grid.indices[message.points])
            self._show_users("density", indices)
            text = density_text(self.population, self._when(), message.plot.ranges(), len(message.points), len(indices))
            self.query_one("#density-told", Static).update(text)

    @on(DensityPlot.Highlighted, "#own-raster")
    @on(DensityPlot.Highlighted, "#other-raster")
    def _spot(self, message: DensityPlot.Highlighted) -> None:
        """List the users of the cell, and show where they are in the other map."""
        if message.plot.grid is None:
            return
        self._show_users("map", np.sort(message.plot.grid.indices[message.points]))
        message.plot.mark(self._me(message.plot))
        other = self.query_one("#other-raster" if message.plot.id == "own-raster" else "#own-raster", DensityPlot)
        other.mark(message.points[:MARKED] if len(message.points) else self._me(other))

    @on(Table.Chosen, ".chart")
    @on(DensityPlot.Chosen)
    def _to_users(self) -> None:
        table = self.query_one(f"#{self.tab}-users", Table)
        if table.data.rows:
            table.focus()

    @on(Table.Chosen, ".users")
    def _open_user(self, message: Table.Chosen) -> None:
        self.sracl.open_inspector(self.run_id, str(message.key), on_top=True)

    def disabled_reason(self, action: str) -> str:
        """Maps need vectors, phases need weights."""
        if action in ("switch", "phase", "zoom", "method", "other_run") and self.population is None:
            return "The users are not read yet."
        if action == "all" and self.only is None:
            return "These are all users: enter on a slice (Slices) shows some."
        if action == "zoom" and self.is_mounted and self.tab not in ("entropy", "density"):
            return "Only entropy and weight have two ranges."
        if action == "phase" and self.population is not None and not self._epochs:
            return self._no_weights()
        if action == "epoch" and not self._recorded:
            return "This run has recorded no map over its epochs (settings record.snapshots, record.users)."
        if action in ("method", "other_run", "epoch"):
            if self.is_mounted and self.tab != "map":
                return "That is for the map: tab goes there."
            if action == "method" and self.epoch is None and (self._vectors is None or self._vectors.a is None):
                return "There are no vectors to map."
        return ""

    def figure_words(self) -> list[str]:
        """Weight by similarity, or the map of vectors."""
        if self.tab == "density":
            if self.phase != "best":
                raise Unavailable("The figure is of the weights of the best epoch: w goes there.")
            return [self.run_id, "--figure", "weights"]
        if self.tab == "map":
            return [self.run_id, *([self.second_run] if self.second_run else []), "--figure", "map"]
        raise Unavailable("Weight by similarity and Map, by tab, are figures.")

    def action_switch(self) -> None:
        """Move the focus between the chart and its users."""
        users = self.query_one(f"#{self.tab}-users", Table)
        (self.query_one(f"#{FIRST[self.tab]}") if users.has_focus else users).focus()

    def action_phase(self) -> None:
        """Show the weights of the next phase: best epoch, last epoch, before training."""
        names = list(PHASES)
        self.phase = names[(names.index(self.phase) + 1) % len(names)]
        self._read(self.run_id, self._reading)

    def action_zoom(self) -> None:
        """Switch between the observed range and the whole range of entropy and weights."""
        self._whole = not self._whole
        self._read(self.run_id, self._reading)

    def action_all(self) -> None:
        """Show all users, not only those of a slice."""
        self.only, self.population = None, None
        self._read(self.run_id, self._reading)

    def action_tab(self, by: int) -> None:
        """Show the next tab."""
        tabs = self.query_one(TabbedContent)
        tabs.active = TABS[(TABS.index(self.tab) + by) % len(TABS)]
        self._focus_tab()

    @on(TabbedContent.TabActivated)
    def _focus_tab(self) -> None:
        self.query_one(f"#{FIRST[self.tab]}").focus()
        self.refresh_bindings()
