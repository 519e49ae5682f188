"""The training loop: epochs, early stopping on validation, checkpoints, one reading of the test split.

Legend: B anchors of a batch, A anchors, V items.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.config import Config
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TEST, TRAIN, VALID, Dataset
from engine.errors import StopRequested, TrainingError
from engine.evaluation.evaluator import Evaluator
from engine.evaluation.ranking import encode
from engine.events import EpochFinished, Evaluated, Metric, Report, StepFinished, Warned, ignore
from engine.extension_points import BACKBONES
from engine.method_table import Stage, Step
from engine.methods.model import Losses, Model
from engine.methods.semantics import Semantics
from engine.models.cpu import prepare
from engine.processes import ALONE, Processes
from engine.training import checkpoint
from engine.training.checkpoint import LoopState
from engine.training.checkpoint_files import BEST, LAST, PREVIOUS
from engine.training.optimizer import Optimizers
from engine.training.recording import EpochRecorder

SAVE_SECONDS = 30.0
"""Between two checkpoints within an epoch."""
FINITE_EVERY = 20
"""Steps between two checks that the loss is a number: a check waits for the GPU."""
REPORT_SECONDS = 0.4
ANOTHER_ADAM = (
    "train.sparse_adam: a step updates the items that it reads or samples and leaves all others, with their moments, as they are, "
    "where Adam moves every item in every step: compare such runs with each other"
)


OTHER_PROCESSES = (
    "the random numbers are not those of a training that goes on, as the number of processes is another one"
)


class Stopped(StopRequested):
    """Training stopped on request; every step done is in the checkpoint."""


@dataclass(frozen=True)
class TrainResult:
    """Best epoch, number of epochs, metrics and times of a finished training."""

    best_epoch: int
    epochs: int
    valid: dict[str, float]
    test: dict[str, float]
    train_seconds: float
    evaluate_seconds: float


class Trainer:
    """Trains one config on one dataset, in a folder of its own for checkpoints."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        semantics: Semantics | None,
        *,
        folder: Path,
        report: Report,
        stop: Callable[[], bool] = lambda: False,
        processes: Processes = ALONE,
    ) -> None:
        """Build the model from the seed.

        Args:
            stop: called after every step; true ends the training with `Stopped`.
            processes: this process, and those that train the same config with it; process 0 alone reports and writes.

        Raises:
            TrainingError: there is nothing to train on or to validate with, or the backbone cannot be trained in this mode.
        """
        self.config, self.dataset, self.folder = config, dataset, folder
        self._processes, self._first = processes, processes.number == 0
        self._report, self._stop = report if self._first else ignore, stop
        self.device = processes.device(config.train.device)
        prepare()
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self._ids = dataset.anchors.ids(TRAIN)
        self._valid, self._test = dataset.anchors.ids(VALID), dataset.anchors.ids(TEST)
        self._check_size()
        torch.manual_seed(config.train.seed)
        moved = semantics.to(self.device) if semantics is not None else None
        backbone, window = BACKBONES.load(config.model.backbone), config.data.max_length
        padded = self.device.type != "cpu" and backbone.accepts_padding
        self.windows = PaddedWindows(dataset, window, self.device) if padded else Windows(dataset, window)
        shared = config.train.mode == "sequence"
        self._training_windows = SharedWindows(dataset, window) if shared else self.windows
        self.model = Model(config, dataset=dataset, windows=self._training_windows, semantics=moved).to(self.device)
        self._evaluator = Evaluator(config, dataset, self.windows, processes=processes)
        self._recorder = EpochRecorder(config, dataset, self.windows, model=self.model, report=report)
        self._optimizers = self._new_optimizers()
        self._stages = self.model.stages
        self._own_states: dict[str, torch.Tensor] = {}
        self.state = LoopState(
            config_hash=config.config_hash(),
            dataset_sha256=dataset.sha256,
            seed=config.train.seed,
            epoch=0,
            step=0,
            best_epoch=0,
            best_score=-math.inf,
            bad_epochs=0,
        )
        self.train_seconds = self.evaluate_seconds = 0.0
        self.model.start()
        self._random = torch.get_rng_state()

    @property
    def staged_epochs(self) -> int:
        """Epochs of the stages before the main training; they are counted in `LoopState.epoch`."""
        return sum(epochs for _, epochs in self._stages)

    @property
    def epochs(self) -> int:
        """Epochs at most, those of stages included."""
        return self.staged_epochs + self.config.train.epochs

    def resume(self) -> LoopState:
        """Continue from the last checkpoint, or from the previous one where it is damaged; from the start where both are.

        Of several processes the first one does so, and gives the others its state when the training begins.

        Raises:
            CheckpointError: there is none, it has another config, dataset or seed, or another number of processes saved it
                within an epoch.
        """
        warn, count = lambda text: self._report(Warned(message=text)), self._processes.count
        path = checkpoint.find(self.folder, self.state, processes=count, warn=warn)
        if path is None:
            warn("no checkpoint can be read: the training starts over")
            torch.set_rng_state(self._random)
            return self.state
        self._own_states = checkpoint.own_states(path)
        if checkpoint.processes_of(self._own_states) != count:
            self._own_states = {}
        self.state = checkpoint.load(path, model=self.model, optimizers=self._optimizers)
        return self.state

    def run(self) -> TrainResult:
        """Train until the epochs or the patience are used up, then read validation and test with the best weights.

        Raises:
            Stopped: `stop` returned true; `resume` continues from that step.
            TrainingError: the loss is no longer a number, or another process has ended.
        """
        self.state = self._processes.begin(self.state, self.model, self._optimizers, self._own_states)
        if self.state.epoch == 0 and self.state.done == 0:
            if problem := self.model.items_without_vector():
                self._report(Warned(message=problem))
            if self.model.sparse_rows:
                self._report(Warned(message=ANOTHER_ADAM))
            for name, reason in self.model.absent.items():
                self._report(Warned(message=f"part {name} is switched off: {reason}"))
            self._report_seen("initial")
            if self._first:
                self._recorder.passed(0, 0)
            self._save(self.state)
        train = self.config.train
        while self.state.epoch < self.epochs and self.state.bad_epochs < train.patience:
            self._epoch()
        self._report_seen("last")
        if self._first:
            self._recorder.at_end(self.state.epoch, self.state.step)
            checkpoint.load(self.folder / BEST, model=self.model)
        self._processes.share_model(self.model)
        self.model.eval()
        self._report_seen("best")
        if self._first and self.state.best_epoch != self.state.epoch:
            self._recorder.at_end(self.state.best_epoch, self.state.step)
        valid, test = (self._evaluate(split, ids) for split, ids in (("valid", self._valid), ("test", self._test)))
        return TrainResult(
            best_epoch=self.state.best_epoch,
            epochs=self.state.epoch,
            valid=valid,
            test=test,
            train_seconds=self.train_seconds,
            evaluate_seconds=self.evaluate_seconds,
        )

    def user_vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Representing anchors (R,) and their h (R, D)."""
        ids = self.dataset.anchors.representing
        return ids, self._encode(torch.from_numpy(ids)).cpu().numpy()

    def _encode(self, anchor_ids: torch.Tensor) -> torch.Tensor:
        """h (N, D) of anchors, without dropout."""
        return encode(self.model.backbone, self.windows, anchor_ids.cpu().numpy())

    def _encode_shares(self, anchor_ids: torch.Tensor) -> torch.Tensor:
        """The same, of which each process encodes its share."""
        count = len(anchor_ids)
        return self._processes.gathered(
            self._encode(anchor_ids[self._processes.span(count)]), self._processes.sizes(count)
        )

    def _new_optimizers(self) -> Optimizers:
        train = self.config.train
        return Optimizers(
            self.model.groups(), lr=train.lr, weight_decay=train.weight_decay, by_row=self.model.sparse_rows
        )

    def _check_size(self) -> None:
        count = self._processes.count
        for ids, what in ((self._ids, "training prefix"), (self._valid, "validation target")):
            if len(ids) == 0:
                raise TrainingError(
                    f"dataset {self.dataset.name!r} has no {what}",
                    hint="A user needs three interactions to be validated on and four to give a training prefix with it.",
                )
            if len(ids) < count:
                raise TrainingError(f"{count} processes cannot share {len(ids)} x {what}", where="train.processes")

    def _stage(self, epoch: int) -> Stage | None:
        """The stage to which an epoch belongs, counted from 1; none for the main training."""
        last = 0
        for stage, epochs in self._stages:
            last += epochs
            if epoch <= last:
                return stage
        return None

    def _epoch(self) -> None:
        epoch = self.state.epoch + 1
        stage = self._stage(epoch)
        started = time.perf_counter() - self.state.seconds
        if self.state.done == 0:  # else what it computes is in the checkpoint
            self.model.before_epoch(epoch, self._encode_shares, stage)
            self._processes.share_buffers(self.model)
        sums, step = self._steps(epoch, stage, started)
        self.model.eval()
        trained = time.perf_counter()
        metrics = [Metric(split="train", name=name, value=value) for name, value in sums.items()]
        metrics += [Metric(split="train", name=name, value=value) for name, value in self.model.metrics(stage).items()]
        improved = False
        if stage is None:
            scores = self._evaluator.validate(self.model.backbone, self._valid)
            metrics += [Metric(split="valid", name=name, value=value) for name, value in scores.items()]
            improved = self._update_best(self._evaluator.score(scores), epoch, step)
        else:
            self.state = replace(self.state, epoch=epoch, step=step, done=0, sums=(), seconds=0.0)
            if self._stage(epoch + 1) != stage:
                self._optimizers = self._new_optimizers()
        evaluated = time.perf_counter()
        self.train_seconds += trained - started
        self.evaluate_seconds += evaluated - trained
        # Reported before it is saved: a training that resumes from a checkpoint never reports that epoch again.
        self._report_seen("epoch", stage)
        if stage is None and self._first:
            self._recorder.passed(epoch, step)
        self._report(
            EpochFinished(
                epoch=epoch,
                step=step,
                seconds=trained - started,
                evaluate_seconds=evaluated - trained,
                improved=improved,
                bad_epochs=self.state.bad_epochs,
                metrics=tuple(metrics),
                epochs=self.epochs,
                stage="" if stage is None else stage.name,
            )
        )
        if improved and self._first:
            checkpoint.save(self.folder / BEST, model=self.model, state=self.state)
        self._save(self.state)

    def _save(self, state: LoopState) -> None:
        own_states = self._processes.random_states()
        if self._first:
            checkpoint.save(
                self.folder / LAST,
                model=self.model,
                state=state,
                optimizers=self._optimizers,
                previous=self.folder / PREVIOUS,
                own_states=own_states,
            )

    def _steps(self, epoch: int, stage: Stage | None, started: float) -> tuple[dict[str, float], int]:
        """Train on every prefix once, from where the loop state stands; means of the losses by name, and the step reached."""
        self.model.train()
        generator = torch.Generator().manual_seed(self.config.train.seed * 1_000_003 + epoch)
        batches = self._training_windows.batches(torch.from_numpy(self._ids), self.config.train.batch, generator)
        names = ("loss", *self.model.terms(stage))
        sums = torch.tensor(self.state.sums or [0.0] * len(names), dtype=torch.float64, device=self.device)
        reported = saved = time.perf_counter()
        for done, ids in enumerate(batches[self.state.done :], self.state.done + 1):
            losses = self._update(ids, stage)
            sums += torch.stack([losses.total, *(losses.terms[name] for name in names[1:])]).detach()
            step = self.state.step + done
            if done % FINITE_EVERY == 0 or done == len(batches):
                self._check_finite(sums, names, epoch, step)
            if (now := time.perf_counter()) - reported > REPORT_SECONDS:
                reported = now
                self._report(
                    StepFinished(
                        epoch=epoch,
                        step=step,
                        steps_per_epoch=len(batches),
                        done=done,
                        loss=float(losses.total.detach()),
                        epochs=self.epochs,
                    )
                )
            stopping, saving = self._processes.agreed(self._stop(), now - saved > SAVE_SECONDS)
            if stopping or saving:
                saved = now
                self._check_finite(sums, names, epoch, step)
                self._save(replace(self.state, done=done, sums=tuple(sums.tolist()), seconds=now - started))
            if stopping:
                raise Stopped
        return dict(zip(names, (sums / len(batches)).tolist(), strict=True)), self.state.step + len(batches)

    def _update(self, ids: torch.Tensor, stage: Stage | None) -> Losses:
        """All updates of a batch (B,); each term as it was last computed, the total of the last update."""
        steps = self.model.definition.steps if stage is None else (Step(),)
        losses = None
        notes: dict[str, Any] = {}
        for step in steps:
            if not self.model.active(stage, step):  # its parts are all switched off
                continue
            found = self.model.losses(
                ids, self._training_windows, stage=stage, step=step, notes=notes, processes=self._processes
            )
            self._optimizers.zero_grad()
            found.total.backward()
            found = self._processes.summed(found, self._optimizers, step.updates)
            self._optimizers.step(step.updates)
            losses = found if losses is None else found.over(losses)
        assert losses is not None
        return losses

    def _check_finite(self, sums: torch.Tensor, names: tuple[str, ...], epoch: int, step: int) -> None:
        if torch.isfinite(sums).all():
            self._processes.check_same_losses()
            return
        bad = [name for name, value in zip(names, sums.tolist(), strict=True) if not math.isfinite(value)]
        scales = {path: value for name in bad for path, value in self.model.scales(name).items()}
        settings = {"train.lr": self.config.train.lr} | scales
        advice = f"Lower train.lr or raise {' or '.join(scales)}." if scales else "Lower train.lr."
        raise TrainingError(
            f"the loss is no longer a number at epoch {epoch}, step {step}: {', '.join(bad[1:]) or 'the total'}",
            where=", ".join(f"{path} = {value}" for path, value in settings.items()),
            hint=f"{advice} Epoch {self.state.epoch} is kept in {LAST} or {PREVIOUS}.",
        )

    def _update_best(self, score: float, epoch: int, step: int) -> bool:
        """Compare a score with the best so far and advance the loop state to this epoch; whether it is a new best."""
        train, state = self.config.train, self.state
        if train.select_digits is not None:
            score = round(score, train.select_digits)
        better = score > state.best_score or (train.tie_improves and score == state.best_score)
        self.state = LoopState(
            config_hash=state.config_hash,
            dataset_sha256=state.dataset_sha256,
            seed=state.seed,
            epoch=epoch,
            step=step,
            best_epoch=epoch if better else state.best_epoch,
            best_score=score if better else state.best_score,
            bad_epochs=0 if better else state.bad_epochs + 1,
        )
        return better

    def _evaluate(self, split: str, anchor_ids: NDArray[np.int64]) -> dict[str, float]:
        """Measure a split with the weights that are loaded, by subgroup, and report it with every rank."""
        started = time.perf_counter()
        ranks, metrics = self._evaluator.measure(self.model.backbone, anchor_ids, split)
        self.evaluate_seconds += time.perf_counter() - started
        self._report(
            Evaluated(
                split=split,
                epoch=self.state.best_epoch,
                step=self.state.step,
                metrics=metrics,
                columns={"user_id": self.dataset.anchors.user_ids[anchor_ids - 1], "rank": ranks},
            )
        )
        return {m.name: m.value for m in metrics if m.subgroup == "all" and m.name != "n"}

    def _report_seen(self, phase: str, stage: Stage | None = None) -> None:
        """Report what the parts of a stage, or of the main training, have to show."""
        if not self._first:
            return
        epoch = self.state.best_epoch if phase == "best" else self.state.epoch
        for part in self.model.active(stage):
            for event in part.seen(phase, epoch=epoch, step=self.state.step):
                self._report(event)
