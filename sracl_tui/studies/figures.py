"""Figures of a study: its claims as a forest plot, and its finished runs for the figures of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from engine.metric_registry import definition_of
from sracl_tui.services.figures import catalog
from sracl_tui.services.figures.forest import Forest, ForestPanel, ForestRow
from sracl_tui.services.figures.options import FigureOptions, chosen_metric
from sracl_tui.studies.definition import MEASURES
from sracl_tui.studies.judging import judge_study
from sracl_tui.studies.library import find_study, study_files
from sracl_tui.studies.planning import datasets_to_read, make_plan
from sracl_tui.studies.tables import seeds_text
from store.errors import LookupFailed
from store.queries.runs import select_runs

if TYPE_CHECKING:
    from pathlib import Path

    from sracl_tui.studies.definition import Study
    from sracl_tui.studies.judging import Judgement
    from store.database.database import Store


def write_figure(store: Store, name: str, names: Sequence[str], options: FigureOptions, path: Path) -> None:
    """Write a figure of runs and groups, or of the one study that is named where no run or group has its name.

    Raises:
        ConfigError: as `catalog.write` says, or the study has no finished runs that the figure needs.
        LookupFailed: a name is neither a run nor a group nor a study.
    """
    study = _study_of(store, names)
    if study is None:
        catalog.write(store, name, names, options, path)
    elif name == "forest":
        kind = catalog.check(name, names, options, path)
        catalog.write_drawn(kind.drawing, forest_of(study, store, options), path)
    else:
        if "split" in catalog.FIGURES[name].options and options.split is None:
            options = replace(options, split="test")  # what verdicts rest on
        catalog.write(store, name, _finished(study, store), options, path)


def _study_of(store: Store, names: Sequence[str]) -> Study | None:
    if len(names) != 1:
        return None
    try:
        select_runs(store, names)
    except LookupFailed:
        known = names[0].endswith(".toml") or any(file.name == names[0] for file in study_files(store.home))
        return find_study(store.home, names[0]) if known else None
    return None


def _finished(study: Study, store: Store) -> list[str]:
    plan = make_plan(study, store, datasets_named=datasets_to_read(study, store))
    pairs = dict.fromkeys((variant, dataset) for dataset in plan.datasets for variant in study.variants)
    found = [row["run_id"] for variant, dataset in pairs for row in plan.finished(variant, dataset)]
    if not found:
        raise _nothing(study)
    return list(dict.fromkeys(found))


def _nothing(study: Study) -> ConfigError:
    return ConfigError(
        f"the study {study.name} has no finished runs to show",
        where="--figure",
        hint=f"sracl study run {study.reference}",
    )


def forest_of(study: Study, store: Store, options: FigureOptions) -> Forest:
    """Claims with a difference, a panel for each metric, the primary one first.

    The interval is what the verdict rests on: Holm's of a claim of a difference, that of two one-sided tests of a claim of equality.

    Raises:
        ConfigError: no claim has finished runs on both sides, or none is in the metric that was asked for, or an option is of runs.
    """
    if foreign := next((option for option in options.given() if option != "metric"), None):
        raise ConfigError(
            f"--{foreign} is of runs: a study's claims say what is compared, in test ranks", where=f"--{foreign}"
        )
    plan = make_plan(study, store, datasets_named=datasets_to_read(study, store))
    judged = [one for one in judge_study(plan, store) if one.verdict is not None and one.verdict.difference is not None]
    if not judged:
        raise _nothing(study)
    metrics = sorted(dict.fromkeys(one.claim.metric for one in judged), key=lambda metric: metric != study.metric)
    if options.metric is not None:
        metrics = [chosen_metric(options.metric, metrics)]
    several = len(plan.datasets) > 1
    panels = [_panel(metric, [one for one in judged if one.claim.metric == metric], several) for metric in metrics]
    users = dict.fromkeys((one.planned.dataset, one.users) for one in judged if one.users and one.claim.users == "all")
    data = ", ".join(f"{dataset} ({count:,} users)" for dataset, count in users) or ", ".join(plan.datasets)
    notes = ["n: seeds. Bands: margins. Intervals: corrected by Holm; of a claim of equality, of two one-sided tests."]
    if any(1 in one.verdict.seeds for one in judged if one.verdict is not None):
        notes.append("With one seed a claim is undecided.")
    return Forest(title=f"{study.title} Test ranks, {data}", note=" ".join(notes), panels=panels)


def _panel(metric: str, judged: Sequence[Judgement], several: bool) -> ForestPanel:
    known = definition_of(metric)
    format_ = MEASURES[metric].format if metric in MEASURES else known.format if known else ".4f"
    axis = f"difference in {judged[0].claim.metric_title}"
    return ForestPanel(axis=axis, rows=[_row(one, several) for one in judged], format=format_)


def _row(one: Judgement, several: bool) -> ForestRow:
    found = one.verdict
    assert found is not None
    assert found.difference is not None
    equal = one.claim.direction == "equal"
    name = one.planned.name if several else one.claim.name
    return ForestRow(
        label=name if one.claim.users == "all" else f"{name} ({one.claim.users} users)",
        n=f"n = {seeds_text(one)}",
        estimate=found.difference,
        low=found.equivalence_low if equal else found.ci_low,
        high=found.equivalence_high if equal else found.ci_high,
        margin=one.margin,
        verdict=one.text,
    )
