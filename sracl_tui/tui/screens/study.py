"""A study: its claims with verdicts and forest plot, how far its runs are, and the way to them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.studies.estimate import estimate
from sracl_tui.studies.judging import Judgement, judge_study
from sracl_tui.studies.library import FOLDER, find_study, study_files
from sracl_tui.studies.planning import Plan, datasets_to_read, make_plan, plan_document
from sracl_tui.studies.report import make_report
from sracl_tui.studies.report_html import html
from sracl_tui.studies.running import StudyOptions, group_name, run_study
from sracl_tui.studies.tables import counts_text
from sracl_tui.tui.navigation import Navigation, Unavailable
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.study import COLUMNS, details, facts, rows_of
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.figure_page import FigurePage
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog
from sracl_tui.tui.widgets.table import Column, Row, Table, TableData, lay_out
from store.errors import StoreError
from store.queries.datasets import listed as listed_datasets

FIRST = "quick"
DATASETS = (Column("data", "data", flex=True, least=20), Column("users", "users", right=True))
STUDIES = (
    Column("study", "study"),
    Column("data", "data", most=20),
    Column("title", "what it asks", flex=True, least=20),
)


class StudyScreen(FigurePage):
    """Claims of a study, each with its verdict."""

    NAME = "Study"
    ABOUT = (
        "Each claim is judged by the test ranks of the runs that are finished, corrected over the claims in the primary metric. In the plot, "
        "| is no difference, : the margin within which one does not matter, and what is claimed lies on the right. enter compares the "
        "claim's runs, down to the users who won and lost; R puts the missing runs into the queue, after saying what they take."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "study", "Study"),
        Binding("d", "data", "Data set"),
        Binding("R", "run", "Run"),
        Binding("o", "runs", "Runs"),
        Binding("w", "report", "Report"),
        Binding("y", "copy", "Copy"),
        Binding("r", "refresh", "Refresh", show=False),
    ]

    @dataclass
    class Judged(Message):
        """The claims were judged, and their table is laid out."""

        plan: Plan
        judgements: list[Judgement]
        data: TableData

    @dataclass
    class Priced(Message):
        """What the missing runs take, as text; empty where none is missing."""

        text: str

    @dataclass
    class Listed(Message):
        """The studies, or the data sets, to choose one."""

        rows: list[Row]
        datasets: bool = False

    @dataclass
    class Done(Message):
        """Something was done, or failed."""

        text: str
        failed: bool = False

    def __init__(self, name: str = FIRST) -> None:
        super().__init__()
        self.study_name = name
        self.named: tuple[str, ...] = ()
        """The data set that was chosen in place of the study's."""
        self.plan: Plan | None = None
        self.judgements: list[Judgement] = []
        self._seen: tuple[Any, ...] = ()

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """On the study of the newest run of any, else on the one that is meant to be run first."""
        groups = (row["group_name"] or "" for row in app.runs)
        prefix = group_name("")
        named = next((group.removeprefix(prefix) for group in groups if group.startswith(prefix)), FIRST)
        return cls(named)

    def body(self) -> ComposeResult:
        """How far the runs are, the claims, and the one under the cursor in full."""
        yield Static("reading ...", id="study-facts", markup=False)
        yield Table(id="study-table", empty="reading ...")
        yield Static("", id="study-claim", markup=False)

    def on_mount(self) -> None:
        """Judge the claims."""
        self.show_status(self.sracl.status)
        self.query_one(Table).focus()
        self._judge()

    def runs_read(self) -> None:
        """Judge again where a run began or ended."""
        seen = tuple((row["run_id"], row["state"]) for row in self.sracl.runs)
        if seen != self._seen:
            self._seen = seen
            self._judge()

    @property
    def claim(self) -> Judgement | None:
        """The claim under the cursor."""
        place = self.query_one(Table).key
        return self.judgements[place] if isinstance(place, int) and place < len(self.judgements) else None

    @work(thread=True, exclusive=True, exit_on_error=False, group="judge")
    def _judge(self) -> None:
        try:
            store = self.library.store()
            study = find_study(self.sracl.home, self.study_name)
            plan = make_plan(study, store, datasets_named=self.named or datasets_to_read(study, store))
            judgements = judge_study(plan, store)
        except (StoreError, EngineError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
            return
        rows = rows_of(judgements, several=len(plan.datasets) > 1)
        self.post_message(self.Judged(plan, judgements, lay_out(COLUMNS, rows)))

    @on(Judged)
    def _show(self, message: Judged) -> None:
        self.plan, self.judgements = message.plan, message.judgements
        self.query_one("#study-facts", Static).update(formatting.text(facts(message.plan)))
        self.query_one(Table).show(message.data)
        self.set_title(f"{message.plan.study.name}: {counts_text(message.judgements)}")
        self._show_claim()

    @on(Table.Highlighted)
    def _show_claim(self) -> None:
        one = self.claim
        self.query_one("#study-claim", Static).update(formatting.text(details(one)) if one is not None else "")
        self.refresh_bindings()

    def _run_ids(self) -> list[str]:
        one = self.claim
        return [*one.other.run_ids, *one.side.run_ids] if one is not None else []

    def disabled_reason(self, action: str) -> str:
        """Runs can be shown once some are finished, and added while some are missing."""
        if action in ("study", "data", "refresh"):
            return ""
        if self.plan is None:
            return "The study is not read yet."
        if action == "run" and not self.plan.to_do():
            return "No run is missing." if self.plan.runs else "None of its claims can be run here: each says why."
        if action == "runs" and not self._run_ids():
            return "No run of this claim is finished."
        return ""

    @on(Table.Chosen)
    def _compare(self) -> None:
        one, ids = self.claim, self._run_ids()
        if one is None:
            return
        if not ids:
            self.notify(self.disabled_reason("runs"), severity="warning", markup=False)
        elif one.side.run_ids and one.other.run_ids:
            self.sracl.open_compare(ids, split="test")
        else:
            self.action_runs()

    def action_runs(self) -> None:
        """List the claim's runs."""
        self.sracl.open_runs(f"id:{'|'.join(self._run_ids())}")

    def action_refresh(self) -> None:
        """Judge again."""
        self._judge()

    def action_study(self) -> None:
        """Read the studies and ask for one."""
        self._list()

    @work(thread=True, exclusive=True, exit_on_error=False, group="list")
    def _list(self) -> None:
        rows: list[Row] = []
        for file in study_files(self.sracl.home):
            try:
                study = find_study(self.sracl.home, file.name)
                cells = (file.name, ", ".join(study.datasets), study.title)
            except EngineError as error:
                cells = (file.name, "", f"not valid: {error.message.splitlines()[0]}")
            rows.append(Row(file.name, tuple(map(formatting.line, cells))))
        self.post_message(self.Listed(rows))

    def action_data(self) -> None:
        """Read the data sets of the home and ask for one."""
        self._list_data()

    @work(thread=True, exclusive=True, exit_on_error=False, group="list")
    def _list_data(self) -> None:
        try:
            found = listed_datasets(self.library.store())
        except StoreError as error:
            self.post_message(self.Done(error_text(error), failed=True))
            return
        rows = [Row(row["name"], (formatting.line(row["name"]), f"{row['users']:,}")) for row in found]
        self.post_message(self.Listed(rows, datasets=True))

    def _read_anew(self) -> None:
        self.plan, self.judgements = None, []
        self.query_one("#study-facts", Static).update("reading ...")
        self.query_one(Table).show(lay_out(COLUMNS, []))
        self._judge()

    @on(Listed)
    def _choose(self, message: Listed) -> None:
        def answer(name: Hashable | None) -> None:
            if isinstance(name, str) and message.datasets:
                self.named = (name,)
                self._read_anew()
            elif isinstance(name, str) and name != self.study_name:
                self.study_name, self.named = name, ()
                self._read_anew()

        if message.datasets:
            hint = "enter takes it in place of the study's   esc: back"
            self.app.push_screen(ChoiceDialog("Data sets", DATASETS, message.rows, hint=hint), answer)
            return
        own = self.sracl.home.path / FOLDER
        hint = f"enter chooses   esc: back   your own: .toml files in {own}"
        self.app.push_screen(ChoiceDialog("Studies", STUDIES, message.rows, hint=hint), answer)

    @property
    def _others(self) -> tuple[str, ...]:
        """The data sets that are shown, if they are not the study's own."""
        return () if self.plan is None or self.plan.datasets == self.plan.study.datasets else self.plan.datasets

    def action_run(self) -> None:
        """Price the missing runs, and ask."""
        assert self.plan is not None
        self._price(self.plan)

    @work(thread=True, exclusive=True, exit_on_error=False, group="price")
    def _price(self, plan: Plan) -> None:
        from sracl_tui.runs.stages.cost_estimate import cost_line

        try:
            found = estimate(plan, self.library.store())
        except (StoreError, EngineError) as error:
            self.post_message(self.Done(error.message, failed=True))
            return
        counts = plan_document(plan)["counts"]
        new = counts["missing"] + counts["interrupted"]
        usd = (
            "no endpoint is asked" if found.usd_high == 0 else cost_line({"low": found.usd_low, "high": found.usd_high})
        )
        self.post_message(
            self.Priced(f"{new} runs, about {found.wall_hours:.1f} hours; {usd}. They outlive this app." if new else "")
        )

    @on(Priced)
    def _ask(self, message: Priced) -> None:
        if not message.text:
            self.notify("All missing runs are in the queue already.", markup=False)
            return

        def answer(yes: bool | None) -> None:
            if yes:
                self._start(StudyOptions(datasets=self._others))

        question = f"Run study {self.study_name}?"
        self.app.push_screen(ConfirmDialog(question, detail=message.text, yes="Run it"), answer)

    @work(thread=True, exclusive=True, exit_on_error=False, group="start")
    def _start(self, options: StudyOptions) -> None:
        said: list[str] = []
        try:
            study = find_study(self.sracl.home, self.study_name)
            run_study(self.sracl.home, study, options, report=said.append, wait=False)
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            self.post_message(self.Done("\n".join(said)))

    def action_report(self) -> None:
        """Write the report as HTML into the home."""
        self._write()

    @work(thread=True, exclusive=True, exit_on_error=False, group="report")
    def _write(self) -> None:
        home = self.sracl.home
        path = home.path / FOLDER / f"{self.study_name}.html"
        try:
            study = find_study(home, self.study_name)
            text = html(make_report(study, self.library.store(), datasets_named=self.named))
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            self.post_message(self.Done(f"the report is in {path}"))

    def figure_words(self) -> list[str]:
        """The claims as a forest plot."""
        if not any(one.verdict is not None and one.verdict.difference is not None for one in self.judgements):
            raise Unavailable("No claim has finished runs on both sides: R puts them into the queue.")
        if self.named:
            raise Unavailable("The figure is of the data sets that stand here when the study is opened.")
        return [self.study_name, "--figure", "forest"]

    def action_copy(self) -> None:
        """Copy the command that prints the claim's numbers, or the one that runs the study."""
        one = self.claim
        run = " ".join(["sracl study run", self.study_name, *(f"--dataset {name}" for name in self._others)])
        command = one.command if one is not None and one.command else run
        self.copy(command, command)

    @on(Done)
    def _tell(self, message: Done) -> None:
        self.notify(message.text, severity="error" if message.failed else "information", markup=False)
        if self.plan is None and message.failed:
            self.query_one("#study-facts", Static).update(formatting.text(message.text))
            self.query_one(Table).set_empty_text("")
        if not message.failed:
            self.sracl.refresh_runs(now=True)
            self._judge()
