"""One run from request to result: folder, journal, stages, training, record. Heavy imports wait until both are there."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import backbone_names
from engine.config import Config
from engine.config_files import load_config
from engine.errors import BatchPending, BudgetReached, ConfigError, DataError, EngineError, StopRequested
from engine.events import Report, ignore
from sracl_tui.runs import environment, failure_messages, resume_check
from sracl_tui.runs.recorder import Recorder, StopSwitch
from sracl_tui.runs.request import FILE, RunRequest, new_run_id
from sracl_tui.runs.result import RunResult
from store.errors import LookupFailed, StoreError
from store.home import Home
from store.journal.journal import read_events

if TYPE_CHECKING:
    from engine.data.dataset import Dataset
    from engine.training.trainer import Trainer
    from sracl_tui.runs.stages.clock import Clock
    from sracl_tui.runs.stages.needs import Needs
    from sracl_tui.runs.stages.vectors import Vectors
    from store.database.database import Store

POOLS = ("others", "users", "train", "reference")


def execute(
    place: Home, request: RunRequest, *, listener: Report = ignore, resume: bool = False, quiet: bool = False
) -> RunResult:
    """Run a request to its end, whatever that is; the result says which.

    Args:
        resume: go on in the run's own folder, from its last checkpoint.
        quiet: send no alerts: it is a part of another run.

    Raises:
        ConfigError: the run id is taken.
        StoreError: another process is at work on this run, or the folder cannot be written.
    """
    folder = place.run_folder(request.run_id)
    place.create()
    if not resume:
        if (folder / FILE).exists():
            raise ConfigError(
                f"there is a run {request.run_id!r} already",
                where="--run-id",
                hint=f"Choose another id, or go on with it: sracl run --resume {request.run_id}",
            )
        folder.mkdir(exist_ok=True)
    recorder = Recorder(place, request, listener=listener, quiet=quiet)
    result = RunResult(request)
    if not resume:
        request.write(folder)
        recorder.write("run_created", **request.created())
    recorder.started()
    recorder.start()
    run = _Run(place, request, recorder, result, resume=resume)
    try:
        with StopSwitch(lambda name: recorder.write("stopping", reason=name)).installed() as switch:
            _guarded(run, switch)
    finally:
        recorder.end(
            state=result.state,
            reason=result.reason,
            timings=result.seconds,
            peak_memory_bytes=environment.peak_memory(),
            best_epoch=result.best_epoch,
            epochs=result.epochs,
            exit_code=result.exit_code,
        )
        recorder.close()
        result.warnings += recorder.publisher.warnings
    return result


def finished_equal(place: Home, request: RunRequest) -> RunResult | None:
    """The result of a finished run of the same group, settings, seed and data; none where there is none."""
    if request.group is None:
        return None
    from store.opening import open_store
    from store.queries import runs

    config = request.config
    with open_store(place) as store:
        run_id = runs.finished_equal(
            store,
            config_hash=config.config_hash(),
            seed=config.train.seed,
            group=request.group,
        )
        return None if run_id is None else read_result(store, run_id)


def read_result(store: Store, run_id: str) -> RunResult:
    """The result of a run that has ended, from the database."""
    from store.queries import runs

    row = runs.find_run(store, run_id)
    result = RunResult(RunRequest.read(store.home.run_folder(row["run_id"])), state=row["state"], reason=row["reason"])
    result.best_epoch, result.epochs = row["best_epoch"], row["epoch"]
    result.seconds |= row["timings"] or {}
    for metric in runs.final_metrics(store, row["run_id"]):
        if metric["subgroup"] == "all" and metric["name"] != "n":
            (result.valid if metric["split"] == "valid" else result.test)[metric["name"]] = metric["value"]
    return result


def _guarded(run: _Run, switch: StopSwitch) -> None:
    """Do the work; every way to end becomes a state and a reason."""
    result = run.result
    try:
        run.work(switch)
        result.state = "finished"
    except BaseException as error:
        if isinstance(error, BatchPending):
            result.state, result.reason = "stopped", str(error)
            return
        if isinstance(error, KeyboardInterrupt | StopRequested):
            result.state, result.exit_code = "stopped", 130
            result.reason = f"asked to stop ({switch.signal_name or 'SIGINT'})"
            return
        if isinstance(error, BudgetReached):
            result.state, result.error, result.exit_code, result.reason = "stopped", error, 3, "budget"
            return
        usage = isinstance(error, ConfigError | DataError | LookupFailed)
        result.state, result.error, result.exit_code = "failed", error, 2 if usage else 1
        result.reason = failure_messages.known(error, run.request.run_id)
        if result.reason is not None:
            return
        if isinstance(error, EngineError | StoreError):
            result.reason = str(error)
            return
        run.recorder.log.say("it failed", level=logging.ERROR, error=error)
        (run.recorder.folder / "traceback.txt").write_text(traceback.format_exc(), "utf-8")
        place = run.recorder.folder / "traceback.txt"
        result.reason = f"{type(error).__name__}: {error} (traceback in {place})"
        if not isinstance(error, Exception):
            raise


class _Run:
    """The work of a training run."""

    def __init__(
        self, place: Home, request: RunRequest, recorder: Recorder, result: RunResult, *, resume: bool
    ) -> None:
        self.place, self.request, self.recorder, self.result = place, request, recorder, result
        self._resume = resume
        self._started = time.perf_counter()

    def work(self, stop: StopSwitch) -> None:
        """All stages, in order."""
        from sracl_tui.runs.jobs.encode import encode_set
        from sracl_tui.runs.stages import llm_batches
        from sracl_tui.runs.stages.clock import Clock
        from store.opening import open_store

        clock = Clock(self.recorder.report, self.result.seconds, self.result.cost, self.request.run_id)
        before = _earlier_seconds(self.recorder.folder, self.result.seconds) if self._resume else 0.0
        try:
            with open_store(self.place) as store:
                if self.request.kind == "search":
                    encode_set(self.request, self.recorder, store, clock, stop)
                    return
                if self.request.kind == "collect":
                    llm_batches.collect(self.request.job["batches"], self.recorder, store, clock, stop)
                    return
                dataset = self._dataset(store, clock)
                if self.request.kind == "summarize":
                    self._summarize(store, dataset, clock, stop)
                    return
                if self.request.kind == "leaks":
                    self._leaks(store, dataset, clock, stop)
                    return
                trainer = self._trainer(store, dataset, clock, stop)
            self._train(trainer)
        finally:
            self.result.seconds["total"] = before + time.perf_counter() - self._started

    def _dataset(self, store: Store, clock: Clock) -> Dataset:
        from sracl_tui.runs.dataset_access import open_dataset

        data = self.request.config.data
        with clock.stage("import") as outcome:
            dataset = open_dataset(store, data.dataset, max_users=data.max_users)
            outcome["detail"] = f"{dataset.name}: {dataset.users:,} users, {len(dataset.items):,} items"
        used: dict[str, Any] = {
            "dataset_id": dataset.dataset_id,
            "dataset_sha256": dataset.sha256,
            "dataset_name": dataset.name,
        }
        if self._resume:
            resume_check.check_data(self.recorder.folder, used, self.request.run_id)
        self.recorder.write("dataset_used", **used)
        return dataset

    def _trainer(self, store: Store, dataset: Dataset, clock: Clock, stop: StopSwitch) -> Trainer:
        from sracl_tui.runs.stages import neighbors as neighbor_stage
        from sracl_tui.runs.stages.needs import Needs

        config = self.request.config
        semantics = None
        if config.contrasts:
            needs = Needs.of(config, dataset)
            vectors = self._vectors(needs, store, clock, stop)
            found = neighbor_stage.find_neighbors(needs, vectors, store, clock, stop)
            _check(stop)
            used = {f"{kind}_set_id": set_id for kind, set_id in vectors.set_ids.items()}
            used |= {f"{kind}_list_id": named.list_id for kind, named in found.items()}
            self.recorder.write("lists_used", **dict[str, Any](used))
            semantics = neighbor_stage.as_semantics(needs, vectors, found)
        import torch

        from engine.training.trainer import Trainer

        folder = self.recorder.folder
        backbone_names.keep(config.model.backbone, folder)
        trainer = Trainer(config, dataset, semantics, folder=folder, report=self.recorder.report, stop=stop)
        self.recorder.write("device_used", device=str(trainer.device), threads=torch.get_num_threads())
        return trainer

    def _vectors(self, needs: Needs, store: Store, clock: Clock, stop: StopSwitch) -> Vectors:
        """Semantic vectors from text, or from a backbone."""
        from sracl_tui.runs.stages import stored_semantics, summaries
        from sracl_tui.runs.stages import vectors as vector_stage

        if not needs.textual:
            return self._collaborative(needs, clock)
        given = self.request.job.get(stored_semantics.JOB)
        if given is not None:
            sets = stored_semantics.stored_sets(needs, store, given, clock)
        else:
            sets = summaries.make_summaries(needs, store, clock, stop)
        _check(stop)
        encoder = None if given is None else stored_semantics.encoder_for(needs)
        vectors = vector_stage.make_vectors(needs, sets, store, clock, stop, encoder=encoder)
        _check(stop)
        return vectors

    def _train(self, trainer: Trainer) -> None:
        from engine.training.trainer import LAST, PREVIOUS
        from sracl_tui.runs.jobs.analysis_metrics import measure

        folder = self.recorder.folder
        there = (folder / LAST).exists() or (folder / PREVIOUS).exists()
        if self._resume and (there or any(line.event == "epoch_finished" for _, line in read_events(folder))):
            state = trainer.resume() if there else trainer.state  # without checkpoints its epochs come again
            best = state.best_epoch or None
            self.recorder.write("run_resumed", epoch=state.epoch, step=state.step, best_epoch=best)
            self.result.epochs, self.result.best_epoch = state.epoch, best
        seconds = self.result.seconds
        try:
            done = trainer.run()
            self.result.valid, self.result.test = done.valid, done.test
            own, samples = _write_arrays(trainer, folder)
            metrics = measure(trainer, folder, own=own, samples=samples)
            best = trainer.state.best_epoch
            self.recorder.write("measured", epoch=best, step=trainer.state.step, metrics=metrics)
        finally:
            seconds["train"] += trainer.train_seconds
            seconds["evaluate"] += trainer.evaluate_seconds
            self.result.epochs, self.result.best_epoch = trainer.state.epoch, trainer.state.best_epoch or None

    def _summarize(self, store: Store, dataset: Dataset, clock: Clock, stop: StopSwitch) -> None:
        """Summaries alone, of the kinds that were asked for."""
        from sracl_tui.runs.stages import summaries
        from sracl_tui.runs.stages.needs import needs_of

        job = self.request.job
        needs = needs_of(self.request.config, dataset, job["kinds"])
        batch, wait = job.get("batch", False), job.get("wait", True)
        sets = summaries.make_summaries(needs, store, clock, stop, batch=batch, wait=wait)
        _check(stop)
        used = {f"{kind}_set_id": found.set_id for kind, found in sets.items()}
        self.recorder.write("lists_used", **dict[str, Any](used))

    def _leaks(self, store: Store, dataset: Dataset, clock: Clock, stop: StopSwitch) -> None:
        """Retrieve by every pool from the same vectors, and count what each gives away."""
        from engine.retrieval.leaks import leak_table
        from sracl_tui.runs.stages import neighbors as neighbor_stage
        from sracl_tui.runs.stages.needs import Needs

        base = self.request.config
        vectors = self._vectors(Needs.of(with_pool(base, "reference"), dataset), store, clock, stop)
        for pool in POOLS:
            found = neighbor_stage.find_neighbors(Needs.of(with_pool(base, pool), dataset), vectors, store, clock, stop)
            _check(stop)
            shares = asdict(leak_table(found["user"].table, dataset, max_length=base.data.max_length))
            self.result.leaks[pool] = shares
            metrics = [
                {"split": "leaks", "subgroup": pool, "name": name, "value": value} for name, value in shares.items()
            ]
            self.recorder.write("measured", epoch=0, step=0, metrics=metrics)

    def _collaborative(self, needs: Needs, clock: Clock) -> Vectors:
        """Vectors of the plain backbone of the same seed (w/o semantic); it is trained first where no run has done so."""
        from sracl_tui.runs.stages.collaborative_vectors import backbone_vectors

        backbone = backbone_request(self.request)
        found = finished_equal(self.place, backbone)
        if found is None:
            found = _nested(self.place, backbone, self.recorder, clock)
        return backbone_vectors(needs, found.request, self.place.run_folder(found.request.run_id), clock)


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


def _nested(place: Home, request: RunRequest, recorder: Recorder, clock: Clock) -> RunResult:
    """Run another request to its end inside this one."""
    with clock.stage("backbone") as outcome:
        result = execute(place, request, listener=ignore, quiet=True)
        outcome["detail"] = request.run_id
    if result.state == "stopped":
        raise StopRequested
    if result.error is not None:
        raise result.error
    return result


def _check(stop: Callable[[], bool]) -> None:
    if stop():
        raise StopRequested


def _earlier_seconds(folder: Path, seconds: dict[str, float]) -> float:
    """Add what earlier segments spent on stages and on the epochs that count; the total that they took."""
    total, last = 0.0, 0.0
    segment, first = 0, 0.0
    epochs: dict[int, tuple[float, float]] = {}
    for number, line in read_events(folder):
        if number != segment:
            total, segment, first = total + last - first, number, line.at
        last = line.at
        if line.event == "stage_finished" and line.fields["stage"] in seconds:
            seconds[line.fields["stage"]] += line.fields["seconds"]
        if line.event == "epoch_finished":
            epochs[line.fields["epoch"]] = line.fields["seconds"], line.fields["evaluate_seconds"]
    seconds["train"] += sum(train for train, _ in epochs.values())
    seconds["evaluate"] += sum(evaluate for _, evaluate in epochs.values())
    return total


def _write_arrays(trainer: Trainer, folder: Path) -> tuple[Any, Any]:
    """Weights of all training anchors and items, h and h+ of the representing anchors, at the best checkpoint; these two."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from engine.data.dataset import TRAIN

    ids, own, samples = trainer.user_vectors()
    columns = {"anchor_id": pa.array(ids), "h": _lists(own)}
    if samples is not None:
        columns["h_plus"] = _lists(samples)
        anchors = trainer.dataset.anchors.ids(TRAIN)
        _write_weights(folder / "weights.parquet", "anchor_id", anchors, *trainer.weights(anchors))
    if trainer.weighs_items:
        items = np.arange(1, len(trainer.dataset.items) + 1)
        _write_weights(folder / "item_weights.parquet", "item_id", items, *trainer.item_weights(items))
    pq.write_table(pa.table(columns), folder / "user_vectors.parquet", compression="zstd")
    return own, samples


def _write_weights(path: Path, owner: str, ids: Any, neighbors: Any, weights: Any) -> None:
    """A line for each neighbor that there is."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, places = np.nonzero(neighbors)
    table = pa.table({owner: ids[rows], "neighbor_id": neighbors[rows, places], "weight": weights[rows, places]})
    pq.write_table(table, path, compression="zstd")


def _lists(matrix):
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def with_pool(config: Config, pool: str) -> Config:
    """The same settings with another pool, and neighbors of users only."""
    retrieval = config.retrieval.model_copy(update={"pool": pool})
    loss = config.loss.model_copy(update={"alpha": config.loss.alpha or 0.1, "beta": 0.0})
    return config.model_copy(update={"retrieval": retrieval, "loss": loss})
