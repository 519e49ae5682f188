"""What screens, dialogs and notifications may ask of the app.

They import this protocol and never the app itself: the app imports the screens, so that there is one direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from store.run_row import ListedRun

if TYPE_CHECKING:
    from textual.message_pump import MessagePump
    from textual.notifications import SeverityLevel

    from sracl_tui.services.population import UserSelection
    from sracl_tui.services.run_edits import EditHistory
    from sracl_tui.services.scoring import ScoringProcess
    from sracl_tui.services.store_session import StoreSession
    from sracl_tui.tui.preferences import Preferences
    from sracl_tui.tui.widgets.status_line import StoreStatus
    from store.home import Home


class Unavailable(Exception):
    """A screen cannot be opened now; the message says why and what to do."""


class Navigation(Protocol):
    """State that all screens share, and the ways from one screen to another."""

    home: Home
    library: StoreSession
    """The store, for worker threads."""
    scoring: ScoringProcess
    """Trained models, for worker threads."""
    preferences: Preferences
    status: StoreStatus
    runs: list[ListedRun]
    """Rows of all runs, newest first, with live runs as their journals have them."""
    runs_known: bool
    """Whether the store has been read at least once."""
    run_id: str | None
    """The run that a screen opens with when none is named."""

    edits: EditHistory
    """Edits of runs that `ctrl+z` takes back; who makes one adds it."""

    def did(self, words: Sequence[str]) -> None:
        """Log the command of what was just done, by its words after `sracl`, and show it in the status line."""

    def screen_has_changed(self) -> None:
        """Called by a screen that is on top now."""

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a notification."""

    def ring(self, sequence: str) -> None:
        """Write an escape sequence (bell, desktop notification) to the terminal."""

    def refresh_runs(self, *, now: bool = False) -> None:
        """Read the journals of live runs, and the database if it has changed or `now`; returns at once."""

    def row_of(self, run_id: str | None) -> ListedRun | None:
        """The row of a run; none if it is not listed."""

    def apply_preferences(self) -> None:
        """Show everything by the preferences as they are now."""

    def called(self, row: ListedRun) -> str:
        """What a run of the list is called: its name, else what differs in it."""
        ...

    def name_of(self, run_id: str) -> str:
        """What a run is called: its name, else what differs in it; empty where it is not listed."""
        ...

    def current_run(self) -> str:
        """Id of the run that was viewed last, else of the newest.

        Raises:
            Unavailable: there is no run.
        """
        ...

    def marked_runs(self) -> list[str]:
        """Ids of the runs that are marked in the list."""
        ...

    def action_go(self, where: str) -> None:
        """Open a screen by its name in `screens.PAGES` or `screens.DEEPER`."""

    def open_run(self, run_id: str, others: tuple[str, ...] = (), *, then_inspect: bool = False) -> None:
        """Follow a run, with the curves of others; `then_inspect` opens the Inspector when it has finished."""

    def open_charts(self, run_id: str) -> None:
        """Every metric of a run by epoch."""

    def open_inspector(
        self,
        run_id: str,
        user: str | None = None,
        *,
        second_run: str | None = None,
        position: int | None = None,
        on_top: bool = False,
    ) -> None:
        """Inspect a user of a run.

        Args:
            second_run: a second run of the same data, whose neighbors are shown next to those of the first.
            position: where the prefix ends; none for the one that represents the user.
            on_top: keep an Inspector that is already open, so that Back returns to it.
        """

    def open_everyone(self, run_id: str, user_id: int | None = None, *, only: UserSelection | None = None) -> None:
        """All users of a run, one of them marked, or some of them."""

    def open_item(self, run_id: str, item_id: int | None = None) -> None:
        """An item and its substitutes; without an id the most frequent item."""

    def open_launch(self, run_id: str | None, *, dataset: str | None = None) -> None:
        """The form for a new run, with the settings of a run or on a data set."""

    def open_compare(self, run_ids: Sequence[str], *, split: str = "valid") -> None:
        """Compare runs, by their ranks of a split."""

    def open_slices(self, run_ids: Sequence[str], baseline_ids: Sequence[str] = (), *, split: str = "test") -> None:
        """Whom a run helps: the seeds of one configuration against those of a baseline, in slices of the users."""

    def open_data(self, dataset_id: str) -> None:
        """The list of data sets, with the cursor on one of them."""

    def open_sql(self, query: str) -> None:
        """A query in the SQL editor, which does not run by itself."""

    def open_study(self, name: str) -> None:
        """The claims of a study."""

    def open_runs(self, text: str) -> None:
        """The list of runs with a filter."""


def navigation_of(node: MessagePump) -> Navigation:
    """The app that a screen, dialog or widget belongs to."""
    return cast(Navigation, node.app)
