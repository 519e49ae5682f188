"""What calls to models have cost, what is left, what the next run would cost, and what live jobs spend right now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static, TabbedContent, TabPane

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.runs import own_code
from sracl_tui.runs.run_state import RunState
from sracl_tui.services import cost_report
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.bar_chart import Chart
from sracl_tui.tui.widgets.dialogs import PromptDialog
from sracl_tui.tui.widgets.table import Column, Row, Table, TableData, lay_out
from store.errors import StoreError
from store.journal.journal import Tail
from store.queries import costs
from store.run_row import ListedRun
from store.run_states import ACTIVE

TABS = {"day": "Day", "run": "Run", "provider": "Provider", "model": "Model", "dataset": "Data", "gain": "Gain"}
POLL_SECONDS = 0.5
UNASKED = "next run: p prices one by its dry run"


class CostsScreen(BaseScreen):
    """Costs of model calls, by day, run, provider, model and data set."""

    NAME = "Costs"
    ABOUT = (
        "Dollars are those whose price is known; calls of unknown price (unpriced) come on top and are never $0. `rule-based` "
        "counts texts that replace an answer that the model failed to give. `saved` is what the providers' prompt caches saved. "
        "Under Gain, what a run's summaries have cost per 0.01 of NDCG@20 gained over the backbone. p prices the next run."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "price", "Price a run"),
        Binding("r", "refresh", "Refresh"),
        Binding("y", "copy", "Copy"),
        Binding("tab", "tab(1)", "Next tab", show=False, priority=True),
        Binding("shift+tab", "tab(-1)", "Previous tab", show=False, priority=True),
    ]

    @dataclass
    class Summed(Message):
        """Totals and tables of the costs."""

        total: dict[str, Any]
        tables: dict[str, TableData]
        days: tuple[list[str], list[float]]
        left: str

    @dataclass
    class Heard(Message):
        """Progress lines of live jobs that call models."""

        lines: list[str]

    @dataclass
    class Priced(Message):
        """The estimate of the next run, as text."""

        text: str

    @dataclass
    class Failed(Message):
        """The costs cannot be read, and why."""

        reason: str

    def __init__(self) -> None:
        super().__init__()
        self.days: tuple[list[str], list[float]] = [], []
        self._next = ""
        self._tails: dict[str, tuple[Tail, RunState]] = {}

    def body(self) -> ComposeResult:
        """Totals, live jobs and the estimate above; tables by day, run, provider, model, data set and gain below."""
        yield Static("reading ...", id="sums", markup=False)
        yield Static("", id="live", markup=False)
        yield Static(UNASKED, id="next", markup=False)
        with TabbedContent(id="costs-tabs"):
            for name, title in TABS.items():
                with TabPane(title, id=name):
                    if name == "day":
                        yield Chart(id="spend-plot")
                    yield Table(id=f"{name}-table", empty="reading ...")

    def on_mount(self) -> None:
        """Read the costs, and poll the journals of live jobs."""
        self.show_status(self.sracl.status)
        self.set_interval(POLL_SECONDS, self._poll)
        self._sum()
        self._poll()
        self._focus_tab()

    def runs_read(self) -> None:
        """Runs have changed, and so may have their costs."""
        self._sum()

    @work(thread=True, exclusive=True, exit_on_error=False, group="sums")
    def _sum(self) -> None:
        try:
            store = self.library.store()
            rows = {by: costs.gains(store) if by == "gain" else costs.spending(store, by) for by in TABS}
            total = costs.totals(store)
        except StoreError as error:
            self.post_message(self.Failed(error_text(error)))
            return
        tables = {by: _table(by, found) for by, found in rows.items()}
        capped = next((row for row in rows["run"] if row["cap"] is not None), None)
        left = (
            f"budget left {cost_report.left_text(capped)} (run {capped['name']})"
            if capped
            else "no run has had a budget"
        )
        self.post_message(self.Summed(total, tables, cost_report.by_day(rows["day"]), left))

    @on(Failed)
    def _show_failure(self, message: Failed) -> None:
        self.query_one("#sums", Static).update(formatting.text(message.reason))

    @on(Summed)
    def _show(self, message: Summed) -> None:
        lines = [cost_report.sum_line(message.total), message.left]
        self.query_one("#sums", Static).update(formatting.text("\n".join(lines)))
        for by, data in message.tables.items():
            table = self.query_one(f"#{by}-table", Table)
            table.set_empty_text(
                "No run with summaries by a model has finished." if by == "gain" else "No call was made yet."
            )
            table.show(data)
        self.set_title(f"{cost_report.cost_text(message.total)} spent" if message.total["calls"] else "nothing spent")
        self.days = message.days
        self._draw()

    def _draw(self) -> None:
        """Dollars by day as columns; no chart where every call was free or of unknown price."""
        chart, (days, spent) = self.query_one("#spend-plot", Chart), self.days
        chart.display = any(spent)
        rows = [{"value": day, "count": usd} for day, usd in zip(days, spent, strict=True)]
        chart.show(rows, counts="dollars (UTC)", unit="day", number=formatting.dollars)

    def _poll(self) -> None:
        if not any(worker.group == "live" and worker.is_running for worker in self.workers):
            live = [run["run_id"] for run in self.sracl.runs if run["state"] in ACTIVE]
            if live or self._tails:
                self._listen(live)

    @work(thread=True, exit_on_error=False, group="live")
    def _listen(self, run_ids: list[str]) -> None:
        """Read the progress of live runs from their journals: calls per second, retries and dollars."""
        self._tails = {
            run_id: self._tails.get(run_id) or (Tail(self.sracl.home.run_folder(run_id)), RunState())
            for run_id in run_ids
        }
        lines = []
        for run_id, (tail, live) in self._tails.items():
            try:
                live.take(tail.read())
            except OSError:  # its folder has gone
                continue
            for stage in live.stages.values():
                if stage.seconds is None and stage.detail and live.state in ACTIVE:
                    name = live.created.get("name") or run_id
                    lines.append(f"● {name}: {stage.done:,} of {stage.total:,} {stage.name}, {stage.detail}")
        self.post_message(self.Heard(lines))

    @on(Heard)
    def _show_live(self, message: Heard) -> None:
        live = self.query_one("#live", Static)
        live.display = bool(message.lines)
        live.update(formatting.text("\n".join(message.lines[:4])))

    def action_price(self) -> None:
        """Ask for settings and estimate their cost; calls no model and needs no key."""
        row = self.sracl.row_of(self.sracl.run_id) or (self.sracl.runs[0] if self.sracl.runs else None)
        before = self._next or _settings_of(row)
        hint = "settings such as dataset=office provider=deepseek unit=every-4 max_users=300; enter prices them"

        def price(answer: str | None) -> None:
            if answer is not None and answer.strip():
                self._next = answer.strip()
                typed = [word.partition("=")[2] for word in self._next.split() if word not in before.split()]
                own_code.allow_named(self.sracl.home, typed, by=own_code.APP)
                self.query_one("#next", Static).update(
                    formatting.line(f"next run {self._next}: counting its prompts ...")
                )
                self._price(self._next)

        self.app.push_screen(PromptDialog("Price of a run, from its dry run", value=before, hint=hint), price)

    @work(thread=True, exclusive=True, exit_on_error=False, group="price")
    def _price(self, settings: str) -> None:
        from engine.config_files import load_config
        from sracl_tui.runs.stages.cost_estimate import cost_line, quote_summaries
        from sracl_tui.services.estimate_text import kind_line, vectors_line

        try:
            config, _ = load_config(assignments=tuple(settings.split()))
            kinds = tuple(kind for kind, on in (("user", config.needs.users), ("item", config.needs.items)) if on)
            found = quote_summaries(self.sracl.home, config, kinds, vectors=True)
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Priced(f"next run {settings}\n✗ {error_text(error)}"))
            return
        lines = [f"next run {settings}: {cost_line(found['usd'])}, about {found['minutes']:.1f} minutes"]
        lines += [f"{kind}: {kind_line(part)}" for kind, part in found["kinds"].items()]
        lines += [f"vectors: {vectors_line(found['vectors'])}"] if "vectors" in found else []
        self.post_message(self.Priced("\n".join(lines)))

    @on(Priced)
    def _show_price(self, message: Priced) -> None:
        self.query_one("#next", Static).update(formatting.text(message.text))

    def action_refresh(self) -> None:
        """Read runs and costs now."""
        self.sracl.refresh_runs()
        self._sum()

    @on(Table.Chosen, "#run-table,#gain-table")
    def _open(self, message: Table.Chosen) -> None:
        if message.key is not None and self.sracl.row_of(str(message.key)) is not None:  # a test or a search is no run
            self.sracl.open_run(str(message.key))

    def action_copy(self) -> None:
        """Copy the command that prints the shown table."""
        self.copy(f"sracl costs --by {self.query_one(TabbedContent).active or 'day'}", "The command")

    def action_tab(self, by: int) -> None:
        """Show the next tab."""
        tabs, names = self.query_one(TabbedContent), list(TABS)
        tabs.active = names[(names.index(tabs.active or "day") + by) % len(names)]
        self._focus_tab()

    @on(TabbedContent.TabActivated)
    def _focus_tab(self) -> None:
        self.query_one(f"#{self.query_one(TabbedContent).active or 'day'}-table").focus()


def _table(by: str, rows: list[dict[str, Any]]) -> TableData:
    heads = cost_report.heads(by)
    columns = [
        Column(f"c{place}", head.removesuffix(":r"), right=head.endswith(":r"), most=30)
        for place, head in enumerate(heads)
    ]
    cost = next(place for place, head in enumerate(heads) if "cost" in head)
    looks = tuple("strong" if place == cost else "accent" if place == 0 else "" for place in range(len(heads)))
    key = "run_id" if by in ("run", "gain") else None
    laid = []
    for place, row in enumerate(rows):
        cells = tuple(formatting.line(cell) for cell in cost_report.cells(by, row))
        laid.append(Row(row[key] if key else place, cells, looks))
    return lay_out(columns, laid)


def _settings_of(run: ListedRun | None) -> str:
    """The settings of a run that its price depends on, as one would type them."""
    if run is None:
        return "dataset=demo provider=deepseek"
    config = run["config"]
    data, semantics = config.get("data", {}), config.get("semantics", {})
    given = {name: data.get(name) for name in ("dataset", "max_users")}
    given |= {name: semantics.get(name) for name in ("provider", "llm", "unit")}
    return " ".join(f"{name}={value}" for name, value in given.items() if value is not None)
