"""The Textual app: its screens, bindings, palette and themes. It trains nothing; it reads what runs write."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Select
from textual.worker import WorkerError

from sracl_tui import formatting
from sracl_tui.logs import crash
from sracl_tui.runs import own_code
from sracl_tui.services.scoring import ScoringProcess
from sracl_tui.services.store_session import Snapshot, StoreSession
from sracl_tui.tui import keymap, notifications
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.finding_actions import FindingActions
from sracl_tui.tui.gc_scheduler import GcScheduler
from sracl_tui.tui.global_actions import system_commands
from sracl_tui.tui.navigation import Unavailable
from sracl_tui.tui.preferences import Preferences
from sracl_tui.tui.rendering.run_list import shown_name
from sracl_tui.tui.screens import PAGES, page_class, page_title
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.themes import THEMES, theme_name, without_palette
from sracl_tui.tui.widgets.status_line import StoreStatus
from store.home import Home
from store.run_row import ListedRun
from store.run_states import ACTIVE

if TYPE_CHECKING:
    from sracl_tui.services.population import UserSelection

STYLES: list[str | PurePath] = [
    Path("styles", path.name) for path in sorted(Path(__file__).with_name("styles").glob("*.tcss"))
]
POLL_SECONDS = 0.5
KEEP_SECONDS = 5.0
LEAVE_SECONDS = 2.0
MOUNT_SECONDS, MOUNT_TURNS = 0.005, 1_000


class SraclApp(NamedBindings, FindingActions):
    """The app: screens over the runs, data sets and costs of one home."""

    TITLE = "sracl"
    CSS_PATH = STYLES
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"go('{name}')", page_title(name), show=False)
            for number, name in enumerate(PAGES, start=1)
        ),
        Binding("0", "go('study')", "Study", show=False),
        *FindingActions.GLOBAL_BINDINGS,
        *FindingActions.FINDING_BINDINGS,
        Binding("ctrl+t", "turn_theme", "Light or dark", show=False),
        Binding("q", "leave", "Quit", show=False),
        Binding("ctrl+q", "quit", "Quit at once", show=False, priority=True),
    ]

    @dataclass
    class RunsRead(Message):
        """A new snapshot of the runs."""

        snapshot: Snapshot

    def __init__(self, home: Home, *, theme: str | None = None) -> None:
        super().__init__()
        own_code.guard(home)
        self.home = home
        self.library = StoreSession(home)
        self.scoring = ScoringProcess(home)
        self.collector = GcScheduler()
        self.preferences = Preferences.read(home)
        self.status = StoreStatus(place=str(home.database))
        self.runs: list[ListedRun] = []
        self.runs_known = False
        self._kept = deepcopy(self.preferences)
        self.shows_tracebacks = False
        """Whether the traceback of an unexpected error is printed as well as logged."""
        self.keeps = True
        """Whether this start leaves its choices for the next one."""
        self.run_id: str | None = self.preferences.run or None
        """The run that screens open with where none is named."""
        for made in THEMES:
            self.register_theme(made)
        self._theme = self.preferences.theme
        """The theme that was preferred when preferences were applied last."""
        self.theme = theme or theme_name(self._theme, self.preferences.palette)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """A gray that is legible on any background, for themes without one of their own."""
        return {"dim": "#808080"}

    def get_default_screen(self) -> Screen[Any]:
        """The list of runs."""
        return RunsScreen()

    def on_mount(self) -> None:
        """Apply keys.toml, then begin to read journals and database."""
        chosen = keymap.read(self.home)
        self.set_keymap(chosen.keys)
        if chosen.problems:
            text = "\n".join(chosen.problems[:8])
            self.notify(
                formatting.text(text), title="Not used of keys.toml", severity="warning", timeout=15, markup=False
            )
        notifications.check_settings(self)
        self.set_interval(POLL_SECONDS, self.refresh_runs)
        self.set_interval(KEEP_SECONDS, self._keep)
        self.set_interval(KEEP_SECONDS, self.collector.collect_if_idle)
        self.call_after_refresh(self.collector.start)
        self.refresh_runs()

    async def on_event(self, event: events.Event) -> None:
        """Tell the garbage collector's schedule that someone uses the app."""
        if isinstance(event, events.InputEvent):
            self.collector.touch()
            if isinstance(event, events.Key) and not event.is_forwarded:
                self.key_was_pressed(event.key)
        await super().on_event(event)

    async def on_unmount(self) -> None:
        """Write the preferences and close the store, unless a long query still reads it."""
        self._keep()
        self.collector.stop()
        self.scoring.close()
        with suppress(TimeoutError, WorkerError):
            await asyncio.wait_for(self.workers.wait_for_complete(), LEAVE_SECONDS)
            self.library.close()

    def _keep(self) -> None:
        """Write the preferences if they have changed, so that they survive a closed terminal."""
        self.preferences.run = self.run_id or ""
        if self.keeps and self.preferences != self._kept:
            self._kept = deepcopy(self.preferences)
            self.preferences.write(self.home)

    def refresh_runs(self, *, now: bool = False) -> None:
        """Read the journals, and the database if it has changed or `now`, in worker threads."""
        if not self._is_running("runs"):
            self._poll_journals()
        if now or (self.library.is_stale and not self._is_running("store")):
            self._read_database()

    def _is_running(self, group: str) -> bool:
        return any(worker.group == group and not worker.is_finished for worker in self.workers)

    @work(thread=True, exit_on_error=False, group="runs")
    def _poll_journals(self) -> None:
        self.post_message(self.RunsRead(self.library.poll()))

    @work(thread=True, exit_on_error=False, group="store")
    def _read_database(self) -> None:
        self.library.read()
        self.post_message(self.RunsRead(self.library.poll()))

    @on(RunsRead)
    def _show_runs(self, message: RunsRead) -> None:
        snapshot = message.snapshot
        if snapshot.alerts:
            notifications.show_alerts(self, snapshot.alerts)
        changed = snapshot.rows is not self.runs or snapshot.known != self.runs_known
        if snapshot.known and not self.runs_known:
            self._import_screens()
        self.runs, self.runs_known = snapshot.rows, snapshot.known
        if changed or snapshot.trouble != self.status.trouble:
            live = sum(row["state"] in ACTIVE for row in snapshot.rows)
            spent = snapshot.removed_usd + sum(row["usd_known"] for row in snapshot.rows)
            self._show_status(StoreStatus(str(self.home.database), len(snapshot.rows), live, spent, snapshot.trouble))
            for screen in self.screen_stack:
                if isinstance(screen, BaseScreen) and screen.is_mounted:
                    screen.runs_read()
                elif isinstance(screen, BaseScreen):
                    screen.call_later(screen.runs_read)  # when it is there

    def _show_status(self, status: StoreStatus) -> None:
        self.status = status
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                screen.show_status(status)

    def ring(self, sequence: str) -> None:
        """Write a bell, or a request for a desktop notification, to the terminal."""
        if sequence:
            self.write_to_terminal(sequence)

    def error_message(self) -> Text | None:
        """Log the traceback of an unexpected error; a sentence for the terminal, or none with `--debug`."""
        text = crash(self.home, sys.exception() or RuntimeError(), "the app has ended by an error")
        return None if self.shows_tracebacks else Text(f"{text} No run is touched by it; --debug shows more.")

    @work(thread=True, exit_on_error=False, group="import")
    def _import_screens(self) -> None:
        """After the first picture, so that no screen waits for its modules when it is opened."""
        for name in PAGES:
            page_class(name)

    def row_of(self, run_id: str | None) -> ListedRun | None:
        """The row of a run in the list; none if it is not listed."""
        return next((row for row in self.runs if row["run_id"] == run_id), None)

    def called(self, row: ListedRun) -> str:
        """What a run of the list is called: its name, else what differs in it."""
        home = self.screen_stack[0]
        return shown_name(row, home.differences if isinstance(home, RunsScreen) else {})

    def name_of(self, run_id: str) -> str:
        """The same by ID; empty where it is not listed."""
        row = self.row_of(run_id)
        return self.called(row) if row is not None else ""

    def action_go(self, where: str) -> None:
        """Open a screen by name."""
        if where == "runs":
            while len(self.screen_stack) > 1:
                self.pop_screen()
            return
        try:
            self._show(page_class(where).opening(self))
        except Unavailable as reason:
            self.notify(str(reason), severity="warning", markup=False)

    def current_run(self) -> str:
        """The run that a screen opens with: the one viewed last, else the newest.

        Raises:
            Unavailable: there is none.
        """
        known = not self.runs_known or self.row_of(self.run_id) is not None
        run_id = (self.run_id if known else None) or (self.runs[0]["run_id"] if self.runs else None)
        if run_id is None:
            raise Unavailable("There is no run yet: start one with 4 (Launch).")
        self.run_id = run_id
        return run_id

    def _show(self, page: BaseScreen) -> None:
        """Open a page; one of its kind that is open already gives way."""
        while len(self.screen_stack) > 1 and any(type(open_) is type(page) for open_ in self.screen_stack[1:]):
            self.pop_screen()
        self.push_screen(page)

    async def screen_leaves(self, screen: Screen[Any]) -> None:
        """Wait until the screen is mounted and has handled its messages: its widgets are about to be removed."""
        for _ in range(MOUNT_TURNS):
            if screen.is_mounted:
                break
            await asyncio.sleep(MOUNT_SECONDS)
        if isinstance(screen, BaseScreen):
            await screen.drain_messages()

    def open_run(self, run_id: str, others: tuple[str, ...] = (), *, then_inspect: bool = False) -> None:
        """Follow a run, with the curves of others; `then_inspect` opens the Inspector once it has finished."""
        from sracl_tui.tui.screens.run import RunScreen

        self.run_id = run_id
        self._show(RunScreen(run_id, others, then_inspect=then_inspect))

    def open_charts(self, run_id: str) -> None:
        """Show every metric of a run by epoch."""
        from sracl_tui.tui.screens.charts import ChartsScreen

        self.run_id = run_id
        self._show(ChartsScreen(run_id))

    def open_inspector(
        self,
        run_id: str,
        user: str | None = None,
        *,
        second_run: str | None = None,
        position: int | None = None,
        on_top: bool = False,
    ) -> None:
        """Inspect a user of a run, at a prefix; `second_run` stands beside, `on_top` keeps an Inspector that is already open."""
        from sracl_tui.tui.screens.inspector import InspectorScreen

        page = InspectorScreen(run_id, user, second_run=second_run, position=position)
        if on_top:
            self.push_screen(page)
            return
        self.run_id = run_id
        self._show(page)

    def open_everyone(self, run_id: str, user_id: int | None = None, *, only: UserSelection | None = None) -> None:
        """Show all users of a run, one of them marked, or some; the newest open screen of that run is reused for all."""
        from sracl_tui.tui.screens.population import EveryoneScreen

        self.run_id = run_id
        every = (s for s in reversed(self.screen_stack) if isinstance(s, EveryoneScreen) and s.run_id == run_id)
        open_ = next(every, None) if only is None else None
        if open_ is None:
            self.push_screen(EveryoneScreen(run_id, user_id, only=only))
            return
        while self.screen is not open_:
            self.pop_screen()
        open_.see(user_id)

    def open_item(self, run_id: str, item_id: int | None = None) -> None:
        """Push the screen of an item and its substitutes."""
        from sracl_tui.tui.screens.item import ItemScreen

        self.run_id = run_id
        self.push_screen(ItemScreen(run_id, item_id))

    def marked_runs(self) -> list[str]:
        """Runs that are marked in the list, and the one under its cursor where that is only one."""
        home = self.screen_stack[0]
        return home.marked_runs() if isinstance(home, RunsScreen) else []

    def open_launch(self, run_id: str | None, *, dataset: str | None = None) -> None:
        """Open the form of a new run, with the settings of a run or on a data set."""
        from sracl_tui.tui.screens.launch import LaunchScreen

        self._show(LaunchScreen(run_id, dataset=dataset))

    def open_compare(self, run_ids: Sequence[str], *, split: str = "valid") -> None:
        """Compare runs, by their ranks of a split."""
        from sracl_tui.tui.screens.compare import CompareScreen

        self._show(CompareScreen(run_ids, split=split))

    def open_slices(self, run_ids: Sequence[str], baseline_ids: Sequence[str] = (), *, split: str = "test") -> None:
        """Show whom a run helps against a baseline; without one it is looked for."""
        from sracl_tui.tui.screens.slices import SlicesScreen

        self._show(SlicesScreen(run_ids, baseline_ids, split=split))

    def open_data(self, dataset_id: str) -> None:
        """Open the list of data sets with the cursor on one of them."""
        from sracl_tui.tui.screens.data import DataScreen

        self._show(DataScreen(dataset_id))

    def open_sql(self, query: str) -> None:
        """Open the SQL screen with a query."""
        self.preferences.query = query
        self.action_go("sql")

    def open_study(self, name: str) -> None:
        """Open a study."""
        from sracl_tui.tui.screens.study import StudyScreen

        self._show(StudyScreen(name))

    def open_runs(self, text: str) -> None:
        """Go to the list of runs and filter it."""
        self.action_go("runs")
        home = self.screen_stack[0]
        if isinstance(home, RunsScreen):
            home.narrow(text)

    def action_turn_theme(self) -> None:
        """Switch between the light and the dark theme, and remember it."""
        self._theme = self.preferences.theme = "sracl-light" if self.current_theme.dark else "sracl-dark"
        self.theme = theme_name(self._theme, self.preferences.palette)

    def apply_preferences(self) -> None:
        """Show everything by the preferences as they are now."""
        home, preferences = self.screen_stack[0], self.preferences
        chosen = preferences.theme != self._theme  # else the one that this start was given stays
        self._theme = preferences.theme
        self.theme = theme_name(self._theme if chosen else without_palette(self.theme), preferences.palette)
        if isinstance(home, RunsScreen):
            home.apply_preferences()

    def on_click(self, event: events.Click) -> None:
        """A click outside a dialog closes it, as `esc` does."""
        if isinstance(self.screen, ModalScreen) and event.widget is self.screen:
            self.simulate_key("escape")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The key that copies a command is another screen's while none is shown."""
        return self.can_copy_command() if action == "copy_command" else super().check_action(action, parameters)

    def action_leave(self) -> None:
        """Quit, unless a field has the focus: there `q` is a letter."""
        if not isinstance(self.focused, Input | Select):
            self.exit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Palette entries: actions of the screen, all screens, and runs."""
        yield from system_commands(self, screen)

    async def act(self, node: Any, action: str, why: str) -> None:
        """Run an action of a node, or say why it is not possible."""
        if why:
            self.notify(why, severity="warning", markup=False)
        else:
            await self.run_action(action, default_namespace=node)
