"""A second process that does what a test does, in the same order: trainings by two processes without a start for each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from engine.config import Config
from engine.data.dataset import Dataset
from engine.errors import EngineError
from engine.events import Event, ignore
from engine.methods.semantics import Semantics
from engine.processes import Processes
from engine.training.process_group import ProcessGroup
from engine.training.trainer import Stopped, Trainer
from engine.training.transport import ProcessLost, Transport


@contextmanager
def joined(folder: Path, number: int) -> Iterator[ProcessGroup]:
    """One of two processes that meet in a folder."""
    torch.set_num_threads(1)
    transport = Transport(dist.FileStore(str(folder / "store"), 2), number, 2, gpu=False, loopback=True)
    yield ProcessGroup(transport, number, 2, local=number)
    transport.close()


@contextmanager
def peer(folder: Path) -> Iterator[Callable[..., Any]]:
    """Has this process and a second one call a function of this module with the same arguments; what it gives here."""
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "tests.support.peer", str(folder)], stderr=file)

    def both(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            group.shared(lambda: (function.__name__, args, options))
            return function(group, *args, **options)
        except EngineError as error:
            error.add_note(log.read_text())
            raise

    try:
        with joined(folder, 0) as group:
            yield both
            group.shared(lambda: None)
            # before this process leaves: a connection that is closed too early may take the last message with it
            assert process.wait(10) == 0, log.read_text()
    finally:
        process.kill()


def serve(folder: Path) -> None:
    """The second process."""
    with joined(folder, 1) as group:
        while (asked := group.shared(lambda: None)) is not None:
            name, args, options = asked
            try:
                globals()[name](group, *args, **options)
            except ProcessLost:
                raise
            except EngineError:  # as in the test
                continue


def trainer_of(*args: Any, **options: Any) -> Trainer:
    """A training in double precision, where rounding hides nothing."""
    trainer = Trainer(*args, **options)
    trainer.model.double()
    trainer._optimizers = trainer._new_optimizers()
    return trainer


def steps(
    processes: Processes,
    config: Config,
    dataset: Dataset,
    semantics: Semantics | None,
    batches: Sequence[Tensor],
    *,
    staged: bool = False,
) -> tuple[list[dict[str, Tensor]], list[list[float]]]:
    """Gradients that the updates by the first batch see, and the losses of each batch, of the main training or its first stage."""
    trainer = trainer_of(config, dataset, semantics, folder=Path(), processes=processes, report=ignore)
    trainer.state = processes.begin(trainer.state, trainer.model, trainer._optimizers, {})
    stage = trainer.model.stages[0][0] if staged else None
    trainer.model.before_epoch(1, trainer._encode_shares, stage)
    processes.share_buffers(trainer.model)
    trainer.model.train()
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    gradients: list[dict[str, Tensor]] = []
    losses: list[list[float]] = []
    step = trainer._optimizers.step

    def seen(updates: str) -> None:
        chosen = trainer._optimizers.parameters(updates)
        if not losses:
            gradients.append({names[id(one)]: one.grad.clone() for one in chosen if one.grad is not None})
        step(updates)

    trainer._optimizers.step = seen  # pyright: ignore[reportAttributeAccessIssue]
    for number, ids in enumerate(batches):
        torch.manual_seed(number)  # in one process dropout draws from the same numbers as the views
        found = trainer._update(ids, stage)
        losses.append([float(value.detach()) for value in (found.total, *found.terms.values())])
    processes.check_same_losses()
    return gradients, losses


def trained(
    processes: Processes, config: Config, dataset: Dataset, semantics: Semantics | None, folder: Path,
    *, stop: tuple[int, int] = (0, 0), resume: bool = False, double: bool = False,
) -> list[Event]:  # fmt: skip
    """What a training reports, to its end or until process `stop[0]` has been asked `stop[1]` times whether it shall stop."""
    asked = iter(range(1, 10**9))
    events: list[Event] = []
    trainer = (trainer_of if double else Trainer)(
        config, dataset, semantics, folder=folder, processes=processes, report=events.append,
        stop=lambda: processes.number == stop[0] and next(asked) == stop[1],
    )  # fmt: skip
    if resume and processes.number == 0:
        torch.manual_seed(12345)  # another process has other random numbers
        trainer.resume()
    with suppress(Stopped):
        trainer.run()
    return events


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
