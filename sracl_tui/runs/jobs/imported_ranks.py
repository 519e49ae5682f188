"""The job of kind `ranks`: the ranks of a model that was trained elsewhere, as those of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.dataset import ROLES
from engine.data.foreign_ranks import Columns, read_ranks
from engine.errors import ConfigError
from engine.evaluation.metrics import grouped_metrics, subgroups
from engine.events import Evaluated, Warned
from store.opening import open_store

if TYPE_CHECKING:
    from sracl_tui.runs.jobs.base import JobContext

EPOCH = 0
"""No epoch of ours: the metrics are those of the file."""


def import_ranks(context: JobContext) -> None:
    """Read the file of the request, check it against the data set, and record its ranks and metrics.

    Raises:
        DataError: the file does not fit the data set.
        ConfigError: its lists are shorter than the largest cutoff.
    """
    request = context.request
    evaluate, job = request.config.evaluate, request.job
    path, split = Path(job["file"]), job["split"]
    with open_store(context.home) as store:
        dataset = context.open_dataset(store)
    with context.clock.stage("evaluate") as outcome:
        found = read_ranks(path, dataset, split=split, columns=Columns(**job["columns"]), ties=evaluate.ties)
        if found.depth is not None and found.depth < max(evaluate.ks):
            raise ConfigError(
                f"a user has only {found.depth} scored items, but metrics are measured up to {max(evaluate.ks)}",
                where=str(path),
                hint="Give longer lists, or fewer cutoffs: --set ks=5,10",
            )
        anchors = dataset.anchors.ids(ROLES.index(split))
        metrics = grouped_metrics(
            found.ranks, subgroups(dataset, anchors), split=split, ks=evaluate.ks, names=evaluate.metrics
        )
        outcome["detail"] = f"{len(found.ranks):,} users' {found.form} from {path.name}"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    context.recorder.write("ranks_read", file=path.name, sha256=digest, form=found.form, depth=found.depth)
    if found.unlisted:
        context.recorder.report(
            Warned(
                message=f"{found.unlisted:,} of {len(found.ranks):,} targets stand in no list: their rank counts as the last; "
                f"metrics up to @{found.depth} are exact"
            )
        )
    columns = {"user_id": found.user_ids, "rank": found.ranks}
    context.recorder.report(Evaluated(split=split, epoch=EPOCH, step=EPOCH, metrics=metrics, columns=columns))
    of_all = [metric for metric in metrics if metric.subgroup == "all" and metric.name != "n"]
    if split == "valid":  # those of all users are stored by epoch
        written = [{"split": split, "subgroup": "all", "name": m.name, "value": m.value} for m in of_all]
        context.recorder.write("measured", epoch=EPOCH, step=EPOCH, metrics=written)
        context.result.best_epoch = EPOCH
    (context.result.test if split == "test" else context.result.valid).update({m.name: m.value for m in of_all})
