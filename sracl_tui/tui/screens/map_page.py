"""The maps of Everyone: the vectors of all users of a run, beside a second side, and of some users over the epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from textual import on, work
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui.services import projections
from sracl_tui.services.population import Population, RowIndices
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.population import vectors_text
from sracl_tui.tui.screens.choose_second_run import choose_second
from sracl_tui.tui.screens.figure_page import FigurePage
from sracl_tui.tui.widgets.density_plot import NO_POINTS, DensityPlot
from store.errors import StoreError
from store.queries import runs
from store.run_row import StoredRun


class MapPage(FigurePage):
    """Two maps of the same users, `#own-raster` and `#other-raster`, and a text about them, `#map-told`."""

    @dataclass
    class Mapped(Message):
        """Vectors of the users, and a map of them."""

        asked: tuple[str, str | None, int | None]
        found: projections.Vectors
        map: projections.Map | None

    @dataclass
    class Failed(Message):
        """The users cannot be shown, and why."""

        reason: str

    def __init__(self) -> None:
        super().__init__()
        self.run: StoredRun | None = None
        self.population: Population | None = None
        self.user_id: int | None = None
        """The user who is marked in the maps."""
        self.second_run: str | None = None
        """A second run, whose vectors lie beside those of this one."""
        self.epoch: int | None = None
        """The recorded epoch whose map is shown; none for the vectors of the best one, of all users."""
        self._recorded: list[int] = []
        self._method = "PCA"
        self._vectors: projections.Vectors | None = None
        self._asked: tuple[str, str | None, int | None] | None = None

    def _me(self, plot: DensityPlot) -> RowIndices:
        """Points of the user from whom the screen was opened, in a map."""
        place = None if self.population is None or self.user_id is None else self.population.place(self.user_id)
        return NO_POINTS if place is None or plot.grid is None else np.flatnonzero(plot.grid.indices == place)

    def see(self, user_id: int | None) -> None:
        """Mark another user in the maps."""
        self.user_id = user_id
        for plot in self.query("#maps DensityPlot").results(DensityPlot):
            plot.mark(self._me(plot))

    def _map(self) -> None:
        self._asked = (self._method, self.second_run, self.epoch)
        if self._method != "PCA":
            self.query_one("#map-told", Static).update("t-SNE is running; it takes some seconds ...")
        self._read_vectors(self._asked)

    @work(thread=True, exclusive=True, exit_on_error=False, group="map")
    def _read_vectors(self, asked: tuple[str, str | None, int | None]) -> None:
        assert self.run is not None
        assert self.population is not None
        method, second_run, epoch = asked
        try:
            store = self.library.store()
            if epoch is not None:
                best = self.run["best_epoch"] if self.run["best_epoch"] in self._recorded else self._recorded[-1]
                self.post_message(
                    self.Mapped(asked, *projections.epoch_map(store, self.run, self.population, epoch, best))
                )
                return
            second = None if second_run is None else runs.find_run(store, second_run)
            found = projections.vectors(store, self.run, self.population, second_run=second)
            made = None
            if found.a is not None and len(found.a) > 2:
                made = (projections.principal_map if method == "PCA" else projections.neighbor_map)(found)
            self.post_message(self.Mapped(asked, found, made))
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Failed(error_text(error)))

    @on(Mapped)
    def _show_map(self, message: Mapped) -> None:
        if message.asked != self._asked:
            return
        found, grids = message.found, message.map.grids if message.map else (None, None)
        self._vectors = found
        for side, name, made in zip(("own", "other"), found.names, grids, strict=True):
            self.query_one(f"#{side}-pane").border_title = name
            plot = self.query_one(f"#{side}-raster", DensityPlot)
            plot.show(made, empty=found.note or "There are too few users to draw a map.")
            plot.mark(self._me(plot))
        self.query_one("#map-told", Static).update(vectors_text(found, message.map))
        self.refresh_bindings()

    def action_epoch(self, by: int) -> None:
        """Show the map of the next or previous recorded epoch; beyond the first and last is that of all users."""
        epochs = [None, *self._recorded]
        place = epochs.index(self.epoch) if self.epoch in epochs else 0
        self.epoch = epochs[(place + by) % len(epochs)]
        self._map()

    def action_method(self) -> None:
        """Switch the map between PCA and t-SNE."""
        self.epoch = None
        self._method = "t-SNE" if self._method == "PCA" else "PCA"
        self._map()

    def action_other_run(self) -> None:
        """Choose a second run whose vectors are mapped next to those of this one."""
        assert self.run is not None
        choose_second(self, self.run, self.second_run, "The vectors of a second run beside", self._set_second_run)

    def _set_second_run(self, run_id: str | None) -> None:
        self.second_run, self.epoch = run_id, None
        self._map()
