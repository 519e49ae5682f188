"""The semantic vectors of a run: from written summaries, from the stored ones of another run, or from a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config_files import load_config
from engine.errors import StopRequested
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.runs.result import RunResult, finished_equal
from sracl_tui.runs.stages import factories, stored_semantics, summaries
from sracl_tui.runs.stages import vectors as vector_stage
from sracl_tui.runs.stages.collaborative_vectors import backbone_vectors

if TYPE_CHECKING:
    from sracl_tui.runs.jobs.base import JobContext
    from sracl_tui.runs.stages.needs import Needs
    from sracl_tui.runs.stages.vectors import Vectors
    from store.database.database import Store


def semantic_vectors(context: JobContext, needs: Needs, store: Store) -> Vectors:
    """Stages `summaries` and `vectors`, or `backbone` and `vectors` where the settings name collaborative vectors.

    Raises:
        StopRequested: the run was asked to stop.
    """
    if not needs.textual:
        return _collaborative(context, needs)
    clock, stop = context.clock, context.stop
    given = context.request.job.get(stored_semantics.JOB)
    if given is not None:
        sets = stored_semantics.stored_sets(needs, store, given, clock)
    else:
        factories.check_encoder(needs, store.home)
        sets = summaries.make_summaries(needs, factories.provider(needs, store.home), store, clock, stop)
    context.check_stop()
    encoders = factories if given is None else stored_semantics
    build = encoders.encoder_factory(needs, store.home)
    vectors = vector_stage.make_vectors(needs, sets, build, store, clock, stop)
    context.check_stop()
    return vectors


def _collaborative(context: JobContext, needs: Needs) -> Vectors:
    """Vectors of the plain backbone of the same seed (w/o semantic); it is trained first where no run has done so."""
    backbone = backbone_request(context.request)
    found = finished_equal(context.home, backbone) or _train_backbone(context, backbone)
    folder = context.home.run_folder(found.request.run_id)
    return backbone_vectors(needs, found.request, folder, context.clock)


def backbone_request(request: RunRequest) -> RunRequest:
    """The backbone's run that a run with collaborative vectors stands on: same data, model, training and group."""
    config, _ = load_config(preset="backbone")
    own = request.config
    sections = {"data": own.data, "model": own.model, "train": own.train, "evaluate": own.evaluate}
    group = request.group or f"for-{request.run_id}"
    return RunRequest(
        run_id=new_run_id(),
        config=config.model_copy(update=sections),
        preset="backbone",
        group=group,
        tags=("backbone",),
    )


def _train_backbone(context: JobContext, request: RunRequest) -> RunResult:
    """Stage `backbone`: that run, to its end, inside this one."""
    with context.clock.stage("backbone") as outcome:
        result = context.run_nested(request)
        outcome["detail"] = request.run_id
    if result.state == "stopped":
        raise StopRequested
    if result.error is not None:
        raise result.error
    return result
