"""The report of a study: what HTML, Markdown, LaTeX, CSV and JSON are written from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sracl_tui.studies.definition import Study
from sracl_tui.studies.judging import Judgement, Power, judge_study, power_of
from sracl_tui.studies.planning import Plan, code_of, datasets_to_read, make_plan
from sracl_tui.studies.tables import NumberRow, counts_text, number_rows, settings_rows
from sracl_tui.version import __version__
from store.database.database import Store
from store.queries import datasets as stored_datasets
from store.queries import studies


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report says."""

    study: Study
    plan: Plan
    judgements: list[Judgement]
    numbers: list[NumberRow]
    settings: list[tuple[str, ...]]
    """Of each variant, a row of SETTING_HEADS."""
    power: list[Power]
    versions: dict[str, str]
    """Name to version, hash or count, of all that the numbers come from."""
    leaks: list[tuple[str, ...]]
    """What each candidate pool leaks, a row of LEAK_HEADS for each pool; none of a data set on which it was not measured."""
    runs: list[tuple[str, ...]]
    """Variant, data, seed, run, config hash, code version and state of each run."""
    made_at: str

    @property
    def several(self) -> bool:
        """Whether there are several data sets, so that claims are named with theirs."""
        return len(self.plan.datasets) > 1

    @property
    def counts(self) -> dict[str, int]:
        """Claims by verdict."""
        found: dict[str, int] = {}
        for one in self.judgements:
            found[one.text] = found.get(one.text, 0) + 1
        return found

    @property
    def counts_text(self) -> str:
        """`3 supported, 1 undecided`."""
        return counts_text(self.judgements)

    @property
    def command(self) -> str:
        """What makes the verdicts again."""
        named = (
            "" if self.plan.datasets == self.study.datasets else "".join(f" --dataset {d}" for d in self.plan.datasets)
        )
        return f"sracl study run {self.study.reference}{named}"


LEAK_HEADS = (
    "data", "pool", "own prefixes:r", "own target:r", "held-out prefixes:r", "anchors:r", "run",
)  # fmt: skip
RUN_HEADS = ("variant", "data", "seed:r", "run", "config", "code", "state")


def make_report(study: Study, store: Store, *, datasets_named: Sequence[str] = ()) -> Report:
    """Judge the finished runs of a study and gather what a report says. Nothing is run and nothing recorded.

    Raises:
        ConfigError: a variant's settings do not suit a data set.
    """
    plan = make_plan(study, store, datasets_named=datasets_named or datasets_to_read(study, store))
    judgements = judge_study(plan, store)
    return Report(
        study=study,
        plan=plan,
        judgements=judgements,
        numbers=number_rows(plan, store),
        settings=settings_rows(plan),
        power=power_of(plan, judgements, store),
        versions=_versions(study, plan, store),
        leaks=[row for name in plan.datasets for row in _leaks(store, name)],
        runs=_runs(plan),
        made_at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    )


def _versions(study: Study, plan: Plan, store: Store) -> dict[str, str]:
    found = {"sracl": __version__, "SHA-256 of the study's file": study.sha256}
    for name in plan.datasets:
        row = stored_datasets.find(store, name)
        if row is not None:
            found[f"data set {name}"] = f"SHA-256 {row['sha256']}"
    rows = [run.row for run in plan.runs if run.row is not None and run.status == "finished"]
    rows += [row for given in plan.given.values() for row in given]
    for title, values in (
        (
            "code of the runs",
            {code_of(row) for row in rows},
        ),
        ("machines", {str(row["machine"]) for row in rows if row["machine"]}),
        ("packages", {", ".join(f"{n} {v}" for n, v in sorted((row["packages"] or {}).items())) for row in rows}),
    ):
        if text := "; ".join(sorted(value for value in values if value)):
            found[title] = text
    return found


def _leaks(store: Store, dataset: str) -> list[tuple[str, ...]]:
    """By the newest run of `sracl leaks` on a data set."""
    measured = studies.leaks(store, dataset)
    if measured is None:
        return []
    run_id, pools = measured
    shares = ("own_share", "target_share", "heldout_share")
    return [
        (dataset, pool, *(f"{100 * found[name]:.1f} %" for name in shares), f"{found['anchors']:,.0f}", run_id)
        for pool, found in pools.items()
    ]


def leak_command(made: Report) -> str:
    """What measures the leaks of each pool, with the settings that all variants share."""
    words = [
        f"--set {name}={made.study.settings[name]}"
        for name in ("provider", "vector", "encoder", "k", "max_users")
        if name in made.study.settings
    ]
    return " ".join(["sracl leaks --dataset", made.plan.datasets[0], *words])


def _runs(plan: Plan) -> list[tuple[str, ...]]:
    rows = [
        (
            run.variant, run.dataset, str(run.seed), run.run_id or "", run.config_hash[:12],
            str(run.row["code_version"] or "") if run.row is not None else "",
            run.row["state"] if run.row is not None else f"to be run ({run.removed['run_id']} was removed)" if run.removed else "to be run",
        )
        for run in sorted(plan.runs, key=lambda run: (run.dataset, list(plan.study.variants).index(run.variant), run.seed))
    ]  # fmt: skip
    for (variant, dataset), given in plan.given.items():
        for row in given:
            code = str(row["code_version"] or "") if code_of(row) else "imported"
            rows.append(
                (variant, dataset, str(row["seed"]), row["run_id"], row["config_hash"][:12], code, row["state"])
            )
    return rows
