"""A home's results for Python programs and notebooks: read-only, as Arrow tables.

    from sracl_tui import api

    with api.open_home() as home:
        home.runs(group="office").to_pandas()
        home.compare("office-backbone", "office-sracl", split="test").tests

Every table is a `pyarrow.Table`: `.to_pandas()` makes a data frame of it where pandas is installed, `polars.from_arrow` a Polars
one, `.to_pylist()` a list of dicts. Runs are named as on the command line: by id, the beginning of one, name, or `last`; users by
number (`#7` or 7), by the source's own id (`id:A1`), or by either where both mean one user. Nothing of a home is changed, but that
opening it takes in what ended runs have left, as every command does.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

from engine.errors import EngineError
from sracl_tui.services.comparison import Comparison, compare_runs
from sracl_tui.studies.judging import Judgement
from sracl_tui.studies.library import find_study
from store.errors import StoreError
from store.home import Home
from store.opening import open_store
from store.queries import datasets as stored_datasets
from store.queries import result_tables, runs, studies, users
from store.run_row import StoredRun

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Comparison", "EngineError", "Judgement", "OpenHome", "StoreError", "open_home"]

Split = Literal["valid", "test"]


def open_home(path: str | Path | None = None) -> OpenHome:
    """Open the home at `path`, else the one of $SRACL_HOME, else that of the user.

    Raises:
        StoreError: there is no home, or it cannot be read.
    """
    home = Home.resolve(None if path is None else Path(path))
    if not home.database.exists():
        hint = "`sracl demo` makes one; another folder is named by its path or by SRACL_HOME."
        raise StoreError("there is no home with results here", where=str(home.path), hint=hint)
    return OpenHome(home)


class OpenHome:
    """The results of one home. Close it, or use it in a `with` block."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._store = open_store(home)

    def __enter__(self) -> OpenHome:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; tables that were read stay valid."""
        self._store.close()

    @property
    def path(self) -> Path:
        """The folder."""
        return self._home.path

    @property
    def behind(self) -> str:
        """Why the newest events are not in the tables yet; empty where they are."""
        return "" if self._store.behind is None else str(self._store.behind)

    def datasets(self) -> pa.Table:
        """The data sets, one a row; columns as in docs/schema.md, `datasets`."""
        return result_tables.datasets(self._store)

    def interactions(self, dataset: str) -> pa.Table:
        """A data set's interactions: user_id, user_raw_id, item_id, item_raw_id, title, position (from 1), ts (UTC).

        Raises:
            LookupFailed: there is no such data set.
        """
        found = stored_datasets.get(self._store, dataset)
        return result_tables.interactions(self._store, found["dataset_id"])

    def runs(self, *, group: str | None = None, tag: str | None = None, limit: int | None = None) -> pa.Table:
        """Runs, newest first, each with its state of this moment, its USD and its headline metrics (`test_hr_20`, ...).

        `config` and `timings` (seconds by stage) are JSON text; `config` of one run as a dict: `home.config(run)`.
        """
        return runs.list_table(self._store, group=group, tag=tag, limit=limit)

    def config(self, run: str) -> dict[str, Any]:
        """All settings of a run as a tree.

        Raises:
            LookupFailed: no run, or several, have this name.
        """
        return self._run(run)["config"]

    def metrics(self, *names: str, split: str | None = None, subgroup: str | None = "all") -> pa.Table:
        """Measured values of runs or groups, one a row: run_id, run, seed, epoch, step, split, subgroup, name, value, is_best.

        Args:
            names: runs or groups.
            split: train (losses and what a method measures), valid (each epoch), test (the best epoch's weights, once); all by default.
            subgroup: of users, as docs/metrics.md lists them; None for every one.

        Raises:
            LookupFailed: a name is neither run nor group.
        """
        return result_tables.metrics(self._store, self._ids(names), split=split, subgroup=subgroup)

    def ranks(self, *names: str, split: Split = "test") -> pa.Table:
        """The rank of every user's target (1 is best) in runs or groups: run_id, run, seed, user_id, raw_id, rank.

        Raises:
            LookupFailed: a name is neither run nor group.
        """
        return result_tables.ranks(self._store, self._ids(names), split)

    def neighbors(self, run: str, user: str | int | None = None) -> pa.Table:
        """Semantic neighbors of one user's prefixes, or of everybody's, by similarity, with the synthesizer's weights.

        Columns: user_id, anchor_id, position, rank (from 1), neighbor_user_id, neighbor_anchor_id, neighbor_position, similarity,
        weight_initial (untrained), weight (best epoch), weight_last; weights sum to 1 over the neighbors of an anchor and are
        NULL where a run stores none. Empty for a method without neighbors.

        Raises:
            LookupFailed: no run, or no user of its data set, has this name.
        """
        found = self._run(run)
        return result_tables.neighbors(self._store, found, None if user is None else self._user(found, user))

    def summaries(self, run: str, kind: Literal["user", "item"] = "user") -> pa.Table:
        """The texts that a run was trained on: owner_id (anchor or item), user_id, position, text, provider, model, tokens, usd, fallback.

        Raises:
            LookupFailed: no run, or several, have this name.
        """
        return result_tables.summaries(self._store, self._run(run), kind)

    def costs(self) -> pa.Table:
        """What each run spent on calls, as docs/schema.md, `run_costs`, has it."""
        return result_tables.costs(self._store)

    def compare(
        self,
        *names: str,
        split: Split = "valid",
        subgroup: str = "all",
        baseline: str | None = None,
        also: tuple[str, ...] = (),
    ) -> Comparison:
        """Runs and groups side by side, folded by config, with the paired tests of `sracl compare`.

        Args:
            names: runs or groups.
            split: validation while you tune, test once, at the end.
            subgroup: all, tied, untied, short, medium, long, head or tail.
            baseline: run that the others are tested against. Default: that of preset `backbone`, else the first.
            also: full names of metrics to test besides HR and NDCG, such as `mrr@20`.

        Returns:
            `.sets` with metrics by seed, `.tests` with differences, intervals and corrected p-values, `.notes`; `.document()` as JSON values.

        Raises:
            ConfigError: the runs cannot be compared fairly; it lists all reasons.
            LookupFailed: a name is neither run nor group.
        """
        return compare_runs(self._store, names, split=split, subgroup=subgroup, baseline=baseline, also=also)

    def judge(self, study: str, *, datasets: tuple[str, ...] = ()) -> list[Judgement]:
        """The verdicts on a study's claims from the runs that are finished now, as `sracl study report` has them; nothing is recorded.

        Args:
            study: its name, or the path of a .toml file.
            datasets: names in place of the study's.

        Raises:
            ConfigError: there is no such study, or its file is not valid.
        """
        from sracl_tui.studies.report import make_report

        return list(make_report(find_study(self._home, study), self._store, datasets_named=datasets).judgements)

    def verdicts(self, study: str) -> pa.Table:
        """The verdicts that `sracl study run` recorded last, one for each claim and data set (docs/schema.md, `study_verdicts`)."""
        return studies.last_verdicts(self._store, study)

    def sql(self, query: str) -> pa.Table:
        """The rows of a query over the tables of docs/schema.md. It can change nothing and reads no files.

        Raises:
            QueryFailed: with the database's own words.
        """
        import pyarrow as pa

        found = self._store.user_sql(query)
        return pa.table({}) if found is None else found

    def _run(self, name: str) -> StoredRun:
        return runs.find_run(self._store, name)

    def _ids(self, names: tuple[str, ...]) -> list[str]:
        return [row["run_id"] for row in runs.select_runs(self._store, names)]

    def _user(self, run: StoredRun, user: str | int) -> int:
        text = f"#{user}" if isinstance(user, int) else user
        return int(users.find_user(self._store, cast(str, run["dataset_id"]), text)["user_id"])
